import assert from 'node:assert/strict';
import { test } from 'node:test';

import { budgetStatus, type PodDisruptionBudget } from './disruption.ts';
import { meta, pod } from './testing.ts';

type Spec = NonNullable<PodDisruptionBudget['spec']>;

const cases: readonly [spec: Spec, ready: number, notReady: number, scale: number, allowed: number, desired: number][] = [
  [{ minAvailable: 1 }, 1, 0, 1, 0, 1],
  [{ minAvailable: 1 }, 3, 0, 3, 2, 1],
  [{ minAvailable: 2 }, 2, 1, 3, 0, 2],
  [{ minAvailable: '50%' }, 3, 0, 3, 1, 2],
  [{ maxUnavailable: 1 }, 3, 0, 3, 1, 2],
  [{ maxUnavailable: 1 }, 2, 1, 3, 0, 2],
  [{ maxUnavailable: '50%' }, 4, 0, 4, 2, 2],
  [{ minAvailable: 0 }, 0, 0, 0, 0, 0],
  [{}, 2, 0, 2, 1, 1],
];
for (const [spec, ready, notReady, scale, allowed, desired] of cases) {
  void test(`${JSON.stringify(spec)} with ${ready} of ${ready + notReady} pods ready allows ${allowed}`, () => {
    const budget: PodDisruptionBudget = { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: meta('web'), spec };
    const pods = [
      ...Array.from({ length: ready }, (_, i) => pod(`r${i}`)),
      ...Array.from({ length: notReady }, (_, i) => pod(`n${i}`, { ready: false })),
    ];
    const status = budgetStatus(budget, pods, scale, 0);
    assert.deepEqual([status.disruptionsAllowed, status.desiredHealthy, status.currentHealthy], [allowed, desired, ready]);
    assert.equal(status.conditions?.[0]?.status, allowed > 0 ? 'True' : 'False');
  });
}
