import type { Pod } from '../../api/kubernetes.ts';
import { timeOf } from './objects.ts';

/** The condition of this type, if the pod has it. */
export function podCondition(pod: Pod, type: string): NonNullable<NonNullable<Pod['status']>['conditions']>[number] | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type);
}

/** Whether its readiness probes and gates pass. */
export function isPodReady(pod: Pod): boolean {
  return podCondition(pod, 'Ready')?.status === 'True';
}

/** Whether it has been ready for `minReadySeconds`. */
export function isPodAvailable(pod: Pod, minReadySeconds: number, now: number): boolean {
  const ready = podCondition(pod, 'Ready');
  if (ready?.status !== 'True') return false;
  return minReadySeconds === 0 || timeOf(ready.lastTransitionTime) + minReadySeconds * 1000 <= now;
}

/** Whether all its containers ended for good. */
export function isPodFinished(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

/** Whether it has been told to end. */
export function isPodTerminating(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp !== undefined;
}

/** Whether it counts as a replica: neither finished nor terminating. */
export function isPodActive(pod: Pod): boolean {
  return !isPodFinished(pod) && !isPodTerminating(pod);
}

/** How many milliseconds until one more of these pods is available; undefined when time alone changes nothing. */
export function nextAvailability(pods: readonly Pod[], minReadySeconds: number, now: number): number | undefined {
  if (minReadySeconds === 0) return undefined;
  const waits = pods
    .filter((pod) => isPodReady(pod) && !isPodAvailable(pod, minReadySeconds, now))
    .map((pod) => timeOf(podCondition(pod, 'Ready')?.lastTransitionTime) + minReadySeconds * 1000 - now);
  return waits.length === 0 ? undefined : Math.max(0, Math.min(...waits));
}
