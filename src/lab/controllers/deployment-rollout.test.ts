import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import type { Deployment, ReplicaSet } from '../../api/kubernetes.ts';
import {
  expiredReplicaSets,
  findNewReplicaSet,
  isScalingEvent,
  newReplicaSetSize,
  planRetirement,
  planRollingUpdate,
  planScaling,
  rolloutBounds,
  scaleAnnotations,
  specReplicas,
  type Scaling,
} from './deployment-rollout.ts';
import { newReplicaSet } from './deployment.ts';
import { deployment, replicaSet } from './testing.ts';

/** A ReplicaSet as a simulation of its controller: pods that exist, and how many of them are available. */
interface Simulated {
  name: string;
  image: string;
  spec: number;
  pods: number;
  available: number;
}

const asObject = ({ name, image, spec, pods, available }: Simulated, created: number): ReplicaSet => {
  const object = replicaSet(name, image, spec, available, { creationTimestamp: new Date(created * 1000).toISOString() });
  object.status = { replicas: pods, readyReplicas: available, availableReplicas: available };
  return object;
};

const share = fc.oneof(
  fc.integer({ min: 0, max: 5 }),
  fc.integer({ min: 0, max: 100 }).map((percent) => `${String(percent)}%`),
);

void test('a rolling update keeps its promises at every step and reaches its end', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 12 }), share, share, fc.infiniteStream(fc.nat(5)), (replicas, maxSurge, maxUnavailable, dice) => {
      const web = deployment({
        replicas,
        template: newTemplate,
        strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge, maxUnavailable } },
      });
      const bounds = rolloutBounds(web);
      const old: Simulated = { name: 'old', image: 'web:1', spec: replicas, pods: replicas, available: replicas };
      const next: Simulated = { name: 'new', image: 'web:2', spec: 0, pods: 0, available: 0 };
      const sets = [old, next];
      const done = (): boolean => old.spec === 0 && next.spec === replicas && next.available === replicas;
      for (let step = 0; !done(); step++) {
        assert.ok(step < 500, `stuck: ${JSON.stringify(sets)}`);
        const objects = sets.map(asObject);
        const [oldObject, newObject] = objects as [ReplicaSet, ReplicaSet];
        for (const {
          replicaSet: { metadata },
          replicas: size,
        } of planRollingUpdate(web, newObject, [oldObject])) {
          const target = metadata.name === 'old' ? old : next;
          // The ReplicaSet controller ends pods that are not available first, at once; new ones take their time.
          target.spec = size;
          if (target.pods > size) {
            target.pods = size;
            target.available = Math.min(target.available, size);
          }
        }
        const total = old.spec + next.spec;
        assert.ok(total <= replicas + bounds.surge, `${String(total)} pods of ${String(replicas)}+${String(bounds.surge)}`);
        const available = old.available + next.available;
        assert.ok(
          available >= replicas - bounds.unavailable,
          `${String(available)} available of ${String(replicas)}-${String(bounds.unavailable)}`,
        );
        // Time passes: some pods start, some become available.
        const [created, ready] = [dice.next().value, dice.next().value] as [number, number];
        next.pods = Math.min(next.spec, next.pods + created);
        next.available = Math.min(next.pods, next.available + ready);
      }
    }),
    { numRuns: 500 },
  );
});

const newTemplate = { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'main', image: 'web:2' }] } };

const bounds: readonly [
  replicas: number,
  surge: string | number,
  unavailable: string | number,
  expected: { surge: number; unavailable: number },
][] = [
  [10, '25%', '25%', { surge: 3, unavailable: 2 }],
  [1, '25%', '25%', { surge: 1, unavailable: 0 }],
  [2, 0, '25%', { surge: 0, unavailable: 1 }],
  [4, 0, 0, { surge: 0, unavailable: 1 }],
  [3, 1, 5, { surge: 1, unavailable: 3 }],
  [0, '25%', '25%', { surge: 0, unavailable: 0 }],
];
for (const [replicas, maxSurge, maxUnavailable, expected] of bounds) {
  void test(`bounds of ${String(replicas)} replicas, surge ${String(maxSurge)}, unavailable ${String(maxUnavailable)}`, () => {
    const web = deployment({ replicas, strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge, maxUnavailable } } });
    assert.deepEqual(rolloutBounds(web), expected);
  });
}

const sizes = (plan: readonly Scaling[]): Record<string, number> =>
  Object.fromEntries(plan.map(({ replicaSet: { metadata }, replicas }) => [metadata.name, replicas]));

