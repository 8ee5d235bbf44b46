import type { Deployment, ReplicaSet } from '../../api/kubernetes.ts';
import { rolloutBounds, wantedReplicas } from './deployment-rollout.ts';
import { formatTime, timeOf, type DeploymentCondition, type DeploymentStatus } from './objects.ts';

/**
 * What a Deployment says about itself: counts and conditions, with the reasons that kubectl's `rollout status`, `wait` and
 * `describe` read (kube-controller-manager's progress.go and deployment_util.go).
 */

const total = (replicaSets: readonly ReplicaSet[], of: (status: NonNullable<ReplicaSet['status']>) => number | undefined): number =>
  replicaSets.reduce((count, { status }) => count + (status === undefined ? 0 : (of(status) ?? 0)), 0);

/** The counts alone; conditions are those that the Deployment has. */
export function countReplicas(deployment: Deployment, next: ReplicaSet | undefined, old: readonly ReplicaSet[]): DeploymentStatus {
  const all = next === undefined ? old : [...old, next];
  const replicas = total(all, (status) => status.replicas);
  const available = total(all, (status) => status.availableReplicas);
  const unavailable = Math.max(0, all.reduce((count, { spec }) => count + (spec?.replicas ?? 1), 0) - available);
  const terminating = total(all, (status) => status.terminatingReplicas);
  const { collisionCount, conditions } = deployment.status ?? {};
  return {
    observedGeneration: deployment.metadata.generation ?? 0,
    ...(replicas > 0 && { replicas }),
    ...(next && total([next], (status) => status.replicas) > 0 && { updatedReplicas: total([next], (status) => status.replicas) }),
    ...(total(all, (status) => status.readyReplicas) > 0 && { readyReplicas: total(all, (status) => status.readyReplicas) }),
    ...(available > 0 && { availableReplicas: available }),
    ...(unavailable > 0 && { unavailableReplicas: unavailable }),
    ...(terminating > 0 && { terminatingReplicas: terminating }),
    ...(collisionCount !== undefined && { collisionCount }),
    ...(conditions && { conditions }),
  };
}

export function findCondition(conditions: readonly DeploymentCondition[] | undefined, type: string): DeploymentCondition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

interface NewCondition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}

/**
 * The conditions with one of them set. Times move only with news: lastTransitionTime with the status, lastUpdateTime also
 * with the reason, so that a Deployment which does not change is not written again.
 */
export function withCondition(conditions: readonly DeploymentCondition[], next: NewCondition, now: number): DeploymentCondition[] {
  const old = findCondition(conditions, next.type);
  if (old?.status === next.status && old.reason === next.reason) return [...conditions];
  const time = formatTime(now);
  const others = conditions.filter(({ type }) => type !== next.type);
  return [
    ...others,
    { ...next, lastUpdateTime: time, lastTransitionTime: old?.status === next.status ? (old.lastTransitionTime ?? time) : time },
  ];
}

