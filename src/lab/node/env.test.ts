import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Pod } from '../../api/kubernetes.ts';
import { expand } from './env.ts';
import { podField, resourceField } from './pod-fields.ts';

test('$(NAME) is replaced as Kubernetes does', () => {
  const env = { A: '1', 'B.C': '2', EMPTY: '' };
  const cases: [string, string][] = [
    ['$(A)', '1'],
    ['x$(A)y$(B.C)z', 'x1y2z'],
    ['$(NOPE)', '$(NOPE)'],
    ['$$(A)', '$(A)'],
    ['$$$(A)', '$1'],
    ['$A $', '$A $'],
    ['[$(EMPTY)]', '[]'],
    ['$(A', '$(A'],
    ['$(toString)', '$(toString)'],
  ];
  for (const [text, expected] of cases) assert.equal(expand(text, env), expected, text);
});

test('fields of the downward API', () => {
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'n', uid: 'u', labels: { b: '2', 'a/x': 'say "hi"' }, annotations: { k: 'v' } },
    spec: { containers: [], nodeName: 'node', serviceAccountName: 'sa' },
  };
  const facts = { podIp: '10.10.0.2', hostIp: '172.18.0.2' };
  const cases: [string, string][] = [
    ['metadata.name', 'p'],
    ['metadata.namespace', 'n'],
    ['metadata.uid', 'u'],
    ["metadata.labels['a/x']", 'say "hi"'],
    ["metadata.annotations['k']", 'v'],
    ["metadata.annotations['none']", ''],
    ['metadata.labels', 'a/x="say \\"hi\\""\nb="2"'],
    ['spec.nodeName', 'node'],
    ['spec.serviceAccountName', 'sa'],
    ['status.podIP', '10.10.0.2'],
    ['status.hostIP', '172.18.0.2'],
  ];
  for (const [field, expected] of cases) assert.equal(podField(pod, field, facts), expected, field);
  assert.throws(() => podField(pod, 'spec.replicas', facts), /spec\.replicas/);
});

test('amounts of resources are in units of the divisor, rounded up', () => {
  const resources = { limits: { cpu: '1500m', memory: '64Mi' }, requests: { cpu: '100m' } };
  const node = { cpu: 4, memory: 2 ** 30 };
  const cases: [string, string | undefined, string][] = [
    ['limits.cpu', undefined, '2'],
    ['limits.cpu', '1m', '1500'],
    ['limits.memory', '1Mi', '64'],
    ['limits.memory', '0', '67108864'],
    ['requests.cpu', '1m', '100'],
    ['requests.memory', '1', '0'],
  ];
  for (const [field, divisor, expected] of cases)
    assert.equal(resourceField(resources, field, divisor, node), expected, `${field} / ${divisor ?? ''}`);
  assert.equal(resourceField(undefined, 'limits.cpu', '1', node), '4', "without a limit, the node's");
});
