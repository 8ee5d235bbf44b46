import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

/** One direction of one TCP connection. */
export interface CapturedFlow {
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  /** TCP payload. */
  readonly bytes: number;
  /** The first bytes of the payload. */
  readonly head: Buffer;
}

export interface Capture {
  readonly flows: readonly CapturedFlow[];
  /** How many segments contained each needle in plain text. */
  readonly found: Readonly<Record<string, number>>;
}

export interface RunningCapture {
  stop(): Promise<Capture>;
}

/**
 * Captures TCP on an interface of the network namespace of `pid` (the lab's supervisor), and counts the segments in
 * which one of `needles` is readable.
 */
export async function startCapture(options: { pid: number; interfaceName: string; needles: readonly string[] }): Promise<RunningCapture> {
  const enter = process.getuid?.() === 0 ? ['--net'] : ['--user', '--preserve-credentials', '--net'];
  const script = path.join(import.meta.dirname, 'capture-process.ts');
  const args = ['--target', String(options.pid), ...enter, process.execPath, script, options.interfaceName, ...options.needles];
  const child = spawn('nsenter', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const output: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => output.push(text));
  await Promise.race([once(child.stdout, 'data'), once(child, 'exit').then(() => Promise.reject(new Error('the capture did not start')))]);
  return {
    async stop() {
      const exited = once(child, 'close');
      child.kill('SIGTERM');
      await exited;
      const document = output.join('').split('\n')[1] ?? '';
      const { flows, found } = JSON.parse(document) as {
        flows: { flow: string; bytes: number; head: string }[];
        found: Record<string, number>;
      };
      return { found, flows: flows.map(({ flow, bytes, head }) => ({ ...parseFlow(flow), bytes, head: Buffer.from(head, 'base64') })) };
    },
  };
}

function parseFlow(flow: string): { source: string; destination: string; port: number } {
  const [from = '', to = ''] = flow.split('>');
  const [source = ''] = from.split(':');
  const [destination = '', port] = to.split(':');
  return { source, destination, port: Number(port) };
}

/** The payload begins with a TLS handshake record that holds a ClientHello (RFC 8446, section 5.1 and 4). */
export function beginsWithClientHello(head: Buffer): boolean {
  return head[0] === 22 && head[1] === 3 && head[5] === 1;
}
