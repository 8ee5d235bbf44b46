import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';

import { IsthmusError } from '../../core/index.ts';
import { listenTcp, processStartTime, SyscallError } from '../../linux/index.ts';
import { planClusters, type NetworkMode } from '../network/plan.ts';
import { labDirectory, labFiles } from '../paths.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import type { LabSpec, LabState, StartEvent } from './lab-spec.ts';
import { isRunning, readState, removeFiles, writeState } from './state.ts';

export interface LabUpOptions {
  /** Default 2. */
  readonly clusters?: number;
  /** Loopback port of the first cluster's API server, the next cluster's on the next port; default $ISTHMUS_LAB_PORT, then 16441. */
  readonly port?: number;
  /** Default `flat`. */
  readonly network?: NetworkMode;
  /** End the lab with the calling process, however that ends; default false: the lab stays until {@link labDown}. */
  readonly diesWithCaller?: boolean;
  /** Hears what is going on. */
  readonly progress?: (message: string) => void;
}

export interface Lab {
  /** Path of the kubeconfig. */
  readonly kubeconfig: string;
  /** Its contexts, one per cluster. */
  readonly contexts: readonly string[];
}

const defaultPort = 16_441;

/** ISTHMUS_LAB_PORT, so that one machine can have two labs without an option on every command. Throws ISTHMUS_CONFIG_INVALID. */
function portFromEnvironment(): number {
  const given = process.env['ISTHMUS_LAB_PORT'];
  if (given === undefined || given === '') return defaultPort;
  const port = Number(given);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new IsthmusError('ISTHMUS_CONFIG_INVALID', `ISTHMUS_LAB_PORT is "${given}", not a port`, { hint: 'give a number from 1 to 65535' });
}

/**
 * Starts the lab and resolves once every cluster's API server and node are ready. Throws LAB_ALREADY_RUNNING,
 * LAB_PORT_TAKEN, LINUX_NO_USER_NAMESPACES, LAB_START_FAILED.
 */
export async function labUp(options: LabUpOptions = {}): Promise<Lab> {
  const directory = labDirectory();
  const left = readState(directory);
  if (left !== undefined && isRunning(left)) {
    throw new IsthmusError('LAB_ALREADY_RUNNING', `a lab is already running in ${directory}`, { hint: 'isthmus lab down ends it' });
  }
  const clusters = planClusters(options.clusters ?? 2, options.port ?? portFromEnvironment());
  const unshare = namespaceCommand();
  const listeners: number[] = [];
  try {
    for (const plan of clusters) listeners.push(listenOnLoopback(plan.hostPort));
    // What an earlier lab left goes only now: another `lab up` at the same time has lost by the ports.
    if (left !== undefined) removeFiles(left);
    const files = labFiles(directory);
    mkdirSync(files.mountPoint, { recursive: true, mode: 0o700 });
    for (const plan of clusters) mkdirSync(files.cluster(plan.name), { recursive: true, mode: 0o700 });
    const spec: LabSpec = {
      directory,
      checkout: path.resolve(import.meta.dirname, '../../..'),
      compileCache: makeCompileCache(),
      network: options.network ?? 'flat',
      clusters,
      diesWithCaller: options.diesWithCaller ?? false,
    };
    writeFileSync(files.spec, JSON.stringify(spec));
    const state = await start(spec, unshare, listeners, options);
    writeKubeconfig(directory, state.clusters);
    return { kubeconfig: files.kubeconfig, contexts: clusters.map((plan) => plan.name) };
  } finally {
    for (const fd of listeners) closeSync(fd);
  }
}

