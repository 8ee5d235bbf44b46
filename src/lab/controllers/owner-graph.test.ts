import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import type { ObjectMeta, OwnerReference } from '../../api/kubernetes.ts';
import { apiVersionOf, resources } from '../../api/resources.ts';
import { judge, OwnerGraph, type GraphWork, type OwnerState, type Verdict } from './owner-graph.ts';

const owner = (uid: string, more: Partial<OwnerReference> = {}): OwnerReference => ({
  apiVersion: 'v1',
  kind: 'Pod',
  name: uid,
  uid,
  ...more,
});
const names = (nodes: GraphWork['examine']): string[] => nodes.map(({ uid }) => uid).sort();

function put(graph: OwnerGraph, uid: string, more: Partial<ObjectMeta> = {}): GraphWork {
  const type = resources.pods;
  return graph.upsert(type, apiVersionOf(type), type.kind, { name: uid, namespace: 'demo', uid, ...more });
}

void test('the dependents of an object that is gone are looked at', () => {
  const graph = new OwnerGraph();
  put(graph, 'a');
  put(graph, 'b', { ownerReferences: [owner('a')] });
  put(graph, 'c', { ownerReferences: [owner('b')] });
  assert.deepEqual(names(graph.remove('a').examine), ['b']);
});

void test('an owner that was never seen is looked for, and may turn up later', () => {
  const graph = new OwnerGraph();
  assert.deepEqual(names(put(graph, 'b', { ownerReferences: [owner('a')] }).examine), ['a']);
  put(graph, 'a');
  assert.deepEqual(names(graph.remove('a').examine), ['b']);
});

void test('an owner deleted in the foreground waits for its dependents, and is looked at whenever one goes', () => {
  const graph = new OwnerGraph();
  put(graph, 'a');
  put(graph, 'b', { ownerReferences: [owner('a', { blockOwnerDeletion: true })] });
  const deleted = put(graph, 'a', { deletionTimestamp: '2026-11-23T12:00:00Z', finalizers: ['foregroundDeletion'] });
  assert.deepEqual(names(deleted.examine), ['a', 'b']);
  assert.deepEqual(names(graph.remove('b').examine), ['a']);
});

void test('a dependent that stops blocking wakes the waiting owner', () => {
  const graph = new OwnerGraph();
  put(graph, 'b', { ownerReferences: [owner('a', { blockOwnerDeletion: true })] });
  put(graph, 'a', { deletionTimestamp: '2026-11-23T12:00:00Z', finalizers: ['foregroundDeletion'] });
  assert.ok(names(put(graph, 'b', { ownerReferences: [owner('a')] }).examine).includes('a'));
  assert.ok(names(put(graph, 'b').examine).includes('a'));
});

void test('an object deleted with orphaning is given to that', () => {
  const graph = new OwnerGraph();
  put(graph, 'a');
  assert.deepEqual(names(put(graph, 'a', { deletionTimestamp: '2026-11-23T12:00:00Z', finalizers: ['orphan'] }).orphan), ['a']);
});

void test('owners known by reference alone are forgotten with the last reference', () => {
  const graph = new OwnerGraph();
  put(graph, 'b', { ownerReferences: [owner('a')] });
  assert.equal(graph.size, 2);
  put(graph, 'b');
  assert.equal(graph.size, 1);
  put(graph, 'b', { ownerReferences: [owner('a')] });
  graph.remove('b');
  assert.equal(graph.get('b'), undefined);
});

void test('whatever happens, dependents and owners agree', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const step = fc.oneof(
    fc.record({ kind: fc.constant('put' as const), name, owners: fc.uniqueArray(name, { maxLength: 3 }) }),
    fc.record({ kind: fc.constant('remove' as const), name }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const graph = new OwnerGraph();
      const incarnations = new Map<string, number>();
      // A name that is used again is another object: uids are never reused.
      const uidOf = (one: string): string => `${one}${String(incarnations.get(one) ?? 0)}`;
      const truth = new Map<string, readonly string[]>();
      for (const action of steps) {
        const subject = uidOf(action.name);
        if (action.kind === 'put') {
          const owners = action.owners.map(uidOf);
          put(graph, subject, { ownerReferences: owners.map((one) => owner(one)) });
          truth.set(subject, owners);
        } else {
          graph.remove(subject);
          truth.delete(subject);
          incarnations.set(action.name, (incarnations.get(action.name) ?? 0) + 1);
        }
      }
      const told = [...truth].flatMap(([subject, owners]) => owners.filter((one) => truth.has(one)).map((one) => `${one} owns ${subject}`));
      const kept = [...truth.keys()].flatMap((one) => [...(graph.get(one)?.dependents ?? [])].map(({ uid }) => `${one} owns ${uid}`));
      assert.deepEqual(kept.sort(), told.sort());
    }),
  );
});

const verdicts: readonly [
  what: string,
  states: OwnerState[],
  hasDependents: boolean,
  finalizers: string[],
  expected: Verdict['action'],
  policy?: string,
][] = [
  ['nobody owns', [], false, [], 'keep'],
  ['is owned', ['solid'], false, [], 'keep'],
  ['lost its owner', ['absent'], false, [], 'delete', 'Background'],
  ['lost its owner and was to be orphaned itself', ['absent'], false, ['orphan'], 'delete', 'Orphan'],
  ['lost its owner and is deleted in the foreground', ['absent'], false, ['foregroundDeletion'], 'delete', 'Foreground'],
  ['lost one of two owners', ['absent', 'solid'], true, [], 'release'],
  ['has an owner that waits, and dependents', ['waiting'], true, [], 'delete', 'Foreground'],
  ['has an owner that waits, and no dependents', ['waiting'], false, [], 'delete', 'Background'],
  ['has an owner that waits and one that stays', ['waiting', 'solid'], true, [], 'release'],
];
for (const [what, states, hasDependents, finalizers, action, policy] of verdicts) {
  void test(`the verdict on an object that ${what}`, () => {
    const ownerReferences = states.map((_, i) => owner(String(i)));
    const verdict = judge({
      metadata: { name: 'x', ownerReferences, finalizers },
      ownerStates: new Map(states.map((state, i) => [String(i), state])),
      hasDependents,
    });
    assert.equal(verdict.action, action);
    if (verdict.action === 'delete') assert.equal(verdict.policy, policy);
    if (verdict.action === 'release')
      assert.deepEqual(
        verdict.owners,
        ownerReferences.filter((_, i) => states[i] === 'solid'),
      );
  });
}
