import type { Node, Pod } from '../../api/kubernetes.ts';
import { apiVersionOf, resources } from '../../api/resources.ts';
import { objectPath } from '../../kube/index.ts';
import { eventRecorder, keyedController, type Controller, type ControllerContext } from './controller.ts';
import { semanticallyEqual } from './equality.ts';
import { isNodeReady, misfit } from './node-fit.ts';
import { formatTime, keyOf } from './objects.ts';
import { isPodFinished, podCondition } from './pod-state.ts';

const schedulerName = 'default-scheduler';

/** Gives every pod without a node one that suits it, the emptiest first. */
export function scheduler(context: ControllerContext): Controller {
  const { client, caches, clock } = context;
  const pods = caches.for(resources.pods);
  const nodes = caches.for(resources.nodes);
  const record = eventRecorder(context, schedulerName);

  const controller = keyedController(
    context,
    'scheduler',
    async (key) => {
      const pod = pods.get(key);
      if (pod === undefined || !isMine(pod)) return;
      if ((pod.spec?.schedulingGates ?? []).length > 0) return;
      const choice = chooseNode(pod, [...nodes.list()], podsPerNode(pods.list()));
      if ('node' in choice) await bind(pod, choice.node.metadata.name);
      else await report(pod, choice.reason);
    },
    // One at a time, as upstream: each choice counts the pods that the earlier ones placed.
    { workers: 1 },
  );

  async function bind(pod: Pod, node: string): Promise<void> {
    const { name, namespace, uid } = pod.metadata;
    await client.request({
      method: 'POST',
      path: objectPath(resources.pods, pod.metadata, 'binding'),
      body: {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name, namespace, uid },
        target: { apiVersion: apiVersionOf(resources.nodes), kind: 'Node', name: node },
      },
    });
    record(pod, 'Normal', 'Scheduled', `Successfully assigned ${keyOf(pod)} to ${node}`);
    // The binding's answer carries no version to wait for: the pod will show a node.
    await pods.shows(pod, (seen) => Boolean(seen.spec?.nodeName));
  }

  async function report(pod: Pod, message: string): Promise<void> {
    const known = podCondition(pod, 'PodScheduled');
    if (known?.status === 'False' && known.message === message) return;
    record(pod, 'Warning', 'FailedScheduling', message);
    const condition = {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message,
      lastTransitionTime: formatTime(clock.now()),
    };
    const body = { metadata: { uid: pod.metadata.uid }, status: { conditions: [condition] } };
    await pods.caughtUp(await client.patch(resources.pods, pod.metadata, { type: 'strategic', body }, { subresource: 'status' }));
  }

  pods.onChange(({ key, object }) => {
    if (object !== undefined && isMine(object)) controller.queue.add(key);
  });
  nodes.onChange(({ type, object, old }) => {
    // Only what a choice depends on; a heartbeat does not wake the waiting pods.
    if (type === 'update' && semanticallyEqual(placementFacts(object), placementFacts(old))) return;
    for (const pod of pods.list()) if (isMine(pod)) controller.queue.add(keyOf(pod));
  });
  return controller;
}

function placementFacts(node: Node): unknown {
  return [node.spec, node.metadata.labels, isNodeReady(node)];
}

/** Whether the pod waits for this scheduler. */
function isMine(pod: Pod): boolean {
  if (pod.spec?.nodeName || isPodFinished(pod) || pod.metadata.deletionTimestamp !== undefined) return false;
  return (pod.spec?.schedulerName ?? schedulerName) === schedulerName;
}

function podsPerNode(pods: Iterable<Pod>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const pod of pods) {
    if (pod.spec?.nodeName && !isPodFinished(pod)) counts.set(pod.spec.nodeName, (counts.get(pod.spec.nodeName) ?? 0) + 1);
  }
  return counts;
}

/** The node for a pod, or why there is none, in kube-scheduler's words. */
export function chooseNode(
  pod: Pod,
  nodes: readonly Node[],
  load: ReadonlyMap<string, number>,
): { readonly node: Node } | { readonly reason: string } {
  if (nodes.length === 0) return { reason: 'no nodes available to schedule pods' };
  const spec = pod.spec ?? { containers: [] };
  const refusals = new Map<string, number>();
  const fitting: Node[] = [];
  for (const node of nodes) {
    const reason = misfit(spec, node);
    if (reason === undefined) fitting.push(node);
    else refusals.set(reason, (refusals.get(reason) ?? 0) + 1);
  }
  const loadOf = (node: Node): number => load.get(node.metadata.name) ?? 0;
  const [best] = fitting.sort((a, b) => loadOf(a) - loadOf(b) || (a.metadata.name < b.metadata.name ? -1 : 1));
  if (best !== undefined) return { node: best };
  const reasons = [...refusals].map(([reason, count]) => `${String(count)} ${reason}`).sort();
  return { reason: `0/${String(nodes.length)} nodes are available: ${reasons.join(', ')}.` };
}
