import { closeSync } from 'node:fs';
import type { ChildProcess } from 'node:child_process';
import { ReadStream } from 'node:tty';
import type { Readable, Writable } from 'node:stream';

import type { WebSocket } from 'ws';

import { describeError, type Logger } from '../../core/index.ts';
import { openPseudoTerminal, resizeTerminal } from '../../linux/index.ts';
import { spawnInContainer } from './container-command.ts';
import type { ContainerRecord } from './container.ts';

/** The subprotocols of Kubernetes' remote commands, the preferred one first. v5 can tell that standard input has ended. */
export const execProtocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const;

export interface ExecOptions {
  readonly record: ContainerRecord;
  readonly command: readonly string[];
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
  readonly log: Logger;
}

/** The first byte of every message. */
const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

/** More waits in the program's pipes, not in our memory, bytes. */
const highWater = 1 << 20;

/** Runs a command in a container for one WebSocket, whose channels are its streams; it is killed when the client goes. */
export function serveExec(socket: WebSocket, options: ExecOptions): void {
  let session: Session;
  try {
    session = options.tty ? startOnTerminal(options) : startOnPipes(options);
  } catch (error) {
    finish(socket, failure(describeError(error), 'InternalError', 500));
    return;
  }
  const { child, stdin, outputs, resize } = session;
  const ended: Promise<void>[] = [];
  for (const [stream, channel] of outputs) {
    ended.push(new Promise((resolve) => stream.once('close', resolve)));
    // A terminal whose last user has gone reads as an error.
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => {
      socket.send(Buffer.concat([Buffer.of(channel), chunk]), () => {
        if (stream.isPaused() && socket.bufferedAmount < highWater) stream.resume();
      });
      if (socket.bufferedAmount >= highWater) stream.pause();
    });
  }
  stdin?.on('error', () => undefined);
  stdin?.on('drain', () => socket.resume());

  socket.on('message', (data) => {
    const bytes = data as Buffer;
    const [channel] = bytes;
    const payload = bytes.subarray(1);
    if (channel === channels.stdin && stdin !== undefined) {
      if (!stdin.write(payload)) socket.pause();
    } else if (channel === channels.close && payload[0] === channels.stdin) stdin?.end();
    else if (channel === channels.resize) resize?.(payload.toString('utf8'));
  });
  socket.on('error', (error) => options.log.debug({ error: describeError(error) }, 'exec connection failed'));
  socket.once('close', () => child.kill('SIGKILL'));
  child.once('error', (error) => finish(socket, failure(describeError(error), 'InternalError', 500)));
  child.once('exit', (code, signal) => {
    session.exited?.();
    void Promise.all(ended).then(() => {
      const exitCode = code ?? 137;
      finish(socket, exitCode === 0 ? { metadata: {}, status: 'Success' } : exitStatus(exitCode, signal));
    });
  });
}

interface Session {
  readonly child: ChildProcess;
  readonly stdin: Writable | undefined;
  readonly outputs: readonly (readonly [Readable, number])[];
  readonly resize?: (message: string) => void;
  readonly exited?: () => void;
}

function startOnPipes({ record, command, stdin, stdout, stderr }: ExecOptions): Session {
  const pipe = (wanted: boolean): 'pipe' | 'ignore' => (wanted ? 'pipe' : 'ignore');
  const child = spawnInContainer(record, command, { stdio: [pipe(stdin), pipe(stdout), pipe(stderr)] });
  const outputs: (readonly [Readable, number])[] = [];
  if (child.stdout !== null) outputs.push([child.stdout, channels.stdout]);
  if (child.stderr !== null) outputs.push([child.stderr, channels.stderr]);
  return { child, stdin: child.stdin ?? undefined, outputs };
}

function startOnTerminal({ record, command, stdin }: ExecOptions): Session {
  const { master, slave } = openPseudoTerminal(`/proc/${record.pid}/root/dev/pts`);
  let child: ChildProcess;
  try {
    child = spawnInContainer(record, command, { terminal: true, stdio: [slave, slave, slave] });
  } finally {
    closeSync(slave);
  }
  // A tty.ReadStream reads and writes: it is how Node sees a terminal, and the master is one.
  const terminal = new ReadStream(master);
  return {
    child,
    stdin: stdin ? terminal : undefined,
    outputs: [[terminal, channels.stdout]],
    resize: (message) => {
      const { Width, Height } = JSON.parse(message) as { Width?: unknown; Height?: unknown };
      if (typeof Width === 'number' && typeof Height === 'number' && !terminal.destroyed)
        resizeTerminal(master, { columns: Width, rows: Height });
    },
    // Programs left in the background may keep the terminal open; the session ends with its command.
    exited: () => setImmediate(() => terminal.destroy()),
  };
}

interface ExecStatus {
  readonly metadata: Record<string, never>;
  readonly status: 'Success' | 'Failure';
  readonly message?: string;
  readonly reason?: string;
  readonly code?: number;
  readonly details?: { readonly causes: readonly { readonly reason: string; readonly message: string }[] };
}

function exitStatus(exitCode: number, signal: NodeJS.Signals | null): ExecStatus {
  return {
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: exit status ${exitCode}${signal === null ? '' : `, ${signal}`}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(exitCode) }] },
  };
}

function failure(message: string, reason: string, code: number): ExecStatus {
  return { metadata: {}, status: 'Failure', message, reason, code };
}

function finish(socket: WebSocket, status: ExecStatus): void {
  if (socket.readyState !== socket.OPEN) return;
  socket.send(Buffer.concat([Buffer.of(channels.error), Buffer.from(JSON.stringify(status))]));
  socket.close(1000);
}
