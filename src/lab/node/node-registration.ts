import { release } from 'node:os';

import type { Node } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { version } from '../../api/version.ts';
import { Backoff, describeError, retry, sleep, type Logger } from '../../core/index.ts';
import { isAlreadyExists, type KubeClient } from '../../kube/index.ts';
import { kubeletPort, type ClusterPlan } from '../network/plan.ts';

export interface NodeRegistrationOptions {
  readonly plan: ClusterPlan;
  readonly client: KubeClient;
  readonly machine: { readonly cpu: number; readonly memory: number };
  readonly log: Logger;
}

/** The Kubernetes version whose kubelet this agent stands in for. */
const kubeletVersion = 'v1.36.3';

/** As the kubelet's defaults, milliseconds. */
const leaseEvery = 10_000;
const statusEvery = 300_000;
const leaseSeconds = 40;

/** Registers the node, or takes its registration up again, and says that it is ready. Goes on trying until it succeeds. */
export async function registerNode(options: NodeRegistrationOptions, signal: AbortSignal): Promise<void> {
  const { log } = options;
  await retry(() => writeNode(options, signal), {
    initial: 100,
    max: 2_000,
    signal,
    onFailure: (error, retryMs) => log.warn({ error: describeError(error), retryMs }, 'node not registered'),
  });
}

/** Renews the node's Lease and, more rarely, its status, until `signal` is aborted. */
export async function keepNodeAlive(options: NodeRegistrationOptions, signal: AbortSignal): Promise<void> {
  const { log } = options;
  const backoff = new Backoff({ initial: 200, max: leaseEvery });
  let statusAt = performance.now();
  const stopped = (): boolean => signal.aborted;
  while (!stopped()) {
    let wait = leaseEvery;
    try {
      await renewLease(options, signal);
      if (performance.now() - statusAt > statusEvery) {
        await writeNode(options, signal);
        statusAt = performance.now();
      }
      backoff.reset();
    } catch (error) {
      wait = backoff.next();
      if (!stopped()) log.warn({ error: describeError(error), retryMs: wait }, 'node lease not renewed');
    }
    await sleep(wait, signal).catch(() => undefined);
  }
}

async function renewLease({ client, plan }: NodeRegistrationOptions, signal: AbortSignal): Promise<void> {
  const now = new Date().toISOString().replace('Z', '000Z');
  const place = { name: plan.nodeName, namespace: 'kube-node-lease' };
  const spec = { holderIdentity: plan.nodeName, leaseDurationSeconds: leaseSeconds, renewTime: now };
  const lease = await client.find(resources.leases, place, signal);
  if (lease !== undefined) {
    await client.update(resources.leases, { ...lease, spec: { ...lease.spec, ...spec } }, { signal });
    return;
  }
  const owner = await client.get(resources.nodes, { name: plan.nodeName }, signal);
  const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name: plan.nodeName, uid: owner.metadata.uid ?? '' }];
  await client.create(
    resources.leases,
    { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { ...place, ownerReferences }, spec },
    { signal },
  );
}

async function writeNode({ client, plan, machine }: NodeRegistrationOptions, signal: AbortSignal): Promise<void> {
  const labels = {
    'beta.kubernetes.io/arch': architecture(),
    'beta.kubernetes.io/os': 'linux',
    'kubernetes.io/arch': architecture(),
    'kubernetes.io/hostname': plan.nodeName,
    'kubernetes.io/os': 'linux',
    'node-role.kubernetes.io/control-plane': '',
    'node.kubernetes.io/exclude-from-external-load-balancers': '',
  };
  const node: Node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: plan.nodeName, labels },
    spec: { podCIDR: plan.nodePodCidr, podCIDRs: [plan.nodePodCidr], providerID: `isthmus://lab/${plan.name}/${plan.nodeName}` },
  };
  try {
    await client.create(resources.nodes, node, { signal });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
  const current = await client.get(resources.nodes, { name: plan.nodeName }, signal);
  const body = { status: nodeStatus(plan, machine, current) };
  await client.patch(
    resources.nodes,
    { name: plan.nodeName },
    { type: 'strategic', body },
    { subresource: 'status', fieldManager: 'kubelet', signal },
  );
}

function nodeStatus(
  plan: ClusterPlan,
  machine: { readonly cpu: number; readonly memory: number },
  current: Node,
): NonNullable<Node['status']> {
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  const capacity = { cpu: String(machine.cpu), memory: `${Math.floor(machine.memory / 1024)}Ki`, pods: '250', 'ephemeral-storage': '20Gi' };
  const condition = (type: string, status: 'True' | 'False', reason: string, message: string) => {
    const before = current.status?.conditions?.find((candidate) => candidate.type === type);
    const lastTransitionTime = before?.status === status ? (before.lastTransitionTime ?? now) : now;
    return { type, status, reason, message, lastHeartbeatTime: now, lastTransitionTime };
  };
  return {
    addresses: [
      { type: 'InternalIP', address: plan.nodeAddress },
      { type: 'Hostname', address: plan.nodeName },
    ],
    capacity,
    allocatable: capacity,
    conditions: [
      condition('MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'),
      condition('DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
      condition('PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
      condition('Ready', 'True', 'KubeletReady', 'kubelet is posting ready status'),
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: kubeletPort } },
    nodeInfo: {
      architecture: architecture(),
      bootID: current.status?.nodeInfo?.bootID ?? crypto.randomUUID(),
      containerRuntimeVersion: `isthmus://${version}`,
      kernelVersion: release(),
      kubeProxyVersion: '',
      kubeletVersion,
      machineID: '',
      operatingSystem: 'linux',
      osImage: `Isthmus lab ${version}`,
      systemUUID: '',
    },
  };
}

function architecture(): string {
  return process.arch === 'x64' ? 'amd64' : process.arch;
}