void test('pods of an old version that never became available go first, beyond what may be unavailable', () => {
  const web = deployment({
    replicas: 4,
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    template: newTemplate,
  });
  const good = replicaSet('good', 'web:0', 4, 4);
  const broken = replicaSet('broken', 'web:1', 1, 0);
  const next = replicaSet('new', 'web:2', 0, 0);
  assert.deepEqual(sizes(planRollingUpdate(web, next, [good, broken])), { broken: 0 });
});

void test('the new ReplicaSet is the one with the same template, whatever the order of its keys and without the hash', () => {
  const web = deployment({ template: { spec: { containers: [{ image: 'web:2', name: 'main' }] }, metadata: { labels: { app: 'web' } } } });
  const next = newReplicaSet(web, [], 1);
  assert.equal(next.spec?.template?.metadata?.labels?.['pod-template-hash'], next.metadata.name.slice('web-'.length));
  assert.equal(
    findNewReplicaSet(deployment({ template: newTemplate }), [replicaSet('old', 'web:1', 1), next])?.metadata.name,
    next.metadata.name,
  );
  assert.match(next.metadata.name, /^web-[bcdf4-9]{1,10}$/);
});

void test('scaling up in the middle of a rollout shares the growth in proportion', () => {
  const annotate = (object: ReplicaSet, from: Deployment): ReplicaSet => ({
    ...object,
    metadata: { ...object.metadata, annotations: scaleAnnotations(from) },
  });
  const before = deployment({ replicas: 10, strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } } });
  const after = deployment({ ...before.spec, replicas: 15 });
  const old = annotate(replicaSet('old', 'web:0', 8, 8), before);
  const next = annotate(replicaSet('new', 'web:1', 5, 0), before);
  assert.equal(isScalingEvent(before, [old, next]), false);
  assert.equal(isScalingEvent(after, [old, next]), true);
  // The documentation's own example: 3 of the 5 go to the old one, 2 to the new one.
  assert.deepEqual(sizes(planScaling(after, next, [old])), { old: 11, new: 7 });
});

void test('shares of any scaling add up to what is allowed and none is negative', () => {
  const size = fc.integer({ min: 1, max: 30 });
  fc.assert(
    fc.property(size, size, fc.integer({ min: 0, max: 60 }), share, (oldSize, newSize, wanted, maxSurge) => {
      const strategy = { type: 'RollingUpdate' as const, rollingUpdate: { maxSurge, maxUnavailable: 1 } };
      const before = deployment({ replicas: oldSize + newSize, strategy });
      const after = deployment({ replicas: wanted, strategy });
      const [old, next] = [replicaSet('old', 'web:0', oldSize, oldSize), replicaSet('new', 'web:1', newSize, 0)];
      for (const object of [old, next]) object.metadata.annotations = scaleAnnotations(before);
      const plan = sizes(planScaling(after, next, [old]));
      const result = [plan['old'] ?? oldSize, plan['new'] ?? newSize];
      assert.ok(result.every((replicas) => replicas >= 0));
      assert.equal((result[0] ?? 0) + (result[1] ?? 0), wanted === 0 ? 0 : wanted + rolloutBounds(after).surge);
    }),
  );
});

void test('a Deployment with one active ReplicaSet scales it at once', () => {
  const web = deployment({ replicas: 5 });
  assert.deepEqual(sizes(planScaling(web, replicaSet('new', 'web:1', 2), [replicaSet('old', 'web:0', 0)])), { new: 5 });
  assert.deepEqual(sizes(planScaling(deployment({ replicas: 0 }), replicaSet('new', 'web:1', 2), [])), { new: 0 });
});

void test('Recreate takes everything old away and then gives the new one its whole size', () => {
  const web = deployment({ replicas: 3, strategy: { type: 'Recreate' }, template: newTemplate });
  assert.deepEqual(sizes(planRetirement([replicaSet('old', 'web:1', 3), replicaSet('older', 'web:0', 0)])), { old: 0 });
  assert.equal(newReplicaSetSize(web, [replicaSet('old', 'web:1', 0, 0)], 0), 3);
});

void test('history beyond the limit goes, oldest first, but nothing that still has pods', () => {
  const web = deployment({ revisionHistoryLimit: 1 });
  const empty = ['a', 'b', 'c'].map((name) => replicaSet(name, 'web:0', 0, 0));
  assert.deepEqual(
    expiredReplicaSets(web, empty).map(({ metadata }) => metadata.name),
    ['a', 'b'],
  );
  const busy = replicaSet('busy', 'web:0', 0, 0, { creationTimestamp: '2000-01-01T00:00:00Z' });
  busy.status = { replicas: 1 };
  assert.deepEqual(
    expiredReplicaSets(web, [busy, ...empty]).map(({ metadata }) => metadata.name),
    ['a', 'b'],
  );
  assert.equal(specReplicas(busy), 0);
});
