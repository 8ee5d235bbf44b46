import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Node } from '../../api/kubernetes.ts';
import { taintsFor } from './node-lifecycle.ts';
import type { PodSpec } from './objects.ts';
import { chooseNode } from './scheduler.ts';
import { node, pod } from './testing.ts';

const tainted = node('n1', { taints: [{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }] });
const affinity = (operator: 'In' | 'NotIn', values: string[]): NonNullable<PodSpec['affinity']> => ({
  nodeAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator, values }] }] },
  },
});

const cases: readonly [name: string, spec: Partial<PodSpec>, nodes: Node[], expected: string][] = [
  ['the one node', {}, [node('n1')], 'n1'],
  ['no node at all', {}, [], 'no nodes available to schedule pods'],
  ['a selector that fits', { nodeSelector: { 'kubernetes.io/os': 'linux' } }, [node('n1')], 'n1'],
  [
    'a selector that does not',
    { nodeSelector: { disk: 'ssd' } },
    [node('n1')],
    "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
  ],
  ['affinity by name', { affinity: affinity('In', ['n2']) }, [node('n1'), node('n2')], 'n2'],
  ['a taint', {}, [tainted], '0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.'],
  ['a tolerated taint', { tolerations: [{ operator: 'Exists' }] }, [tainted], 'n1'],
  [
    'a taint tolerated for another effect',
    { tolerations: [{ operator: 'Exists', effect: 'NoExecute' }] },
    [tainted],
    '0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.',
  ],
  ['a cordoned node', {}, [{ ...node('n1'), spec: { unschedulable: true } }], '0/1 nodes are available: 1 node(s) were unschedulable.'],
];
for (const [name, spec, nodes, expected] of cases) {
  void test(`scheduling with ${name}`, () => {
    const choice = chooseNode(pod('p', { spec }), nodes, new Map());
    assert.equal('node' in choice ? choice.node.metadata.name : choice.reason, expected);
  });
}

void test('the emptiest node is taken', () => {
  const choice = chooseNode(pod('p'), [node('n1'), node('n2')], new Map([['n1', 2]]));
  assert.equal('node' in choice && choice.node.metadata.name, 'n2');
});

void test("a node's readiness sets its taints and leaves others alone", () => {
  const own = { key: 'dedicated', effect: 'NoSchedule' as const };
  assert.deepEqual(taintsFor(node('n', { ready: 'False', taints: [own] })), [
    own,
    { key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' },
  ]);
  assert.deepEqual(taintsFor(node('n', { ready: 'Unknown' })), [{ key: 'node.kubernetes.io/unreachable', effect: 'NoSchedule' }]);
  assert.deepEqual(taintsFor(node('n', { taints: [own, { key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }] })), [own]);
});
