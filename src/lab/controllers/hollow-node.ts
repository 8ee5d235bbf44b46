import type { Pod } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { createLogger, sleep } from '../../core/index.ts';
import { Informer, isAlreadyExists, keyOf, type KubeClient } from '../../kube/index.ts';
import { formatTime } from './objects.ts';
import { WorkQueue } from './work-queue.ts';

/**
 * For tests: a node that runs nothing, but says of every pod that it runs, as Kubernetes' hollow nodes do. The controllers
 * and the API server are real. Images whose name contains `broken` never become ready.
 */
export interface HollowNodeOptions {
  readonly client: KubeClient;
  readonly name: string;
  readonly signal: AbortSignal;
  /** Milliseconds between two renewals of the node's lease; default 10 s, 0 for never. */
  readonly renewal?: number;
  /** How many milliseconds a pod takes to become ready; default 20. */
  readonly startup?: number;
}

const leaseNamespace = 'kube-node-lease';

export async function runHollowNode({ client, name, signal, renewal = 10_000, startup = 20 }: HollowNodeOptions): Promise<void> {
  await register(client, name);
  const pods = new Informer({ client, type: resources.pods, fieldSelector: `spec.nodeName=${name}` });
  let addresses = 1;
  const queue = new WorkQueue({
    name: 'hollow-node',
    log: createLogger('hollow-node'),
    expected: () => true,
    reconcile: async (key) => {
      const pod = pods.get(key);
      if (pod === undefined) return;
      const { uid } = pod.metadata;
      if (pod.metadata.deletionTimestamp !== undefined) {
        await client.delete(resources.pods, pod.metadata, { gracePeriodSeconds: 0, ...(uid !== undefined && { uid }) });
      } else if (pod.status?.phase === 'Pending') {
        await sleep(startup, signal);
        addresses++;
        const ip = `10.10.${String(addresses >> 8)}.${String(addresses & 255)}`;
        await client.update(resources.pods, running(pod, ip), { subresource: 'status' });
      }
    },
  });
  pods.onChange((changes) => {
    for (const { object } of changes) if (object !== undefined) queue.add(keyOf(object));
  });
  const renewing = (async () => {
    const stopped = (): boolean => signal.aborted;
    while (renewal > 0 && !stopped()) {
      await sleep(renewal, signal).catch(() => undefined);
      if (!stopped()) await renew(client, name).catch(() => undefined);
    }
  })();
  await Promise.all([pods.run(signal), queue.run(signal), renewing]);
}

async function register(client: KubeClient, name: string): Promise<void> {
  const metadata = { name, labels: { 'kubernetes.io/os': 'linux', 'kubernetes.io/hostname': name } };
  await client.create(resources.nodes, { apiVersion: 'v1', kind: 'Node', metadata, spec: {} }).catch((error: unknown) => {
    if (!isAlreadyExists(error)) throw error;
  });
  const ready = { type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'hollow', lastTransitionTime: formatTime(Date.now()) };
  const body = { status: { conditions: [ready] } };
  await client.patch(resources.nodes, { name }, { type: 'strategic', body }, { subresource: 'status' });
  await renew(client, name);
}

async function renew(client: KubeClient, name: string): Promise<void> {
  const renewTime = new Date().toISOString().replace('Z', '000Z');
  await client.apply(resources.leases, {
    metadata: { name, namespace: leaseNamespace },
    spec: { holderIdentity: name, leaseDurationSeconds: 40, renewTime },
  });
}

function running(pod: Pod, podIP: string): Pod {
  const time = formatTime(Date.now());
  const broken = (pod.spec?.containers ?? []).some(({ image }) => image?.includes('broken'));
  const status = broken ? 'False' : 'True';
  const others = (pod.status?.conditions ?? []).filter(({ type }) => type === 'PodScheduled');
  const conditions = ['Initialized', 'ContainersReady', 'Ready'].map((type) => ({
    type,
    status: type === 'Initialized' ? 'True' : status,
    lastTransitionTime: time,
  }));
  const containerStatuses = (pod.spec?.containers ?? []).map(({ name, image = '' }) => ({
    name,
    image,
    imageID: image,
    ready: !broken,
    started: true,
    restartCount: 0,
    state: { running: { startedAt: time } },
  }));
  return {
    ...pod,
    status: {
      ...pod.status,
      phase: 'Running',
      startTime: time,
      podIP,
      podIPs: [{ ip: podIP }],
      conditions: [...others, ...conditions],
      containerStatuses,
    },
  };
}
