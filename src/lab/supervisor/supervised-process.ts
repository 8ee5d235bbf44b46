import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';

import { Backoff, describeError, sleep, type Logger } from '../../core/index.ts';

export interface ProcessSpec {
  /** `apiserver`, `controllers` or `node`. */
  readonly name: string;
  readonly command: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Its standard output and error are appended here. */
  readonly logFile: string;
  /** Inherited as descriptor 3, if any. */
  readonly listener?: number;
  readonly log: Logger;
}

/** What a supervised process has been through. Times are RFC 3339. */
export interface ProcessState {
  readonly name: string;
  /** In the lab's PID namespace; undefined while it is down. */
  readonly pid: number | undefined;
  readonly startedAt: string;
  readonly ready: boolean;
  readonly restarts: number;
  readonly lastExit?: ProcessExit | undefined;
}

export interface ProcessExit {
  readonly code: number;
  /** The signal's number, when one ended it. */
  readonly signal: number | undefined;
  readonly startedAt: string;
  readonly finishedAt: string;
}

/** A process that was up this long starts anew at once when it falls. Milliseconds. */
const steady = 10_000;

/** The descriptor on which a supervised process says that it is ready. */
export const readyDescriptor = 4;

/** The descriptor of the inherited listening socket. */
export const listenerDescriptor = 3;

/**
 * Keeps one process running: it starts it again whenever it ends, the first time at once, then with growing waits. The
 * process says that it is ready by a line on descriptor 4.
 */
export class SupervisedProcess {
  readonly #spec: ProcessSpec;
  readonly #onChange: () => void;
  #state: ProcessState;

  /** `onChange` is called after every change of {@link state}. */
  constructor(spec: ProcessSpec, onChange: () => void) {
    this.#spec = spec;
    this.#onChange = onChange;
    this.#state = { name: spec.name, pid: undefined, startedAt: now(), ready: false, restarts: 0 };
  }

  get state(): ProcessState {
    return this.#state;
  }

  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff({ initial: 200, max: 10_000, jitter: 0 });
    const { log, name } = this.#spec;
    const stopped = (): boolean => signal.aborted;
    for (let first = true; ; first = false) {
      const startedAt = now();
      const since = performance.now();
      this.#set({ startedAt, ready: false, ...(!first && { restarts: this.#state.restarts + 1 }) });
      const { code, signal: by } = await this.#once(signal);
      if (stopped()) return;
      this.#set({ pid: undefined, ready: false, lastExit: { code, signal: by, startedAt, finishedAt: now() } });
      if (performance.now() - since > steady) backoff.reset();
      const wait = performance.now() - since > steady ? 0 : backoff.next();
      log.warn({ process: name, code, signal: by, restartMs: wait }, 'process ended');
      await sleep(wait, signal).catch(() => undefined);
      if (stopped()) return;
    }
  }

  #once(signal: AbortSignal): Promise<{ code: number; signal: number | undefined }> {
    const { command, env, logFile, listener, log, name } = this.#spec;
    const [program = '', ...args] = command;
    const output = openSync(logFile, 'a', 0o600);
    const { promise, resolve } = Promise.withResolvers<{ code: number; signal: number | undefined }>();
    let child: ChildProcess;
    try {
      child = spawn(program, args, { stdio: ['ignore', output, output, listener ?? 'ignore', 'pipe'], env });
    } finally {
      closeSync(output);
    }
    child.once('error', (error) => {
      log.error({ process: name, error: describeError(error) }, 'process not started');
      resolve({ code: 127, signal: undefined });
    });
    if (child.pid === undefined) return promise;
    this.#set({ pid: child.pid });
    // stdio[4] is a pipe, as asked for above.
    (child.stdio[readyDescriptor] as Readable).once('data', () => this.#set({ ready: true })).on('error', () => undefined);
    const stop = (): void => void child.kill('SIGKILL');
    signal.addEventListener('abort', stop, { once: true });
    child.once('exit', (code, by) => {
      signal.removeEventListener('abort', stop);
      const number = by === null ? undefined : signalNumber(by);
      resolve({ code: code ?? 128 + (number ?? 0), signal: number });
    });
    return promise;
  }

  #set(change: Partial<ProcessState>): void {
    this.#state = { ...this.#state, ...change };
    this.#onChange();
  }
}

function now(): string {
  return new Date().toISOString();
}

function signalNumber(name: NodeJS.Signals): number {
  return constants.signals[name];
}
