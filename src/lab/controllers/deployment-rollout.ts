import type { Deployment, ReplicaSet } from '../../api/kubernetes.ts';
import { semanticallyEqual } from './equality.ts';
import { byAge, resolveIntOrString, timeOf, type PodTemplate } from './objects.ts';
import { podTemplateHashLabel } from './template-hash.ts';

/**
 * How many pods each ReplicaSet of a Deployment should have: the decisions of kube-controller-manager's deployment
 * controller (rolling.go, recreate.go, sync.go), without its writes.
 */

/** A ReplicaSet and the number of replicas that it should have instead of the present one. */
export interface Scaling {
  readonly replicaSet: ReplicaSet;
  readonly replicas: number;
}

const desiredReplicasAnnotation = 'deployment.kubernetes.io/desired-replicas';
const maxReplicasAnnotation = 'deployment.kubernetes.io/max-replicas';

export const wantedReplicas = (deployment: Deployment): number => deployment.spec?.replicas ?? 1;
export const specReplicas = (replicaSet: ReplicaSet): number => replicaSet.spec?.replicas ?? 1;
const availableReplicas = (replicaSet: ReplicaSet): number => replicaSet.status?.availableReplicas ?? 0;
const sum = (replicaSets: readonly ReplicaSet[], of: (replicaSet: ReplicaSet) => number): number =>
  replicaSets.reduce((total, replicaSet) => total + of(replicaSet), 0);

const isRolling = (deployment: Deployment): boolean => deployment.spec?.strategy?.type !== 'Recreate';

/** How many pods may be there beyond the wanted number, and how many of these may be missing, during a rolling update. */
export function rolloutBounds(deployment: Deployment): { readonly surge: number; readonly unavailable: number } {
  const replicas = wantedReplicas(deployment);
  if (!isRolling(deployment) || replicas === 0) return { surge: 0, unavailable: isRolling(deployment) ? 0 : replicas };
  const rolling = deployment.spec?.strategy?.rollingUpdate;
  const surge = resolveIntOrString(rolling?.maxSurge ?? '25%', replicas, 'up');
  const unavailable = resolveIntOrString(rolling?.maxUnavailable ?? '25%', replicas, 'down');
  // Both 0 (small shares rounded) would allow no step at all.
  if (surge === 0 && unavailable === 0) return { surge, unavailable: 1 };
  return { surge, unavailable: Math.min(unavailable, replicas) };
}

/** The ReplicaSet with the Deployment's own template; of several the oldest, so that they converge on one. */
export function findNewReplicaSet(deployment: Deployment, replicaSets: readonly ReplicaSet[]): ReplicaSet | undefined {
  const wanted = deployment.spec?.template;
  return [...replicaSets].sort(byAge).find(({ spec }) => sameTemplate(spec?.template, wanted));
}

/** Whether two pod templates are the same apart from the hash that a ReplicaSet adds. */
function sameTemplate(a: PodTemplate | undefined, b: PodTemplate | undefined): boolean {
  const plain = (template: PodTemplate | undefined): unknown => {
    const labels = Object.entries(template?.metadata?.labels ?? {}).filter(([name]) => name !== podTemplateHashLabel);
    return { ...template, metadata: { ...template?.metadata, labels: Object.fromEntries(labels) } };
  };
  return semanticallyEqual(plain(a), plain(b));
}

/** The size that the new ReplicaSet should have now (NewRSNewReplicas). */
export function newReplicaSetSize(deployment: Deployment, all: readonly ReplicaSet[], current: number): number {
  const wanted = wantedReplicas(deployment);
  if (!isRolling(deployment)) return wanted;
  const room = wanted + rolloutBounds(deployment).surge - sum(all, specReplicas);
  if (room <= 0) return current;
  return current + Math.min(room, wanted - current);
}

