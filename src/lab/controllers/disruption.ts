import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1';

import type { KubeObject, Pod } from '../../api/kubernetes.ts';
import { resources, type ResourceType } from '../../api/resources.ts';
import { keyedController, type Controller, type ControllerContext } from './controller.ts';
import { semanticallyEqual } from './equality.ts';
import { formatTime, keyOf, resolveIntOrString } from './objects.ts';
import { controllerOf } from './ownership.ts';
import { isPodActive, isPodReady } from './pod-state.ts';
import { matchesSelector } from './selectors.ts';

export interface PodDisruptionBudget extends KubeObject {
  spec?: NonNullable<IPodDisruptionBudget['spec']>;
  status?: NonNullable<IPodDisruptionBudget['status']>;
}

export const budgetsType: ResourceType<PodDisruptionBudget> = {
  group: 'policy',
  version: 'v1',
  plural: 'poddisruptionbudgets',
  kind: 'PodDisruptionBudget',
  namespaced: true,
};

/** Says in the status of each PodDisruptionBudget how many of its pods may be evicted now. */
export function disruptionController(context: ControllerContext): Controller {
  const { client, caches, clock } = context;
  const budgets = caches.for(budgetsType);
  const pods = caches.for(resources.pods);
  const replicaSets = caches.for(resources.replicaSets);
  const deployments = caches.for(resources.deployments);
  const statefulSets = caches.for(resources.statefulSets);

  const controller = keyedController(context, 'disruption', async (key) => {
    const budget = budgets.get(key);
    if (budget?.spec === undefined || budget.metadata.deletionTimestamp !== undefined) return;
    const { selector } = budget.spec;
    const own = pods
      .inNamespace(budget.metadata.namespace)
      .filter((pod) => isPodActive(pod) && matchesSelector(selector, pod.metadata.labels));
    const status = budgetStatus(budget, own, expectedScale(own), clock.now());
    if (semanticallyEqual(status, budget.status)) return;
    await budgets.caughtUp(await client.update(budgetsType, { ...budget, status }, { subresource: 'status' }));
  });

  /** How many pods the controllers of these pods want, all together. */
  function expectedScale(own: readonly Pod[]): number {
    const wanted = new Map<string, number>();
    for (const pod of own) {
      const owner = controllerOf(pod);
      if (owner === undefined) continue;
      const namespace = pod.metadata.namespace ?? '';
      const set = owner.kind === 'ReplicaSet' ? replicaSets.get(`${namespace}/${owner.name}`) : undefined;
      const above = set && controllerOf(set);
      const deployment = above?.kind === 'Deployment' ? deployments.get(`${namespace}/${above.name}`) : undefined;
      const stateful = owner.kind === 'StatefulSet' ? statefulSets.get(`${namespace}/${owner.name}`) : undefined;
      const top = deployment ?? set ?? stateful;
      if (top !== undefined) wanted.set(top.metadata.uid ?? '', top.spec?.replicas ?? 1);
    }
    return [...wanted.values()].reduce((sum, replicas) => sum + replicas, 0);
  }

  budgets.onChange(({ key }) => controller.queue.add(key));
  pods.onChange(({ object, old }) => {
    for (const budget of budgets.inNamespace((object ?? old).metadata.namespace)) {
      const { selector } = budget.spec ?? {};
      if ([object, old].some((pod) => pod !== undefined && matchesSelector(selector, pod.metadata.labels)))
        controller.queue.add(keyOf(budget));
    }
  });
  return controller;
}

/** The status of a budget whose active pods are `pods`, of `scale` that their controllers want. */
export function budgetStatus(
  { metadata, spec, status }: PodDisruptionBudget,
  pods: readonly Pod[],
  scale: number,
  now: number,
): NonNullable<PodDisruptionBudget['status']> {
  const currentHealthy = pods.filter(isPodReady).length;
  const { minAvailable, maxUnavailable } = spec ?? {};
  const plain = typeof minAvailable === 'number' || (minAvailable === undefined && maxUnavailable === undefined);
  const expectedPods = plain ? pods.length : scale;
  const desiredHealthy =
    maxUnavailable === undefined
      ? resolveIntOrString(minAvailable ?? 1, expectedPods, 'up')
      : Math.max(0, expectedPods - resolveIntOrString(maxUnavailable, expectedPods, 'up'));
  const disruptionsAllowed = expectedPods === 0 ? 0 : Math.max(0, currentHealthy - desiredHealthy);
  const allowed = disruptionsAllowed > 0;
  const old = status?.conditions?.find(({ type }) => type === 'DisruptionAllowed');
  const condition = {
    type: 'DisruptionAllowed',
    status: allowed ? ('True' as const) : ('False' as const),
    reason: allowed ? 'SufficientPods' : 'InsufficientPods',
    message: '',
    observedGeneration: metadata.generation ?? 0,
  };
  const lastTransitionTime = old?.status === condition.status ? old.lastTransitionTime : formatTime(now);
  return {
    observedGeneration: metadata.generation ?? 0,
    disruptionsAllowed,
    currentHealthy,
    desiredHealthy,
    expectedPods,
    conditions: [{ ...condition, lastTransitionTime }],
  };
}
