import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { DaemonSet, Pod } from '../../api/kubernetes.ts';
import { daemonPodSpec, daemonSetStatus, nodeOfDaemonPod, planDaemonSet, type DaemonInput } from './daemonset-plan.ts';
import { meta, node, pod, template, type PodSketch } from './testing.ts';

const now = Date.parse('2026-11-23T12:00:00Z');

function daemonSet(spec: Partial<NonNullable<DaemonSet['spec']>> = {}): DaemonSet {
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: meta('agent'),
    spec: { selector: { matchLabels: { app: 'web' } }, template: template('agent:2'), ...spec },
  };
}

const agent = (nodeName: string, hash: string, more: PodSketch = {}): Pod =>
  pod(`agent-${nodeName}-${hash}`, { node: nodeName, labels: { app: 'web', 'controller-revision-hash': hash }, ...more });

function plan(input: Partial<DaemonInput>): { create: readonly string[]; remove: string[] } {
  const { create, remove } = planDaemonSet({ daemonSet: daemonSet(), nodes: [], pods: [], hash: 'new', now, ...input });
  return { create, remove: remove.map(({ metadata }) => metadata.name).sort() };
}

const three = ['n1', 'n2', 'n3'].map((name) => node(name));

void test('each node gets one pod, and not a second one', () => {
  assert.deepEqual(plan({ nodes: three, pods: [agent('n2', 'new')] }), { create: ['n1', 'n3'], remove: [] });
  const twice = [
    agent('n1', 'new'),
    { ...agent('n1', 'new'), metadata: meta('agent-second', { labels: { app: 'web', 'controller-revision-hash': 'new' } }) },
  ];
  assert.deepEqual(plan({ nodes: [node('n1')], pods: twice }), { create: [], remove: ['agent-second'] });
});

void test('only nodes that are selected, and whose taints are tolerated, get one', () => {
  const nodes = [
    node('wanted', { labels: { tier: 'edge' } }),
    node('other'),
    node('tainted', { labels: { tier: 'edge' }, taints: [{ key: 'dedicated', effect: 'NoSchedule' }] }),
    node('cordoned', { labels: { tier: 'edge' }, taints: [{ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }] }),
  ];
  const selecting = daemonSet({ template: { ...template('agent:2'), spec: { containers: [], nodeSelector: { tier: 'edge' } } } });
  assert.deepEqual(plan({ daemonSet: selecting, nodes, pods: [agent('other', 'new')] }), {
    create: ['wanted', 'cordoned'],
    remove: ['agent-other-new'],
  });
});

void test('an update replaces as many pods at a time as may be unavailable', () => {
  const old = ['n1', 'n2', 'n3'].map((name) => agent(name, 'old'));
  assert.deepEqual(plan({ nodes: three, pods: old }), { create: [], remove: ['agent-n1-old'] });
  const [, second, third] = old as [Pod, Pod, Pod];
  assert.deepEqual(plan({ nodes: three, pods: [agent('n1', 'new', { ready: false }), second, third] }), { create: [], remove: [] });
  assert.deepEqual(plan({ nodes: three, pods: [agent('n1', 'new'), second, third] }), { create: [], remove: ['agent-n2-old'] });
  // One that does not serve is no loss.
  assert.deepEqual(plan({ nodes: three, pods: [agent('n1', 'new', { ready: false }), agent('n2', 'old', { ready: false }), third] }), {
    create: [],
    remove: ['agent-n2-old'],
  });
  assert.deepEqual(plan({ daemonSet: daemonSet({ updateStrategy: { type: 'OnDelete' } }), nodes: three, pods: old }), {
    create: [],
    remove: [],
  });
});

void test('with a surge the new pod comes first and the old one goes when the new one serves', () => {
  const surging = daemonSet({ updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } });
  const nodes = [node('n1'), node('n2')];
  const old = [agent('n1', 'old'), agent('n2', 'old')];
  assert.deepEqual(plan({ daemonSet: surging, nodes, pods: old }), { create: ['n1'], remove: [] });
  assert.deepEqual(plan({ daemonSet: surging, nodes, pods: [...old, agent('n1', 'new', { ready: false })] }), { create: [], remove: [] });
  assert.deepEqual(plan({ daemonSet: surging, nodes, pods: [...old, agent('n1', 'new')] }).remove, ['agent-n1-old']);
});

void test('a pod that failed is removed, and its successor comes when it is gone', () => {
  const failed = agent('n1', 'new', { phase: 'Failed', ready: false });
  assert.deepEqual(plan({ nodes: [node('n1')], pods: [failed] }), { create: [], remove: ['agent-n1-new'] });
  assert.deepEqual(plan({ nodes: [node('n1')], pods: [agent('n1', 'new', { terminating: true })] }), { create: [], remove: [] });
});

void test('its pods wait for their own node and tolerate its troubles', () => {
  const spec = daemonPodSpec({ containers: [], hostNetwork: true }, 'n1');
  assert.equal(nodeOfDaemonPod(pod('x', { spec })), 'n1');
  assert.ok(spec.tolerations?.some(({ key, operator }) => key === 'node.kubernetes.io/network-unavailable' && operator === 'Exists'));
});

void test('status counts nodes, not pods', () => {
  const pods = [agent('n1', 'new'), agent('n2', 'old', { ready: false }), agent('n2', 'new')];
  assert.deepEqual(daemonSetStatus({ daemonSet: daemonSet(), nodes: three, pods, hash: 'new', now }), {
    currentNumberScheduled: 2,
    numberMisscheduled: 0,
    desiredNumberScheduled: 3,
    numberReady: 2,
    observedGeneration: 1,
    updatedNumberScheduled: 2,
    numberAvailable: 2,
    numberUnavailable: 1,
  });
});
