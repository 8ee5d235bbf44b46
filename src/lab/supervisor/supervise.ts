import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import path from 'node:path';

import { createLogger, describeError, IsthmusError, type Logger } from '../../core/index.ts';
import { makeNodeNetwork } from '../network/fabric.ts';
import type { ClusterPlan } from '../network/plan.ts';
import { labFiles, paths } from '../paths.ts';
import { runCommand } from '../../linux/index.ts';
import { serveControl } from './control.ts';
import type { LabSpec, StartEvent } from './lab-spec.ts';
import { NodeNamespaces } from './node-filesystem.ts';
import { SupervisedProcess, type ProcessState } from './supervised-process.ts';

/** Heap limits of the lab's own processes, MiB: they are many, and the machine may be small. */
const heapLimits: Readonly<Record<string, number>> = { apiserver: 256, controllers: 128, node: 160 };

export interface SuperviseOptions {
  readonly spec: LabSpec;
  /** Descriptors that were inherited: one listening loopback socket for each cluster, in order. */
  readonly listeners: readonly number[];
  /** Inherited: where {@link StartEvent}s go, to the process that started the lab. */
  readonly events: number;
}

/**
 * The lab itself, inside its own PID, mount and network namespace: makes the node network and the nodes, then keeps each
 * cluster's API server, controllers and node agent running until `signal` is aborted, or until it is killed, and
 * everything with it.
 */
export async function supervise({ spec, listeners, events }: SuperviseOptions, stopped: AbortSignal): Promise<void> {
  const log = createLogger('lab');
  const caller = new Socket({ fd: events });
  const orphaned = new AbortController();
  caller.on('error', () => undefined).resume();
  const start = { over: false };
  // One who has gone before the start was over did not want it, or cannot be told.
  caller.once('close', () => {
    if (spec.diesWithCaller || !start.over) orphaned.abort(new Error('the process that started the lab has ended'));
  });
  const signal = AbortSignal.any([stopped, orphaned.signal]);
  const tell = (event: StartEvent): void => void caller.write(`${JSON.stringify(event)}\n`);
  try {
    await runCommand('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'isthmus-lab', '/run']);
    await makeNodeNetwork(spec.clusters, spec.network);
    const clusters = await Promise.all(spec.clusters.map((plan, index) => Cluster.create(spec, plan, listeners[index], log)));
    await serveControl(spec.directory, () => clusters.map((cluster) => cluster.status()), signal);
    tell({ event: 'progress', message: 'network and nodes are made, API servers start' });
    void Promise.all(clusters.map((cluster) => cluster.ready)).then(() => {
      start.over = true;
      tell({ event: 'ready' });
    });
    await Promise.all(clusters.map((cluster) => cluster.run(signal)));
  } catch (error) {
    if (!start.over)
      await new Promise<void>((resolve) =>
        caller.end(`${JSON.stringify({ event: 'failed', message: describeError(error) })}\n`, () => resolve()),
      );
    throw error;
  }
}

/** The status of one cluster, as `lab status` asks for it. */
export interface ClusterStatus {
  readonly name: string;
  readonly processes: readonly ProcessState[];
}

/** One cluster's node and its three processes. */
class Cluster {
  readonly ready: Promise<unknown>;
  readonly #plan: ClusterPlan;
  readonly #directory: string;
  readonly #apiserver: SupervisedProcess;
  readonly #others: readonly SupervisedProcess[];
  readonly #gates = new Map<string, { readonly promise: Promise<undefined>; readonly resolve: (value: undefined) => void }>();

  private constructor(plan: ClusterPlan, directory: string, make: (name: string, onChange: () => void) => SupervisedProcess) {
    this.#plan = plan;
    this.#directory = directory;
    for (const name of Object.keys(heapLimits)) this.#gates.set(name, Promise.withResolvers<undefined>());
    this.ready = Promise.all([...this.#gates.values()].map((gate) => gate.promise));
    const changed = (): void => this.#changed();
    this.#apiserver = make('apiserver', changed);
    this.#others = [make('controllers', changed), make('node', changed)];
  }

  static async create(spec: LabSpec, plan: ClusterPlan, listener: number | undefined, log: Logger): Promise<Cluster> {
    if (listener === undefined) throw new IsthmusError('ISTHMUS_INTERNAL', `no listener was inherited for ${plan.name}`);
    const directory = labFiles(spec.directory).cluster(plan.name);
    const logs = path.join(directory, 'log');
    mkdirSync(path.join(logs, 'pods'), { recursive: true, mode: 0o700 });
    writeFileSync(path.join(directory, path.basename(paths.plan)), JSON.stringify(plan));
    const namespaces = await NodeNamespaces.create({
      plan,
      checkout: spec.checkout,
      mountPoint: labFiles(spec.directory).mountPoint,
      clusterDirectory: directory,
      compileCache: spec.compileCache,
    });
    const node = path.join(paths.checkout, path.relative(spec.checkout, process.execPath));
    return new Cluster(plan, directory, (name, onChange) => {
      const flags = [`--max-old-space-size=${heapLimits[name] ?? 128}`, '--max-semi-space-size=4'];
      const command = [node, ...flags, path.join(paths.checkout, 'src/cli/main.ts'), 'lab', name];
      return new SupervisedProcess(
        {
          name,
          command: namespaces.enter(command),
          env: {
            PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
            HOME: '/root',
            NODE_NO_WARNINGS: '1',
            NODE_COMPILE_CACHE: paths.compileCache,
            ...(process.env['ISTHMUS_LOG'] !== undefined && { ISTHMUS_LOG: process.env['ISTHMUS_LOG'] }),
          },
          logFile: path.join(logs, `${name}.log`),
          ...(name === 'apiserver' && { listener }),
          log: log.child({ cluster: plan.name }),
        },
        onChange,
      );
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const apiserver = this.#apiserver.run(signal);
    await Promise.race([this.#gates.get('apiserver')?.promise, apiserver]);
    await Promise.all([apiserver, ...this.#others.map((process) => process.run(signal))]);
  }

  status(): ClusterStatus {
    return { name: this.#plan.name, processes: [this.#apiserver, ...this.#others].map((process) => process.state) };
  }

  /** The node agent shows these processes as static pods: it watches the file. */
  #changed(): void {
    const status = this.status();
    const file = path.join(this.#directory, path.basename(paths.processes));
    writeFileSync(`${file}.new`, JSON.stringify(status));
    renameSync(`${file}.new`, file);
    for (const { name, ready } of status.processes) if (ready) this.#gates.get(name)?.resolve(undefined);
  }
}
