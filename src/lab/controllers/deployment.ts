import type { Deployment, ReplicaSet } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { isAlreadyExists } from '../../kube/index.ts';
import {
  apiMessage,
  eventRecorder,
  isNamespaceTerminating,
  keyedController,
  type Controller,
  type ControllerContext,
  type RecordEvent,
} from './controller.ts';
import {
  expiredReplicaSets,
  findNewReplicaSet,
  isScalingEvent,
  newReplicaSetSize,
  planReplacement,
  planRetirement,
  planRollingUpdate,
  planScaling,
  revisionAnnotation,
  revisionOf,
  scaleAnnotations,
  specReplicas,
  type Scaling,
} from './deployment-rollout.ts';
import { deadlineWait, deploymentStatus, findCondition, isComplete, withCondition } from './deployment-status.ts';
import { semanticallyEqual } from './equality.ts';
import type { ObjectCache } from './object-cache.ts';
import { keyOf, type DeploymentCondition } from './objects.ts';
import { claim, controllerOf, controllerReference } from './ownership.ts';
import { isPodFinished } from './pod-state.ts';
import { matchesSelector } from './selectors.ts';
import { podTemplateHashLabel, templateHash } from './template-hash.ts';

/** Annotations of a Deployment that its ReplicaSets do not get. */
const ownAnnotations = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  revisionAnnotation,
  'deprecated.deployment.rollback.to',
]);

/** Makes ReplicaSets of Deployments, and moves pods from the old ones to the new one. */
export function deploymentController(context: ControllerContext): Controller {
  const deployments = context.caches.for(resources.deployments);
  const replicaSets = context.caches.for(resources.replicaSets);
  const pods = context.caches.for(resources.pods);
  const reconciler = new DeploymentReconciler(context);
  const controller = keyedController(context, 'deployment', async (key) => {
    const wait = await reconciler.reconcile(key);
    if (wait !== undefined) controller.queue.addAfter(key, wait);
  });

  deployments.onChange(({ key }) => controller.queue.add(key));
  replicaSets.onChange(({ object, old }) => {
    for (const replicaSet of [object, old]) {
      if (replicaSet === undefined) continue;
      const owner = controllerOf(replicaSet);
      if (owner?.kind === 'Deployment') controller.queue.add(`${replicaSet.metadata.namespace ?? ''}/${owner.name}`);
      // An orphan may be one to adopt.
      else if (owner === undefined && replicaSet === object) {
        for (const deployment of deployments.inNamespace(replicaSet.metadata.namespace)) {
          if (matchesSelector(deployment.spec?.selector, replicaSet.metadata.labels)) controller.queue.add(keyOf(deployment));
        }
      }
    }
  });
  // Strategy Recreate waits for the last old pod.
  pods.onChange(({ type, old }) => {
    if (type !== 'delete') return;
    const owner = controllerOf(old);
    const replicaSet = owner?.kind === 'ReplicaSet' ? replicaSets.get(`${old.metadata.namespace ?? ''}/${owner.name}`) : undefined;
    const deployment = replicaSet && controllerOf(replicaSet);
    if (deployment?.kind === 'Deployment') controller.queue.add(`${old.metadata.namespace ?? ''}/${deployment.name}`);
  });
  return controller;
}

