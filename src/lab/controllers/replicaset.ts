import type { Pod, ReplicaSet } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { apiMessage, asError, eventRecorder, keyedController, type Controller, type ControllerContext } from './controller.ts';
import { semanticallyEqual } from './equality.ts';
import { formatTime, keyOf, type ReplicaSetStatus } from './objects.ts';
import { claim } from './ownership.ts';
import { PodControl, podFromTemplate } from './pod-control.ts';
import { watchOwnedPods } from './pod-events.ts';
import { isPodActive, isPodAvailable, isPodFinished, isPodReady, isPodTerminating, nextAvailability } from './pod-state.ts';
import { byDispensability } from './pod-ranking.ts';
import { matchesLabels } from './selectors.ts';

/** More pods than this are never created or deleted in one go. */
const burst = 500;

/** Keeps as many pods of a template as a ReplicaSet asks for. */
export function replicaSetController(context: ControllerContext): Controller {
  const replicaSets = context.caches.for(resources.replicaSets);
  const pods = context.caches.for(resources.pods);
  const podControl = new PodControl(context, eventRecorder(context, 'replicaset-controller'));

  const controller = keyedController(context, 'replicaset', async (key) => {
    const replicaSet = replicaSets.get(key);
    if (replicaSet?.spec === undefined) return;
    const all = await claim(
      context.client,
      resources.pods,
      replicaSet,
      replicaSet.spec.selector,
      pods.inNamespace(replicaSet.metadata.namespace),
    );
    let failure: Error | undefined;
    if (replicaSet.metadata.deletionTimestamp === undefined) {
      try {
        await fit(replicaSet, all);
      } catch (error) {
        failure = asError(error);
      }
    }
    const now = context.clock.now();
    const status = replicaSetStatus(replicaSet, all, failure, now);
    if (!semanticallyEqual(status, replicaSet.status)) {
      const written = await context.client.update(resources.replicaSets, { ...replicaSet, status }, { subresource: 'status' });
      await replicaSets.caughtUp(written);
    }
    const wait = nextAvailability(all.filter(isPodActive), replicaSet.spec.minReadySeconds ?? 0, now);
    if (wait !== undefined) controller.queue.addAfter(key, wait);
    if (failure !== undefined) throw failure;
  });

  /** Creates what is missing or deletes what is too many. */
  async function fit(replicaSet: ReplicaSet, all: readonly Pod[]): Promise<void> {
    const active = all.filter(isPodActive);
    const missing = (replicaSet.spec?.replicas ?? 1) - active.length;
    if (missing > 0) {
      const template = replicaSet.spec?.template ?? {};
      await podControl.createMany(replicaSet, Math.min(missing, burst), () => podFromTemplate(replicaSet, template));
    } else if (missing < 0) {
      const siblings = siblingPodsPerNode(replicaSet);
      const surplus = [...active].sort(byDispensability(siblings, context.clock.now())).slice(0, Math.min(-missing, burst));
      await Promise.all(surplus.map((pod) => podControl.delete(replicaSet, pod)));
    }
  }

  /** How many active pods each node has of this ReplicaSet and of the others of the same owner. */
  function siblingPodsPerNode(replicaSet: ReplicaSet): ReadonlyMap<string, number> {
    const owner = replicaSet.metadata.ownerReferences?.find((reference) => reference.controller === true)?.uid;
    const family = owner === undefined ? [replicaSet] : replicaSets.controlledBy(owner);
    const counts = new Map<string, number>();
    for (const pod of family.flatMap((member) => pods.controlledBy(member.metadata.uid)).filter(isPodActive)) {
      const node = pod.spec?.nodeName ?? '';
      counts.set(node, (counts.get(node) ?? 0) + 1);
    }
    return counts;
  }

  replicaSets.onChange(({ key }) => controller.queue.add(key));
  watchOwnedPods(
    pods,
    'ReplicaSet',
    (key) => controller.queue.add(key),
    (orphan) => {
      for (const replicaSet of replicaSets.inNamespace(orphan.metadata.namespace)) {
        if (matchesLabels(replicaSet.spec?.selector.matchLabels ?? {}, orphan.metadata.labels)) controller.queue.add(keyOf(replicaSet));
      }
    },
  );
  return controller;
}

/** The counts of its pods, and ReplicaFailure when pods could not be made or ended. */
export function replicaSetStatus(replicaSet: ReplicaSet, pods: readonly Pod[], failure: unknown, now: number): ReplicaSetStatus {
  const active = pods.filter(isPodActive);
  const minReadySeconds = replicaSet.spec?.minReadySeconds ?? 0;
  const fullyLabeled = active.filter((pod) => matchesLabels(replicaSet.spec?.template?.metadata?.labels ?? {}, pod.metadata.labels)).length;
  const ready = active.filter(isPodReady).length;
  const available = active.filter((pod) => isPodAvailable(pod, minReadySeconds, now)).length;
  const terminating = pods.filter((pod) => isPodTerminating(pod) && !isPodFinished(pod)).length;
  const conditions = failureCondition(replicaSet, active.length, failure, now);
  return {
    replicas: active.length,
    ...(fullyLabeled > 0 && { fullyLabeledReplicas: fullyLabeled }),
    ...(ready > 0 && { readyReplicas: ready }),
    ...(available > 0 && { availableReplicas: available }),
    terminatingReplicas: terminating,
    observedGeneration: replicaSet.metadata.generation ?? 0,
    ...(conditions.length > 0 && { conditions }),
  };
}

function failureCondition(
  replicaSet: ReplicaSet,
  active: number,
  failure: unknown,
  now: number,
): NonNullable<ReplicaSetStatus['conditions']> {
  const others = (replicaSet.status?.conditions ?? []).filter(({ type }) => type !== 'ReplicaFailure');
  if (failure === undefined) return others;
  const reason = active < (replicaSet.spec?.replicas ?? 1) ? 'FailedCreate' : 'FailedDelete';
  const known = replicaSet.status?.conditions?.find((condition) => condition.type === 'ReplicaFailure' && condition.reason === reason);
  const lastTransitionTime = known?.lastTransitionTime ?? formatTime(now);
  return [...others, { type: 'ReplicaFailure', status: 'True', reason, message: apiMessage(failure), lastTransitionTime }];
}