/** The next step of a rolling update; none when there is nothing to do before pods come or go. */
export function planRollingUpdate(deployment: Deployment, next: ReplicaSet, old: readonly ReplicaSet[]): readonly Scaling[] {
  const all = [...old, next];
  const current = specReplicas(next);
  const wanted = wantedReplicas(deployment);
  const size = current > wanted ? wanted : current === wanted ? current : newReplicaSetSize(deployment, all, current);
  if (size !== current) return [{ replicaSet: next, replicas: size }];
  return planScaleDown(deployment, next, old);
}

/** Which old ReplicaSets can shrink now without fewer pods being available than promised. */
function planScaleDown(deployment: Deployment, next: ReplicaSet, old: readonly ReplicaSet[]): readonly Scaling[] {
  const minAvailable = wantedReplicas(deployment) - rolloutBounds(deployment).unavailable;
  const newUnavailable = specReplicas(next) - availableReplicas(next);
  const total = sum([...old, next], specReplicas);
  const mayGo = total - minAvailable - newUnavailable;
  if (sum(old, specReplicas) === 0 || mayGo <= 0) return [];

  const sizes = new Map(old.map((replicaSet) => [replicaSet, specReplicas(replicaSet)]));
  const shrink = (replicaSet: ReplicaSet, by: number): void => {
    sizes.set(replicaSet, (sizes.get(replicaSet) ?? 0) - by);
  };
  const oldestFirst = [...old].sort(byAge);

  // Pods that are not available are no loss: they go first, so that a broken rollout does not stand in the way of its cure.
  let left = mayGo;
  for (const replicaSet of oldestFirst) {
    const unhealthy = Math.max(0, specReplicas(replicaSet) - availableReplicas(replicaSet));
    const by = Math.min(left, unhealthy);
    shrink(replicaSet, by);
    left -= by;
  }

  let spare = sum([...old, next], availableReplicas) - minAvailable;
  for (const replicaSet of oldestFirst) {
    const by = Math.min(Math.max(0, spare), sizes.get(replicaSet) ?? 0);
    shrink(replicaSet, by);
    spare -= by;
  }
  return [...sizes].flatMap(([replicaSet, replicas]) => (replicas === specReplicas(replicaSet) ? [] : [{ replicaSet, replicas }]));
}

/** The first step of strategy Recreate: everything old goes. */
export function planRetirement(old: readonly ReplicaSet[]): readonly Scaling[] {
  return old.filter((replicaSet) => specReplicas(replicaSet) > 0).map((replicaSet) => ({ replicaSet, replicas: 0 }));
}

/** The second step of strategy Recreate, once no old pod is left: the new ReplicaSet gets its whole size. */
export function planReplacement(deployment: Deployment, next: ReplicaSet): readonly Scaling[] {
  const wanted = wantedReplicas(deployment);
  return specReplicas(next) === wanted ? [] : [{ replicaSet: next, replicas: wanted }];
}

/** The annotations by which a later change of the Deployment's replicas is told from a rollout. */
export function scaleAnnotations(deployment: Deployment): Record<string, string> {
  const wanted = wantedReplicas(deployment);
  return {
    [desiredReplicasAnnotation]: String(wanted),
    [maxReplicasAnnotation]: String(wanted + rolloutBounds(deployment).surge),
  };
}

/** Whether the Deployment's replicas were changed since its ReplicaSets were last sized. */
export function isScalingEvent(deployment: Deployment, replicaSets: readonly ReplicaSet[]): boolean {
  return replicaSets.some((replicaSet) => {
    const desired = Number.parseInt(replicaSet.metadata.annotations?.[desiredReplicasAnnotation] ?? '', 10);
    return specReplicas(replicaSet) > 0 && !Number.isNaN(desired) && desired !== wantedReplicas(deployment);
  });
}

/**
 * Sizes after a change of the Deployment's replicas: the one active ReplicaSet takes it all; in the middle of a rollout each
 * takes its share, so that a bad version does not get all of the growth (proportional scaling).
 */
