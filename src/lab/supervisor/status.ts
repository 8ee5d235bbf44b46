import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

import { resources } from '../../api/resources.ts';
import { describeError, IsthmusError } from '../../core/index.ts';
import { KubeClient } from '../../kube/index.ts';
import { labDirectory, labFiles } from '../paths.ts';
import { askStatus } from './control.ts';
import { isRunning, readState } from './state.ts';

export interface LabStatus {
  readonly directory: string;
  readonly kubeconfig: string;
  /** Process that holds the lab's namespaces, in the host's PID namespace. */
  readonly supervisor: number;
  readonly clusters: readonly ClusterReport[];
  /** All processes of the lab, those of pods included. */
  readonly processes: {
    readonly count: number;
    /** What is shared, such as Node's own code, counts once (proportional set size). */
    readonly memoryKilobytes: number;
  };
}

export interface ClusterReport {
  readonly name: string;
  readonly server: string;
  readonly node: string;
  /** What the API server says of node and pods; `error` when it does not answer. */
  readonly api: { readonly nodeReady: boolean; readonly pods: number; readonly podsReady: number } | { readonly error: string };
  readonly processes: readonly ProcessReport[];
}

export interface ProcessReport {
  readonly name: string;
  /** In the host's PID namespace; undefined while it is down. */
  readonly pid: number | undefined;
  readonly restarts: number;
  readonly rssKilobytes: number;
}

/** What runs. Throws LAB_NOT_RUNNING. */
export async function labStatus(): Promise<LabStatus> {
  const directory = labDirectory();
  const state = readState(directory);
  if (state === undefined || !isRunning(state)) {
    throw new IsthmusError('LAB_NOT_RUNNING', `no lab is running in ${directory}`, { hint: 'isthmus lab up starts one' });
  }
  const asked = await askStatus(directory);
  const processes = labProcesses(state.pid);
  const { kubeconfig } = labFiles(directory);
  const clusters = await Promise.all(
    state.clusters.map(async (plan): Promise<ClusterReport> => {
      const known = asked.find(({ name }) => name === plan.name)?.processes ?? [];
      return {
        name: plan.name,
        server: `https://127.0.0.1:${plan.hostPort}`,
        node: plan.nodeName,
        api: await askApi(kubeconfig, plan.name),
        processes: known.map(({ name, pid, restarts }) => {
          const found = processes.find((process) => pid !== undefined && process.innerPid === pid);
          return { name, pid: found?.pid, restarts, rssKilobytes: found?.rssKilobytes ?? 0 };
        }),
      };
    }),
  );
  const memoryKilobytes = processes.reduce((sum, { pid }) => sum + proportionalSize(pid), 0);
  return { directory, kubeconfig, supervisor: state.pid, clusters, processes: { count: processes.length, memoryKilobytes } };
}

async function askApi(kubeconfig: string, context: string): Promise<ClusterReport['api']> {
  try {
    using client = KubeClient.fromKubeconfig({ path: kubeconfig, context });
    const signal = AbortSignal.timeout(3_000);
    const [nodes, pods] = await Promise.all([client.list(resources.nodes, { signal }), client.list(resources.pods, { signal })]);
    const isReady = ({ status }: { status?: { conditions?: { type: string; status: string }[] } }): boolean =>
      status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false;
    return { nodeReady: nodes.items.every(isReady), pods: pods.items.length, podsReady: pods.items.filter(isReady).length };
  } catch (error) {
    return { error: describeError(error) };
  }
}

interface LabProcess {
  readonly pid: number;
  /** In the lab's PID namespace. */
  readonly innerPid: number;
  readonly rssKilobytes: number;
}

/** The processes in the lab's PID namespace and those below it, as this namespace sees them. */
function labProcesses(holder: number): readonly LabProcess[] {
  // The holder itself is outside; its children are in the namespace that it made.
  const namespace = linkOf(`/proc/${holder}/ns/pid_for_children`);
  const found: LabProcess[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const status = readIfThere(`/proc/${entry}/status`);
    const pids = /^NSpid:\s+(.*)$/m.exec(status)?.[1]?.split(/\s+/).map(Number) ?? [];
    const [pid, innerPid] = pids;
    if (pid === undefined || innerPid === undefined || namespace === undefined) continue;
    if (!belongs(entry, namespace, pids.length)) continue;
    found.push({ pid, innerPid, rssKilobytes: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) });
  }
  return found;
}

/** In the namespace, or in one inside it: then its ancestors lead to a process that is in the namespace. */
function belongs(entry: string, namespace: string, depth: number): boolean {
  let at = entry;
  for (let step = 0; step < 64 && at !== '0'; step++) {
    if (linkOf(`/proc/${at}/ns/pid`) === namespace) return true;
    if (depth <= 2 && step > 0) return false;
    at = /^PPid:\s+(\d+)/m.exec(readIfThere(`/proc/${at}/status`))?.[1] ?? '0';
  }
  return false;
}

function proportionalSize(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readIfThere(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0);
}

function linkOf(file: string): string | undefined {
  try {
    return readlinkSync(file);
  } catch {
    return undefined;
  }
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
