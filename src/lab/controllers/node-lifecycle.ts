import type { Node, Pod } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { eventRecorder, keyedController, type Controller, type ControllerContext } from './controller.ts';
import { semanticallyEqual } from './equality.ts';
import { formatTime, type Taint } from './objects.ts';
import { isPodReady, podCondition } from './pod-state.ts';

/** A node whose lease was not renewed for so long counts as lost, milliseconds (upstream node-monitor-grace-period). */
const gracePeriod = 40_000;

const leaseNamespace = 'kube-node-lease';
const notReady = 'node.kubernetes.io/not-ready';
const unreachable = 'node.kubernetes.io/unreachable';

/** Marks nodes whose agent is silent, keeps new pods from nodes that are not ready, and takes the lost ones' pods out of services. */
export function nodeLifecycleController(context: ControllerContext): Controller {
  const { client, caches, clock } = context;
  const nodes = caches.for(resources.nodes);
  const leases = caches.for(resources.leases);
  const pods = caches.for(resources.pods);
  const record = eventRecorder(context, 'node-controller');
  /** When this process saw the last sign of life: the node's own clock may be another. */
  const seen = new Map<string, number>();

  const controller = keyedController(context, 'node-lifecycle', async (name) => {
    let node = nodes.get(name);
    if (node === undefined) {
      seen.delete(name);
      return;
    }
    const now = clock.now();
    const last = seen.get(name) ?? now;
    seen.set(name, last);
    const silence = now - last;
    if (silence >= gracePeriod) node = await markUnknown(node);
    else controller.queue.addAfter(name, gracePeriod - silence + 1);
    await setTaints(node);
    if (readiness(node) === 'Unknown') await markPodsNotReady(name);
  });

  async function markUnknown(node: Node): Promise<Node> {
    const conditions = unknownConditions(node, clock.now());
    if (semanticallyEqual(conditions, node.status?.conditions)) return node;
    const written = await client.update(resources.nodes, { ...node, status: { ...node.status, conditions } }, { subresource: 'status' });
    record(node, 'Normal', 'NodeNotReady', `Node ${node.metadata.name} status is now: NodeNotReady`);
    await nodes.caughtUp(written);
    return written;
  }

  async function setTaints(node: Node): Promise<void> {
    const taints = taintsFor(node);
    if (semanticallyEqual(taints, node.spec?.taints)) return;
    const { uid, resourceVersion } = node.metadata;
    const body = { metadata: { uid, resourceVersion }, spec: { taints: taints.length === 0 ? null : taints } };
    await nodes.caughtUp(await client.patch(resources.nodes, node.metadata, { type: 'merge', body }));
  }

  async function markPodsNotReady(node: string): Promise<void> {
    for (const pod of pods.list()) {
      if (pod.spec?.nodeName !== node || !isPodReady(pod)) continue;
      await pods.caughtUp(
        await client.patch(resources.pods, pod.metadata, { type: 'strategic', body: notReadyPatch(pod) }, { subresource: 'status' }),
      );
      record(pod, 'Warning', 'NodeNotReady', 'Node is not ready');
    }
  }

  function notReadyPatch(pod: Pod): unknown {
    const condition = { ...podCondition(pod, 'Ready'), type: 'Ready', status: 'False', lastTransitionTime: formatTime(clock.now()) };
    return { metadata: { uid: pod.metadata.uid }, status: { conditions: [condition] } };
  }

  nodes.onChange(({ key, object, old }) => {
    // What the node says of itself is a sign of life too; only this controller says Unknown.
    const said = object && readyCondition(object);
    if (object !== undefined && said?.status !== 'Unknown' && !semanticallyEqual(said, old && readyCondition(old)))
      seen.set(key, clock.now());
    controller.queue.add(key);
  });
  leases.onChange(({ object }) => {
    if (object?.metadata.namespace !== leaseNamespace) return;
    seen.set(object.metadata.name, clock.now());
  });
  return controller;
}

type NodeConditions = NonNullable<NonNullable<Node['status']>['conditions']>;

function readyCondition(node: Node): NodeConditions[number] | undefined {
  return node.status?.conditions?.find(({ type }) => type === 'Ready');
}

function readiness(node: Node): string | undefined {
  return readyCondition(node)?.status;
}

/** The conditions of a node that says nothing any more. */
function unknownConditions(node: Node, now: number): NodeConditions {
  const silent = new Set(['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure']);
  const time = formatTime(now);
  return (node.status?.conditions ?? []).map((condition) =>
    silent.has(condition.type) && condition.status !== 'Unknown'
      ? {
          ...condition,
          status: 'Unknown',
          reason: 'NodeStatusUnknown',
          message: 'Kubelet stopped posting node status.',
          lastTransitionTime: time,
        }
      : condition,
  );
}

/** The node's taints, with those that its readiness asks for. */
export function taintsFor(node: Node): readonly Taint[] {
  const others = (node.spec?.taints ?? []).filter(
    ({ key, effect }) => effect !== 'NoSchedule' || (key !== notReady && key !== unreachable),
  );
  const state = readiness(node);
  if (state === 'True') return others;
  return [...others, { key: state === 'Unknown' ? unreachable : notReady, effect: 'NoSchedule' }];
}
