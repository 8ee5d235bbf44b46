import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Pod, StatefulSet } from '../../api/kubernetes.ts';
import { ordinalOf, planStatefulSet, statefulSetStatus, type StatefulInput } from './statefulset-plan.ts';
import { meta, pod, template, type PodSketch } from './testing.ts';

function statefulSet(spec: Partial<NonNullable<StatefulSet['spec']>> = {}): StatefulSet {
  const whole = { replicas: 3, selector: { matchLabels: { app: 'web' } }, template: template('db:1'), serviceName: 'db', ...spec };
  return { apiVersion: 'apps/v1', kind: 'StatefulSet', metadata: meta('db'), spec: whole };
}

const member = (ordinal: number, hash = 'new', more: PodSketch = {}): Pod =>
  pod(`db-${String(ordinal)}`, { labels: { app: 'web', 'controller-revision-hash': hash }, ...more });

const input = (more: Partial<StatefulInput>): StatefulInput => ({
  statefulSet: statefulSet(),
  pods: [],
  currentHash: 'old',
  updateHash: 'new',
  now: Date.now(),
  ...more,
});

const cases: readonly [name: string, input: Partial<StatefulInput>, create: string[], remove: string[]][] = [
  ['begins with the first', {}, ['0 new'], []],
  ['waits until it is ready', { pods: [member(0, 'new', { ready: false })] }, [], []],
  ['goes on with the next', { pods: [member(0)] }, ['1 new'], []],
  ['fills a gap before anything else', { pods: [member(0), member(2)] }, ['1 new'], []],
  ['replaces one that failed', { pods: [member(0, 'new', { phase: 'Failed', ready: false })] }, [], ['db-0']],
  ['shrinks from the end, one at a time', { pods: [0, 1, 2, 3, 4].map((i) => member(i)) }, [], ['db-4']],
  ['waits for the one that ends', { pods: [...[0, 1, 2, 3].map((i) => member(i)), member(4, 'new', { terminating: true })] }, [], []],
  ['updates from the end', { pods: [0, 1, 2].map((i) => member(i, 'old')) }, [], ['db-2']],
  ['goes on when the updated one is ready', { pods: [member(0, 'old'), member(1, 'old'), member(2)] }, [], ['db-1']],
  ['waits for the updated one', { pods: [member(0, 'old'), member(1, 'old'), member(2, 'new', { ready: false })] }, [], []],
  [
    'keeps those below the partition',
    {
      statefulSet: statefulSet({ updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 2 } } }),
      pods: [member(0, 'old'), member(1, 'old'), member(2)],
    },
    [],
    [],
  ],
  [
    'makes those below the partition from the old template',
    { statefulSet: statefulSet({ updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 2 } } }), pods: [member(0, 'old')] },
    ['1 old'],
    [],
  ],
  ['in parallel makes all at once', { statefulSet: statefulSet({ podManagementPolicy: 'Parallel' }) }, ['0 new', '1 new', '2 new'], []],
  [
    'in parallel removes all at once',
    { statefulSet: statefulSet({ podManagementPolicy: 'Parallel', replicas: 1 }), pods: [0, 1, 2].map((i) => member(i)) },
    [],
    ['db-2', 'db-1'],
  ],
  ['numbers from its start', { statefulSet: statefulSet({ ordinals: { start: 5 } }), pods: [member(5)] }, ['6 new'], []],
];
for (const [name, given, create, remove] of cases) {
  void test(`a StatefulSet ${name}`, () => {
    const plan = planStatefulSet(input(given));
    assert.deepEqual(
      plan.create.map(({ ordinal, hash }) => `${String(ordinal)} ${hash}`),
      create,
    );
    assert.deepEqual(
      plan.remove.map(({ metadata }) => metadata.name),
      remove,
    );
  });
}

void test('names that are not its own have no number', () => {
  assert.deepEqual(
    ['db-0', 'db-12', 'db-01', 'db-x', 'other-1'].map((name) => ordinalOf(statefulSet(), pod(name))),
    [0, 12, -1, -1, -1],
  );
});

void test('the new revision becomes the current one when all are updated and ready', () => {
  const revisions = { current: 'db-old', update: 'db-new' };
  const midway = statefulSetStatus(input({ pods: [member(0, 'old'), member(1, 'old'), member(2)] }), revisions);
  assert.deepEqual([midway.currentRevision, midway.updatedReplicas, midway.currentReplicas], ['db-old', 1, 2]);
  const done = statefulSetStatus(input({ pods: [0, 1, 2].map((i) => member(i)) }), revisions);
  assert.deepEqual([done.currentRevision, done.updatedReplicas, done.currentReplicas], ['db-new', 3, 3]);
});
