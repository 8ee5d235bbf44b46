import type { Pod, StatefulSet } from '../../api/kubernetes.ts';
import { isPodAvailable, isPodFinished, isPodReady, isPodTerminating } from './pod-state.ts';
import type { StatefulSetStatus } from './objects.ts';
import { controllerRevisionHashLabel } from './template-hash.ts';

/** Which pod of a StatefulSet comes or goes next, as kube-controller-manager's stateful set control decides. */

/** The number at the end of a pod's name; -1 for a name that is not the set's. */
export function ordinalOf(statefulSet: StatefulSet, pod: Pod): number {
  const prefix = `${statefulSet.metadata.name}-`;
  const rest = pod.metadata.name.startsWith(prefix) ? pod.metadata.name.slice(prefix.length) : '';
  return /^(0|[1-9]\d*)$/.test(rest) ? Number(rest) : -1;
}

export interface StatefulInput {
  readonly statefulSet: StatefulSet;
  readonly pods: readonly Pod[];
  /** Hash of the revision before the update, and of the present template; the same when no update is under way. */
  readonly currentHash: string;
  readonly updateHash: string;
  readonly now: number;
}

export interface StatefulPlan {
  /** Pods to create now, by ordinal, each from the old or the new template. */
  readonly create: readonly { readonly ordinal: number; readonly hash: string }[];
  readonly remove: readonly Pod[];
}

const nothing: StatefulPlan = { create: [], remove: [] };

function range(statefulSet: StatefulSet): { readonly first: number; readonly end: number } {
  const first = statefulSet.spec?.ordinals?.start ?? 0;
  return { first, end: first + (statefulSet.spec?.replicas ?? 1) };
}

/**
 * The next step. With OrderedReady one pod changes at a time: each waits until those before it are ready; with Parallel
 * creations and removals do not wait, but an update still replaces one pod at a time, the highest ordinal first.
 */
export function planStatefulSet({ statefulSet, pods, currentHash, updateHash, now }: StatefulInput): StatefulPlan {
  const { first, end } = range(statefulSet);
  const parallel = statefulSet.spec?.podManagementPolicy === 'Parallel';
  const partition = statefulSet.spec?.updateStrategy?.rollingUpdate?.partition ?? 0;
  const byOrdinal = new Map(pods.map((pod) => [ordinalOf(statefulSet, pod), pod]));
  const healthy = (pod: Pod): boolean => !isPodTerminating(pod) && isPodAvailable(pod, statefulSet.spec?.minReadySeconds ?? 0, now);
  const create: { ordinal: number; hash: string }[] = [];
  const remove: Pod[] = [];

  for (let ordinal = first; ordinal < end; ordinal++) {
    const pod = byOrdinal.get(ordinal);
    if (pod === undefined) create.push({ ordinal, hash: ordinal < first + partition ? currentHash : updateHash });
    else if (isPodFinished(pod) && !isPodTerminating(pod)) remove.push(pod);
    else if (healthy(pod) || parallel) continue;
    // In order: a missing or failed pod is seen to first, one that is not ready yet is waited for.
    if (!parallel) return { create, remove };
  }
  if (create.length + remove.length > 0) return { create, remove };

  const condemned = [...byOrdinal].filter(([ordinal]) => ordinal >= end || (ordinal >= 0 && ordinal < first)).sort(([a], [b]) => b - a);
  if (parallel) {
    const going = condemned.map(([, pod]) => pod).filter((pod) => !isPodTerminating(pod));
    if (going.length > 0) return { create: [], remove: going };
  } else {
    const [highest] = condemned;
    if (highest !== undefined) return isPodTerminating(highest[1]) ? nothing : { create: [], remove: [highest[1]] };
  }

  if (statefulSet.spec?.updateStrategy?.type === 'OnDelete') return nothing;
  for (let ordinal = end - 1; ordinal >= first + partition; ordinal--) {
    const pod = byOrdinal.get(ordinal);
    if (pod === undefined) return nothing;
    if (pod.metadata.labels?.[controllerRevisionHashLabel] !== updateHash) {
      return isPodTerminating(pod) ? nothing : { create: [], remove: [pod] };
    }
    if (!healthy(pod)) return nothing;
  }
  return nothing;
}

/** The counts that kubectl's tables and `rollout status` read; revisions are names of ControllerRevisions. */
export function statefulSetStatus(
  { statefulSet, pods, currentHash, updateHash, now }: StatefulInput,
  revisions: { readonly current: string; readonly update: string },
): StatefulSetStatus {
  const { first, end } = range(statefulSet);
  const own = pods.filter((pod) => !isPodTerminating(pod) && ordinalOf(statefulSet, pod) >= 0);
  const withHash = (hash: string): number => own.filter((pod) => pod.metadata.labels?.[controllerRevisionHashLabel] === hash).length;
  const wanted = own.filter((pod) => ordinalOf(statefulSet, pod) >= first && ordinalOf(statefulSet, pod) < end);
  const updated = withHash(updateHash);
  const ready = own.filter(isPodReady).length;
  // The update is over when every wanted pod is of the new revision and ready: then the new revision is the current one.
  const done = wanted.length === end - first && own.length === wanted.length && updated === own.length && ready === own.length;
  return {
    observedGeneration: statefulSet.metadata.generation ?? 0,
    replicas: own.length,
    availableReplicas: own.filter((pod) => isPodAvailable(pod, statefulSet.spec?.minReadySeconds ?? 0, now)).length,
    ...(ready > 0 && { readyReplicas: ready }),
    ...((done ? updated : withHash(currentHash)) > 0 && { currentReplicas: done ? updated : withHash(currentHash) }),
    ...(updated > 0 && { updatedReplicas: updated }),
    currentRevision: done ? revisions.update : revisions.current,
    updateRevision: revisions.update,
    collisionCount: statefulSet.status?.collisionCount ?? 0,
  };
}