class DeploymentReconciler {
  readonly #context: ControllerContext;
  readonly #deployments: ObjectCache<Deployment>;
  readonly #replicaSets: ObjectCache<ReplicaSet>;
  readonly #record: RecordEvent;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#deployments = context.caches.for(resources.deployments);
    this.#replicaSets = context.caches.for(resources.replicaSets);
    this.#record = eventRecorder(context, 'deployment-controller');
  }

  /** Returns after how many milliseconds to look again, if time alone can bring news. */
  async reconcile(key: string): Promise<number | undefined> {
    const deployment = this.#deployments.get(key);
    if (deployment?.spec === undefined) return undefined;
    const owned = await claim(
      this.#context.client,
      resources.replicaSets,
      deployment,
      deployment.spec.selector,
      this.#replicaSets.inNamespace(deployment.metadata.namespace),
    );
    const next = findNewReplicaSet(deployment, owned);
    const old = owned.filter((replicaSet) => replicaSet !== next);
    if (deployment.metadata.deletionTimestamp !== undefined) return await this.#writeStatus(deployment, next, old);

    const paused = deployment.spec.paused === true;
    if (paused || isScalingEvent(deployment, owned)) {
      await this.#scale(deployment, planScaling(deployment, next, old));
      await this.#markScaled(deployment, owned);
      return await this.#writeStatus(deployment, next, old, this.#pauseConditions(deployment, paused));
    }
    return await this.#rollOut(deployment, next, old);
  }

  async #rollOut(deployment: Deployment, found: ReplicaSet | undefined, old: readonly ReplicaSet[]): Promise<number | undefined> {
    let conditions: readonly DeploymentCondition[] = this.#pauseConditions(deployment, false);
    let next = found;
    const recreate = deployment.spec?.strategy?.type === 'Recreate';
    if (recreate) {
      const retired = await this.#scale(deployment, planRetirement(old));
      if (retired || this.#hasRunningPods(old)) return await this.#writeStatus(deployment, next, old, conditions);
    }
    ({ next, conditions } = await this.#ensureNewReplicaSet(deployment, next, old, conditions));
    if (next === undefined) return undefined;
    const plan = recreate ? planReplacement(deployment, next) : planRollingUpdate(deployment, next, old);
    await this.#scale(deployment, plan);
    const status = deploymentStatus({ deployment, next, old, conditions, now: this.#context.clock.now() });
    if (isComplete(deployment, status)) await this.#cleanUp(deployment, old);
    return await this.#writeStatus(deployment, next, old, conditions);
  }

  #hasRunningPods(old: readonly ReplicaSet[]): boolean {
    const pods = this.#context.caches.for(resources.pods);
    return old.some((replicaSet) => pods.controlledBy(replicaSet.metadata.uid).some((pod) => !isPodFinished(pod)));
  }

  /** The ReplicaSet of the present template, with the newest revision; made when there is none. */
  async #ensureNewReplicaSet(
    deployment: Deployment,
    found: ReplicaSet | undefined,
    old: readonly ReplicaSet[],
    conditions: readonly DeploymentCondition[],
  ): Promise<{ next: ReplicaSet | undefined; conditions: readonly DeploymentCondition[] }> {
    const now = this.#context.clock.now();
    const newest = Math.max(0, ...old.map(revisionOf)) + 1;
    if (found !== undefined) {
      const next = await this.#annotate(deployment, found, Math.max(newest, revisionOf(found)));
      await this.#setRevision(deployment, revisionOf(next));
      if (findCondition(conditions, 'Progressing') !== undefined) return { next, conditions };
      const message = `Found new replica set "${next.metadata.name}"`;
      return {
        next,
        conditions: withCondition(conditions, { type: 'Progressing', status: 'True', reason: 'FoundNewReplicaSet', message }, now),
      };
    }
    const created = await this.#create(deployment, old, newest);
    if (created === undefined) return { next: undefined, conditions };
    await this.#setRevision(deployment, newest);
    const message = `Created new replica set "${created.metadata.name}"`;
    return {
      next: created,
      conditions: withCondition(conditions, { type: 'Progressing', status: 'True', reason: 'NewReplicaSetCreated', message }, now),
    };
  }

  async #create(deployment: Deployment, old: readonly ReplicaSet[], revision: number): Promise<ReplicaSet | undefined> {
    const replicaSet = newReplicaSet(deployment, old, revision);
    const { name } = replicaSet.metadata;
    try {
      const created = await this.#context.client.create(resources.replicaSets, replicaSet);
      const size = specReplicas(created);
      if (size > 0) this.#record(deployment, 'Normal', 'ScalingReplicaSet', `Scaled up replica set ${name} from 0 to ${String(size)}`);
      await this.#replicaSets.caughtUp(created);
      return created;
    } catch (error) {
      if (!isAlreadyExists(error)) {
        if (!isNamespaceTerminating(error)) await this.#reportCreateFailure(deployment, old, name, error);
        throw error;
      }
      await this.#resolveCollision(deployment, replicaSet);
      return undefined;
    }
  }

  /** A name that exists: our own ReplicaSet not seen yet, or another template with the same hash. */
  async #resolveCollision(deployment: Deployment, replicaSet: ReplicaSet): Promise<void> {
    const existing = await this.#context.client.get(resources.replicaSets, replicaSet.metadata);
    if (controllerOf(existing)?.uid === deployment.metadata.uid && findNewReplicaSet(deployment, [existing]) !== undefined) {
      await this.#replicaSets.caughtUp(existing);
      return;
    }
    const status = { ...deployment.status, collisionCount: (deployment.status?.collisionCount ?? 0) + 1 };
    await this.#context.client.update(resources.deployments, { ...deployment, status }, { subresource: 'status' });
  }

  async #reportCreateFailure(deployment: Deployment, old: readonly ReplicaSet[], name: string, error: unknown): Promise<void> {
    const message = `Failed to create new replica set "${name}": ${apiMessage(error)}`;
    this.#record(deployment, 'Warning', 'ReplicaSetCreateError', message);
    const failed = { type: 'Progressing', status: 'False', reason: 'ReplicaSetCreateError', message: apiMessage(error) } as const;
    await this.#writeStatus(
      deployment,
      undefined,
      old,
      withCondition(deployment.status?.conditions ?? [], failed, this.#context.clock.now()),
    );
  }

  /** Brings a ReplicaSet's revision and the Deployment's annotations up to date. */
  async #annotate(deployment: Deployment, replicaSet: ReplicaSet, revision: number): Promise<ReplicaSet> {
    const annotations = { ...inheritedAnnotations(deployment), ...scaleAnnotations(deployment), [revisionAnnotation]: String(revision) };
    const minReadySeconds = deployment.spec?.minReadySeconds ?? 0;
    const has = replicaSet.metadata.annotations ?? {};
    const same = Object.entries(annotations).every(([name, value]) => has[name] === value);
    if (same && (replicaSet.spec?.minReadySeconds ?? 0) === minReadySeconds) return replicaSet;
    const body = { metadata: { resourceVersion: replicaSet.metadata.resourceVersion, annotations }, spec: { minReadySeconds } };
    const written = await this.#context.client.patch(resources.replicaSets, replicaSet.metadata, { type: 'merge', body });
    await this.#replicaSets.caughtUp(written);
    return written;
  }

  async #setRevision(deployment: Deployment, revision: number): Promise<void> {
    if (revisionOf(deployment) === revision) return;
    const body = { metadata: { annotations: { [revisionAnnotation]: String(revision) } } };
    await this.#context.client.patch(resources.deployments, deployment.metadata, { type: 'merge', body });
  }

  /** Carries out a plan; says whether there was anything in it. */
  async #scale(deployment: Deployment, plan: readonly Scaling[]): Promise<boolean> {
    for (const { replicaSet, replicas } of plan) {
      const before = specReplicas(replicaSet);
      const body = {
        metadata: { resourceVersion: replicaSet.metadata.resourceVersion, annotations: scaleAnnotations(deployment) },
        spec: { replicas },
      };
      const written = await this.#context.client.patch(resources.replicaSets, replicaSet.metadata, { type: 'merge', body });
      const direction = replicas > before ? 'up' : 'down';
      const message = `Scaled ${direction} replica set ${replicaSet.metadata.name} from ${String(before)} to ${String(replicas)}`;
      this.#record(deployment, 'Normal', 'ScalingReplicaSet', message);
      await this.#replicaSets.caughtUp(written);
    }
    return plan.length > 0;
  }

  /** Ends a scaling event: those whose size stays are told the new wanted number too. */
  async #markScaled(deployment: Deployment, owned: readonly ReplicaSet[]): Promise<void> {
    const annotations = scaleAnnotations(deployment);
    for (const replicaSet of owned) {
      const current = this.#replicaSets.get(keyOf(replicaSet));
      if (current === undefined || specReplicas(current) === 0 || !isScalingEvent(deployment, [current])) continue;
      const body = { metadata: { resourceVersion: current.metadata.resourceVersion, annotations } };
      await this.#replicaSets.caughtUp(await this.#context.client.patch(resources.replicaSets, current.metadata, { type: 'merge', body }));
    }
  }

  async #cleanUp(deployment: Deployment, old: readonly ReplicaSet[]): Promise<void> {
    for (const replicaSet of expiredReplicaSets(deployment, old)) {
      const { uid } = replicaSet.metadata;
      await this.#context.client.delete(resources.replicaSets, replicaSet.metadata, {
        propagationPolicy: 'Background',
        ...(uid !== undefined && { uid }),
      });
    }
  }

  /** The conditions with the one that tells of pausing and resuming. */
  #pauseConditions(deployment: Deployment, paused: boolean): DeploymentCondition[] {
    const conditions = deployment.status?.conditions ?? [];
    const current = findCondition(conditions, 'Progressing');
    if (current?.reason === 'ProgressDeadlineExceeded') return [...conditions];
    const wasPaused = current?.reason === 'DeploymentPaused';
    if (paused === wasPaused) return [...conditions];
    const next = paused
      ? ({ type: 'Progressing', status: 'Unknown', reason: 'DeploymentPaused', message: 'Deployment is paused' } as const)
      : ({ type: 'Progressing', status: 'Unknown', reason: 'DeploymentResumed', message: 'Deployment is resumed' } as const);
    return withCondition(conditions, next, this.#context.clock.now());
  }

  async #writeStatus(
    deployment: Deployment,
    next: ReplicaSet | undefined,
    old: readonly ReplicaSet[],
    conditions?: readonly DeploymentCondition[],
  ): Promise<number | undefined> {
    const now = this.#context.clock.now();
    const status = deploymentStatus({ deployment, next, old, now, ...(conditions && { conditions }) });
    if (!semanticallyEqual(status, deployment.status)) {
      // The version is left out: annotating the Deployment above has changed it, and the status is this controller's alone.
      const body = { metadata: { uid: deployment.metadata.uid }, status: { ...absentCounts, ...status } };
      const written = await this.#context.client.patch(
        resources.deployments,
        deployment.metadata,
        { type: 'merge', body },
        { subresource: 'status' },
      );
      await this.#deployments.caughtUp(written);
    }
    return deadlineWait(deployment, findCondition(status.conditions, 'Progressing'), now);
  }
}