/** Whether all pods are of the new template, and available, and nothing old is left (DeploymentComplete). */
export function isComplete(deployment: Deployment, status: DeploymentStatus): boolean {
  const wanted = wantedReplicas(deployment);
  return (
    (status.updatedReplicas ?? 0) === wanted &&
    (status.replicas ?? 0) === wanted &&
    (status.availableReplicas ?? 0) === wanted &&
    (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
  );
}

/** Whether something moved since the last status (DeploymentProgressing). */
function isProgressing(old: DeploymentStatus, status: DeploymentStatus): boolean {
  const oldOnes = (s: DeploymentStatus): number => (s.replicas ?? 0) - (s.updatedReplicas ?? 0);
  return (
    (status.updatedReplicas ?? 0) > (old.updatedReplicas ?? 0) ||
    oldOnes(status) < oldOnes(old) ||
    (status.readyReplicas ?? 0) > (old.readyReplicas ?? 0) ||
    (status.availableReplicas ?? 0) > (old.availableReplicas ?? 0)
  );
}

/** What the new status is made from. */
export interface StatusInput {
  readonly deployment: Deployment;
  /** The ReplicaSet with the Deployment's template. */
  readonly next: ReplicaSet | undefined;
  readonly old: readonly ReplicaSet[];
  /** Conditions found out during this reconcile, such as NewReplicaSetCreated; default those of the Deployment. */
  readonly conditions?: readonly DeploymentCondition[];
  readonly now: number;
}

/** The whole new status. */
export function deploymentStatus({ deployment, next, old, conditions, now }: StatusInput): DeploymentStatus {
  const before = deployment.status ?? {};
  const status = countReplicas(deployment, next, old);
  let list = [...(conditions ?? before.conditions ?? [])];

  const minAvailable = wantedReplicas(deployment) - rolloutBounds(deployment).unavailable;
  list = withCondition(list, availability((status.availableReplicas ?? 0) >= minAvailable), now);
  if (deployment.spec?.paused !== true) list = withProgress(list, { deployment, next, before, status, now });

  const failure = [next, ...old]
    .flatMap((replicaSet) => replicaSet?.status?.conditions ?? [])
    .find(({ type, status: value }) => type === 'ReplicaFailure' && value === 'True');
  list =
    failure === undefined
      ? list.filter(({ type }) => type !== 'ReplicaFailure')
      : withCondition(list, { type: 'ReplicaFailure', status: 'True', reason: failure.reason ?? '', message: failure.message ?? '' }, now);
  return { ...status, ...(list.length > 0 && { conditions: list }) };
}

function availability(available: boolean): NewCondition {
  return available
    ? { type: 'Available', status: 'True', reason: 'MinimumReplicasAvailable', message: 'Deployment has minimum availability.' }
    : {
        type: 'Available',
        status: 'False',
        reason: 'MinimumReplicasUnavailable',
        message: 'Deployment does not have minimum availability.',
      };
}

/** progressDeadlineSeconds of a Deployment that has none. */
const noDeadline = 2 ** 31 - 1;

function hasDeadline(deployment: Deployment): boolean {
  return (deployment.spec?.progressDeadlineSeconds ?? 600) < noDeadline;
}

interface Progress {
  readonly deployment: Deployment;
  readonly next: ReplicaSet | undefined;
  readonly before: DeploymentStatus;
  readonly status: DeploymentStatus;
  readonly now: number;
}

function withProgress(list: DeploymentCondition[], { deployment, next, before, status, now }: Progress): DeploymentCondition[] {
  if (!hasDeadline(deployment)) return list.filter(({ type }) => type !== 'Progressing');
  const current = findCondition(list, 'Progressing');
  const alreadyDone = (status.replicas ?? 0) === (status.updatedReplicas ?? 0) && current?.reason === 'NewReplicaSetAvailable';
  if (alreadyDone) return list;
  const subject = next === undefined ? `Deployment "${deployment.metadata.name}"` : `ReplicaSet "${next.metadata.name}"`;
  if (isComplete(deployment, status)) {
    const message = `${subject} has successfully progressed.`;
    return withCondition(list, { type: 'Progressing', status: 'True', reason: 'NewReplicaSetAvailable', message }, now);
  }
  if (isProgressing(before, status)) {
    const kept = list.filter(({ type }) => type !== 'Progressing');
    const time = formatTime(now);
    const since = current?.status === 'True' ? (current.lastTransitionTime ?? time) : time;
    const message = `${subject} is progressing.`;
    // Its lastUpdateTime moves with each step: the deadline counts from there.
    return [
      ...kept,
      { type: 'Progressing', status: 'True', reason: 'ReplicaSetUpdated', message, lastUpdateTime: time, lastTransitionTime: since },
    ];
  }
  if (deadlineWait(deployment, current, now) === 0) {
    const message = `${subject} has timed out progressing.`;
    return withCondition(list, { type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded', message }, now);
  }
  return list;
}

/**
 * Milliseconds until a rollout that makes no progress is called failed; undefined when none is under way or it has no
 * deadline.
 */
export function deadlineWait(deployment: Deployment, progressing: DeploymentCondition | undefined, now: number): number | undefined {
  if (!hasDeadline(deployment) || deployment.spec?.paused === true || progressing === undefined) return undefined;
  if (['NewReplicaSetAvailable', 'ProgressDeadlineExceeded'].includes(progressing.reason ?? '')) return undefined;
  const due = timeOf(progressing.lastUpdateTime) + (deployment.spec?.progressDeadlineSeconds ?? 600) * 1000;
  return Math.max(0, due - now);
}
