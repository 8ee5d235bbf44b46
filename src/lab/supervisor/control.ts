import { rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { once } from 'node:events';

import { labFiles } from '../paths.ts';
import type { ClusterStatus } from './supervise.ts';

/**
 * Answers every connection to the lab's control socket with the status as JSON, then ends it. A socket's path may have
 * 107 bytes at most, and the lab's directory may be deep: it is bound relative to the working directory.
 */
export async function serveControl(directory: string, status: () => readonly ClusterStatus[], signal: AbortSignal): Promise<void> {
  const { socket } = labFiles(directory);
  rmSync(path.join(directory, socket), { force: true });
  const server = net.createServer((connection) => {
    connection.on('error', () => undefined);
    connection.end(JSON.stringify(status()));
  });
  process.chdir(directory);
  server.listen({ path: socket });
  await once(server, 'listening');
  signal.addEventListener('abort', () => void server.close(), { once: true });
}

/** Asks the running supervisor for its status; throws when none listens. */
export async function askStatus(directory: string): Promise<readonly ClusterStatus[]> {
  const before = process.cwd();
  process.chdir(directory);
  let connection: net.Socket;
  try {
    // connect(2) on a path is done before this returns.
    connection = net.connect({ path: labFiles(directory).socket });
  } finally {
    process.chdir(before);
  }
  return JSON.parse(await text(connection)) as readonly ClusterStatus[];
}
