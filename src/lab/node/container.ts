import { spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';

import { IsthmusError } from '../../core/index.ts';
import { processExit, processStartTime, runCommand, type NetworkNamespace } from '../../linux/index.ts';
import { containerFiles, containerFstab, enterScript, shimScript, type ContainerScriptOptions } from './container-script.ts';
import type { LogFile } from './log-file.ts';

/** How a container ended. */
export interface ContainerExit {
  /** 128 and the signal's number when a signal ended it, as a shell counts. */
  readonly exitCode: number;
  /** Milliseconds since 1970. */
  readonly finishedAt: number;
  /** The shim was lost, and the exit code with it: 137 stands for it. */
  readonly unknown: boolean;
}

/** What is known of a started container; all of it survives the node agent. */
export interface ContainerRecord {
  readonly folder: string;
  /** The shim's pid and start time. */
  readonly shim: number;
  readonly shimStart: string;
  /** The container's first process, in the lab's PID namespace. */
  readonly pid: number;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Path; absent for a pod on the node's own network. */
  readonly netns?: string;
  /** For programs that are started in it later. */
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly setpriv: readonly string[];
}

/** A running container. */
export class Container {
  readonly record: ContainerRecord;
  /** Resolves when it has ended and all it printed is in its log. */
  readonly exited: Promise<ContainerExit>;

  private constructor(record: ContainerRecord, exited: Promise<ContainerExit>) {
    this.record = record;
    this.exited = exited;
  }

  /**
   * Starts a container in a network namespace (none: the node's). Throws LINUX_COMMAND_FAILED with the reason when its root
   * file system cannot be made; a program that cannot be run is an exit with code 126 or 127, as in a shell.
   */
  static async start(options: ContainerScriptOptions, namespace: NetworkNamespace | undefined, log: LogFile): Promise<Container> {
    const files = containerFiles(options.folder);
    rmSync(options.folder, { recursive: true, force: true });
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    writeFileSync(files.shim, shimScript(options));
    writeFileSync(files.enter, enterScript(options), { mode: 0o600 });
    writeFileSync(files.fstab, containerFstab(options));
    await runCommand('mkfifo', [files.stdout, files.stderr, files.taken]);
    // The program may run as another user and open /dev/stdout anew.
    for (const pipe of [files.stdout, files.stderr]) chmodSync(pipe, 0o666);
    const output = openOutput(options.folder, log);

    const start = (): ReturnType<typeof spawn> =>
      spawn('unshare', ['--pid', '--', 'sh', files.shim], {
        detached: true,
        cwd: '/',
        stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
        env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
      });
    const child = namespace === undefined ? start() : namespace.runInside(start);
    child.on('error', () => undefined);
    // stdio[3] is a pipe, as asked for above.
    const said = child.stdio[3] as Readable;
    const started = await new Promise<boolean>((resolve) => {
      said
        .once('data', () => resolve(true))
        .once('close', () => resolve(false))
        .on('error', () => undefined);
    });
    said.destroy();
    if (!started || child.pid === undefined) {
      letShimGo(options.folder);
      output.finish();
      const why = readIfAny(files.setupLog).trim();
      throw new IsthmusError('LINUX_COMMAND_FAILED', `the container's file system was not made: ${why === '' ? 'no reason given' : why}`);
    }
    child.unref();
    const record: ContainerRecord = {
      folder: options.folder,
      shim: child.pid,
      shimStart: processStartTime(child.pid) ?? '',
      pid: Number(readFileSync(files.pid, 'utf8')),
      startedAt: Date.now(),
      env: options.env,
      workingDir: options.workingDir,
      setpriv: options.setpriv,
      ...(namespace !== undefined && { netns: namespace.name }),
    };
    writeFileSync(files.state, JSON.stringify(record), { mode: 0o600 });
    return new Container(record, collectExit(record, output));
  }

  /**
   * Takes over a container that an earlier node agent started; it may have ended meanwhile. Undefined when that agent ended
   * before the start was complete: what there is of it is ended.
   */
  static adopt(folder: string, log: LogFile): Container | undefined {
    const state = readIfAny(containerFiles(folder).state);
    if (state === '') {
      abandon(folder);
      return undefined;
    }
    const record = JSON.parse(state) as ContainerRecord;
    const output = openOutput(folder, log);
    return new Container(record, collectExit(record, output));
  }

  /** Whether it has not ended yet. */
  get running(): boolean {
    return processStartTime(this.record.shim) === this.record.shimStart && exitCodeIn(this.record.folder) === undefined;
  }

  /** Signals the container's first process; SIGKILL takes all of its processes with it. */
  signal(name: NodeJS.Signals): void {
    if (!this.running) return;
    try {
      process.kill(this.record.pid, name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** Waits for the end of a container, takes its exit code from the shim, and reads the rest of what it printed. */
async function collectExit(record: ContainerRecord, output: Output): Promise<ContainerExit> {
  const exitCode = await exitCodeWritten(record);
  letShimGo(record.folder);
  output.finish();
  await output.done;
  if (exitCode === undefined) return { exitCode: 137, finishedAt: Date.now(), unknown: true };
  return { exitCode, finishedAt: Math.round(statSync(containerFiles(record.folder).exit).mtimeMs), unknown: false };
}

/** Resolves once the shim has written the exit code, or with undefined when the shim is no more and has not. */
async function exitCodeWritten({ folder, shim, shimStart }: ContainerRecord): Promise<number | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const check = (): void => {
    if (exitCodeIn(folder) !== undefined) resolve(undefined);
  };
  const watcher = watch(folder, check);
  watcher.on('error', () => undefined);
  // It may have been written before anyone watched.
  check();
  const over = new AbortController();
  try {
    await Promise.race([promise, processExit(shim, shimStart, over.signal)]);
    return exitCodeIn(folder);
  } finally {
    over.abort(new Error('the container has ended'));
    watcher.close();
  }
}

function exitCodeIn(folder: string): number | undefined {
  const written = readIfAny(containerFiles(folder).exit);
  return /^\d+\n$/.test(written) ? Number(written) : undefined;
}

/** The shim holds the container's output until then. */
function letShimGo(folder: string): void {
  const taken = openSync(containerFiles(folder).taken, constants.O_RDWR | constants.O_NONBLOCK);
  writeSync(taken, 'taken\n');
  closeSync(taken);
}

/** Ends a start that nobody waits for: its shim, if it got that far, and its first process. */
function abandon(folder: string): void {
  const files = containerFiles(folder);
  if (!existsSync(files.taken)) return;
  letShimGo(folder);
  const pid = Number(readIfAny(files.pid));
  const parent = /^PPid:\s+(\d+)/m.exec(readIfAny(`/proc/${pid}/status`))?.[1] ?? '0';
  // By now another process may have the pid.
  if (readIfAny(`/proc/${parent}/cmdline`).includes(files.shim)) process.kill(pid, 'SIGKILL');
}

interface Output {
  readonly done: Promise<unknown>;
  /** To be called when nothing will be written any more: the rest is read, and `done` resolves. */
  finish(): void;
}

/** Reads what a container prints into its log. */
function openOutput(folder: string, log: LogFile): Output {
  const files = containerFiles(folder);
  const streams = (['stdout', 'stderr'] as const).map((name) => {
    // A pipe that has no writer yet would be at its end at once: this descriptor is the writer until the container has ended.
    const keeper = openSync(files[name], constants.O_RDWR | constants.O_NONBLOCK);
    const reader = new Socket({ fd: openSync(files[name], constants.O_RDONLY | constants.O_NONBLOCK), readable: true, writable: false });
    const ended = new Promise((resolve) => reader.once('close', resolve).on('error', () => undefined));
    log.consume(name, reader);
    return { keeper, ended };
  });
  let finished = false;
  return {
    done: Promise.all(streams.map(({ ended }) => ended)),
    finish: () => {
      if (finished) return;
      finished = true;
      for (const { keeper } of streams) closeSync(keeper);
    },
  };
}

function readIfAny(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