async function start(spec: LabSpec, unshare: readonly string[], listeners: readonly number[], options: LabUpOptions): Promise<LabState> {
  const files = labFiles(spec.directory);
  const log = openSync(files.log, 'a', 0o600);
  const supervisor = [
    process.execPath,
    '--max-old-space-size=64',
    '--max-semi-space-size=2',
    path.join(spec.checkout, 'src/cli/main.ts'),
    'lab',
    'supervise',
    files.spec,
  ];
  const [program = '', ...flags] = unshare;
  const child = spawn(program, [...flags, 'sh', '-c', initScript, 'isthmus-lab', ...supervisor], {
    detached: true,
    // Away from the caller's directory, which must not be kept busy.
    cwd: '/',
    stdio: ['ignore', log, log, 'pipe', ...listeners],
    env: { ...process.env, PATH: systemPath(), NODE_NO_WARNINGS: '1' },
  });
  closeSync(log);
  const ended = Promise.withResolvers<never>();
  child.once('error', ended.reject);
  child.once('exit', (code, signal) => {
    const why = lastLines(files.log);
    ended.reject(
      new IsthmusError('LAB_START_FAILED', `the lab's supervisor ended with ${signal ?? `exit code ${code ?? 'none'}`}${why}`, {
        hint: `see ${files.log}`,
      }),
    );
  });
  if (child.pid === undefined) return await ended.promise;
  const state: LabState = { ...spec, pid: child.pid, startTime: processStartTime(child.pid) ?? '', startedAt: new Date().toISOString() };
  writeState(state);
  // stdio[3] is a pipe, as asked for above; libuv makes those of both ways.
  const events = child.stdio[3] as unknown as Duplex;
  try {
    await Promise.race([ended.promise, becomesReady(events, options.progress)]);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  child.removeAllListeners();
  child.unref();
  if (options.diesWithCaller === true) (events as unknown as { unref(): void }).unref();
  else events.destroy();
  return state;
}

/**
 * PID 1 of the lab: starts the supervisor and reaps the orphans of the namespace, among them the processes of pods whose
 * node agent was killed. It ends with the supervisor, and the kernel ends all others with it.
 */
const initScript = '"$@" & wait $!';

async function becomesReady(events: Duplex, progress: LabUpOptions['progress']): Promise<void> {
  for await (const line of createInterface({ input: events, crlfDelay: Infinity })) {
    const event = JSON.parse(line) as StartEvent;
    if (event.event === 'progress') progress?.(event.message);
    else if (event.event === 'failed') throw new IsthmusError('LAB_START_FAILED', event.message);
    else return;
  }
  // The supervisor has gone without a word: its exit tells why.
  await new Promise<never>(() => undefined);
}

function listenOnLoopback(port: number): number {
  try {
    return listenTcp({ host: '127.0.0.1', port });
  } catch (error) {
    if (error instanceof SyscallError && error.errno === 'EADDRINUSE') {
      throw new IsthmusError('LAB_PORT_TAKEN', `port ${port} of the loopback interface is taken`, { hint: 'choose others with --port' });
    }
    throw error;
  }
}

/** The unshare command that makes the lab's namespaces: in a user namespace of its own, unless we may do without. */
function namespaceCommand(): readonly string[] {
  const namespaces = [
    '--mount',
    '--propagation',
    'private',
    '--net',
    '--pid',
    '--ipc',
    '--uts',
    '--fork',
    '--kill-child=SIGKILL',
    '--mount-proc',
  ];
  const candidates = [
    ...(process.getuid?.() === 0 ? [['unshare', ...namespaces]] : []),
    ['unshare', '--user', '--map-root-user', ...namespaces],
  ];
  let said = '';
  for (const candidate of candidates) {
    const [program = '', ...flags] = candidate;
    const tried = spawnSync(program, [...flags, 'true'], { encoding: 'utf8', env: { ...process.env, PATH: systemPath() } });
    if (tried.status === 0) return candidate;
    said = tried.stderr.trim();
  }
  throw new IsthmusError('LINUX_NO_USER_NAMESPACES', `this machine lets us make no namespaces (${said.replaceAll('\n', '; ')})`, {
    hint: 'run as root, or allow user namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces)',
  });
}

/** ip and nft are in sbin, which is not on every user's PATH. */
function systemPath(): string {
  return `${process.env['PATH'] ?? '/usr/bin:/bin'}:/usr/local/sbin:/usr/sbin:/sbin`;
}

/** Compiled modules outlive the lab, so that the next one starts sooner; a folder of its own, because the lab's processes see other paths. */
function makeCompileCache(): string {
  const cache = process.env['XDG_CACHE_HOME'];
  const folder = path.join(cache === undefined || cache === '' ? path.join(homedir(), '.cache') : cache, 'isthmus', 'lab');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}

function lastLines(file: string): string {
  const lines = readFileSync(file, 'utf8').trim().split('\n').slice(-3).join(' | ');
  return lines === '' ? '' : `: ${lines}`;
}