export function planScaling(deployment: Deployment, next: ReplicaSet | undefined, old: readonly ReplicaSet[]): readonly Scaling[] {
  const wanted = wantedReplicas(deployment);
  const all = next === undefined ? old : [...old, next];
  const active = all.filter((replicaSet) => specReplicas(replicaSet) > 0).sort(byAge);
  if (active.length <= 1) {
    const only = active[0] ?? next ?? [...old].sort(byAge).at(-1);
    return only === undefined || specReplicas(only) === wanted ? [] : [{ replicaSet: only, replicas: wanted }];
  }
  if (next !== undefined && availableReplicas(next) === wanted && specReplicas(next) === wanted) {
    return planRetirement(old);
  }
  if (!isRolling(deployment)) return [];
  return planShares(deployment, active);
}

function planShares(deployment: Deployment, active: readonly ReplicaSet[]): readonly Scaling[] {
  const wanted = wantedReplicas(deployment);
  const allowed = wanted > 0 ? wanted + rolloutBounds(deployment).surge : 0;
  const toAdd = allowed - sum(active, specReplicas);
  if (toAdd === 0) return [];
  // The largest take their share first; when growing the newest of equals, when shrinking the oldest.
  const ordered = [...active].sort((a, b) => specReplicas(b) - specReplicas(a) || (toAdd > 0 ? byAge(b, a) : byAge(a, b)));
  let added = 0;
  const sizes = ordered.map((replicaSet) => {
    const share = proportion(replicaSet, wanted, allowed, toAdd, added);
    added += share;
    return specReplicas(replicaSet) + share;
  });
  const [first = 0, ...others] = sizes;
  const leftover = toAdd - added;
  return [Math.max(0, first + leftover), ...others].flatMap((size, i) => {
    const replicaSet = ordered[i];
    return replicaSet === undefined || size === specReplicas(replicaSet) ? [] : [{ replicaSet, replicas: Math.max(0, size) }];
  });
}

/** The part of `toAdd` (positive or negative) that falls to one ReplicaSet (GetReplicaSetProportion). */
function proportion(replicaSet: ReplicaSet, wanted: number, allowed: number, toAdd: number, added: number): number {
  const size = specReplicas(replicaSet);
  const left = toAdd - added;
  if (size === 0 || left === 0) return 0;
  const before = Number.parseInt(replicaSet.metadata.annotations?.[maxReplicasAnnotation] ?? '', 10) || wanted;
  const fraction = wanted === 0 ? -size : Math.round((size * allowed) / before) - size;
  return toAdd > 0 ? Math.min(fraction, left) : Math.max(fraction, left);
}

/** Old ReplicaSets beyond the history that is kept, oldest revision first. */
export function expiredReplicaSets(deployment: Deployment, old: readonly ReplicaSet[]): readonly ReplicaSet[] {
  const cleanable = old
    .filter((replicaSet) => replicaSet.metadata.deletionTimestamp === undefined)
    .sort((a, b) => timeOf(a.metadata.creationTimestamp) - timeOf(b.metadata.creationTimestamp) || revisionOf(a) - revisionOf(b));
  const excess = cleanable.length - (deployment.spec?.revisionHistoryLimit ?? 10);
  return cleanable
    .slice(0, Math.max(0, excess))
    .filter(
      ({ status, spec, metadata }) =>
        (status?.replicas ?? 0) === 0 && (spec?.replicas ?? 1) === 0 && (metadata.generation ?? 0) <= (status?.observedGeneration ?? 0),
    );
}

export const revisionAnnotation = 'deployment.kubernetes.io/revision';

/** The revision of a Deployment or of one of its ReplicaSets; 0 before it has one. */
export function revisionOf(object: Deployment | ReplicaSet): number {
  return Number.parseInt(object.metadata.annotations?.[revisionAnnotation] ?? '', 10) || 0;
}
