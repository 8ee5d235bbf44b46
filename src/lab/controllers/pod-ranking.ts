import type { Pod } from '../../api/kubernetes.ts';
import { timeOf } from './objects.ts';
import { isPodReady, podCondition } from './pod-state.ts';

/** Annotation of a pod: one with a lower number is deleted before one with a higher; default 0. */
const deletionCostAnnotation = 'controller.kubernetes.io/pod-deletion-cost';

/**
 * Orders pods by how little would be lost with them, as controller.ActivePodsWithRanks: not scheduled, pending, not ready,
 * cheap, on a node with many of the same, ready for a shorter time, restarted more often, younger.
 */
export function byDispensability(podsPerNode: ReadonlyMap<string, number>, now: number): (a: Pod, b: Pod) => number {
  const criteria: readonly ((pod: Pod) => number)[] = [
    (pod) => (pod.spec?.nodeName ? 1 : 0),
    (pod) => phaseRank[pod.status?.phase ?? 'Pending'] ?? 0,
    (pod) => (isPodReady(pod) ? 1 : 0),
    (pod) => Number.parseInt(pod.metadata.annotations?.[deletionCostAnnotation] ?? '0', 10) || 0,
    (pod) => -(podsPerNode.get(pod.spec?.nodeName ?? '') ?? 0),
    (pod) => (isPodReady(pod) ? logAge(timeOf(podCondition(pod, 'Ready')?.lastTransitionTime), now) : 0),
    (pod) => -restarts(pod),
    (pod) => logAge(timeOf(pod.metadata.creationTimestamp), now),
  ];
  return (a, b) => {
    for (const criterion of criteria) {
      const difference = criterion(a) - criterion(b);
      if (difference !== 0) return difference;
    }
    return a.metadata.name < b.metadata.name ? -1 : 1;
  };
}

const phaseRank: Readonly<Partial<Record<string, number>>> = { Pending: 0, Unknown: 1, Running: 2 };

/** Ages count by their logarithm: which of two old pods is some seconds older should not always decide (KEP-2185). */
function logAge(since: number, now: number): number {
  return since === 0 ? 0 : Math.floor(Math.log2(Math.max(1, now - since)));
}

function restarts(pod: Pod): number {
  return Math.max(0, ...(pod.status?.containerStatuses ?? []).map(({ restartCount }) => restartCount));
}
