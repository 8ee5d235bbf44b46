import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';

import type { ContainerRecord } from './container.ts';

/** Starts another program in a running container, with its environment and its privileges. */
export function spawnInContainer(record: ContainerRecord, command: readonly string[], options: SpawnInContainer = {}): ChildProcess {
  const { terminal = false, stdio = ['ignore', 'pipe', 'pipe'] } = options;
  const env = Object.entries({ ...record.env, ...(terminal && { TERM: 'xterm' }) }).map(([name, value]) => `${name}=${value}`);
  const args = [
    ...['--target', String(record.pid), '--mount', '--uts', '--ipc', '--pid'],
    ...(record.netns === undefined ? [] : [`--net=${record.netns}`]),
    '--',
    ...(terminal ? ['setsid', '--ctty', '--wait'] : []),
    // The program ends with nsenter, which waits for it outside.
    ...['setpriv', '--pdeathsig', 'KILL', ...record.setpriv, '--', 'env', '-i', ...env],
    ...['sh', '-c', 'cd "$0" 2>/dev/null; exec "$@"', record.workingDir, ...command],
  ];
  return spawn('nsenter', args, { stdio });
}

export interface SpawnInContainer {
  /** Whether standard input is a terminal, which becomes the program's controlling one. */
  readonly terminal?: boolean;
  /** Default: no input, output and error as pipes. */
  readonly stdio?: StdioOptions;
}

/** Runs a program in a container to its end, with what it printed (the first 10 kB). A program that takes too long is killed: exit code -1. */
export async function runInContainer(
  record: ContainerRecord,
  command: readonly string[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<{ readonly exitCode: number; readonly output: string }> {
  const child = spawnInContainer(record, command);
  const parts: Buffer[] = [];
  let size = 0;
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      if (size < 10_240) parts.push(chunk);
      size += chunk.length;
    });
  }
  const kill = (): void => void child.kill('SIGKILL');
  const timer = setTimeout(kill, timeoutMs);
  signal?.addEventListener('abort', kill, { once: true });
  try {
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.once('error', reject).once('close', (code) => resolve(code ?? -1));
    });
    return { exitCode, output: Buffer.concat(parts).toString('utf8').slice(0, 10_240) };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', kill);
  }
}