/** A merge patch that takes away each count that is not stated. */
const absentCounts = {
  replicas: null,
  updatedReplicas: null,
  readyReplicas: null,
  availableReplicas: null,
  unavailableReplicas: null,
  terminatingReplicas: null,
};

function inheritedAnnotations(deployment: Deployment): Record<string, string> {
  return Object.fromEntries(Object.entries(deployment.metadata.annotations ?? {}).filter(([name]) => !ownAnnotations.has(name)));
}

/** The ReplicaSet that a Deployment makes for its present template. */
export function newReplicaSet(deployment: Deployment, old: readonly ReplicaSet[], revision: number): ReplicaSet {
  const template = deployment.spec?.template ?? {};
  const hash = templateHash(template, deployment.status?.collisionCount ?? 0);
  const labels = { ...template.metadata?.labels, [podTemplateHashLabel]: hash };
  const selector = deployment.spec?.selector ?? {};
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      ...(deployment.metadata.namespace !== undefined && { namespace: deployment.metadata.namespace }),
      labels,
      annotations: { ...inheritedAnnotations(deployment), ...scaleAnnotations(deployment), [revisionAnnotation]: String(revision) },
      ownerReferences: [controllerReference(deployment)],
    },
    spec: {
      replicas: newReplicaSetSize(deployment, old, 0),
      ...(deployment.spec?.minReadySeconds !== undefined && { minReadySeconds: deployment.spec.minReadySeconds }),
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [podTemplateHashLabel]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  };
}
