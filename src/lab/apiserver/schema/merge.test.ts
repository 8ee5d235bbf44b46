import assert from 'node:assert/strict';
import { test } from 'node:test';

import { crdSchema, schemaFor, type MergeStrategy, type PathStep } from './index.ts';
import { installedCrds } from './testing/captured.ts';

const builtin = (group: string, kind: string, ...path: PathStep[]): MergeStrategy =>
  schemaFor({ group, version: 'v1', kind }).mergeStrategy(path);

test('knows how lists of built-in kinds merge', () => {
  assert.deepEqual(builtin('', 'Service', 'spec', 'ports'), {
    type: 'list',
    apply: 'associative',
    keys: [{ name: 'port' }, { name: 'protocol', default: 'TCP' }],
    patch: { strategy: 'merge', retainKeys: false, mergeKey: 'port' },
  });
  const podSpec = ['spec', 'template', 'spec'];
  assert.deepEqual(builtin('apps', 'Deployment', ...podSpec, 'containers', 0, 'ports'), {
    type: 'list',
    apply: 'associative',
    keys: [{ name: 'containerPort' }, { name: 'protocol', default: 'TCP' }],
    patch: { strategy: 'merge', retainKeys: false, mergeKey: 'containerPort' },
  });
  assert.deepEqual(builtin('apps', 'Deployment', ...podSpec, 'volumes').patch, { strategy: 'merge', retainKeys: true, mergeKey: 'name' });
  assert.deepEqual(builtin('apps', 'Deployment', ...podSpec, 'containers', 0, 'args').apply, 'atomic');
  assert.deepEqual(builtin('apps', 'Deployment', ...podSpec, 'tolerations').patch.strategy, 'replace');
  assert.equal(builtin('', 'ConfigMap', 'metadata', 'finalizers').apply, 'set');
  assert.deepEqual(builtin('', 'Pod', 'metadata', 'ownerReferences').keys, [{ name: 'uid' }]);
});

test('knows what has one owner', () => {
  assert.deepEqual(builtin('apps', 'Deployment', 'spec', 'selector').apply, 'atomic');
  assert.deepEqual(builtin('', 'Service', 'spec', 'selector').apply, 'atomic');
  assert.deepEqual(builtin('', 'ConfigMap', 'data'), {
    type: 'map',
    apply: 'granular',
    keys: [],
    patch: { strategy: 'merge', retainKeys: false },
  });
  assert.equal(builtin('', 'ConfigMap', 'data', 'key').type, 'scalar');
  assert.deepEqual(builtin('apps', 'Deployment', 'spec', 'strategy').patch.retainKeys, true);
  assert.equal(builtin('', 'Pod', 'spec', 'volumes', 0, 'secret', 'items').apply, 'atomic');
});

test('takes the strategies of custom resources from their schema', () => {
  const schemaOf = (name: string): ReturnType<typeof crdSchema> => {
    const crd = installedCrds.find((candidate) => candidate.metadata.name === name);
    assert.ok(crd !== undefined);
    return crdSchema(crd, 'v1');
  };
  const gateway = schemaOf('gateways.gateway.networking.k8s.io');
  assert.deepEqual(gateway.mergeStrategy(['spec', 'listeners']).keys, [{ name: 'name' }]);
  assert.equal(gateway.mergeStrategy(['spec', 'listeners']).apply, 'associative');
  assert.equal(gateway.mergeStrategy(['spec', 'addresses']).apply, 'atomic');
  assert.deepEqual(gateway.mergeStrategy(['status', 'conditions']).keys, [{ name: 'type' }]);
  assert.equal(gateway.mergeStrategy(['metadata', 'labels', 'a']).type, 'scalar');
  const serviceEntry = schemaOf('serviceentries.networking.istio.io');
  assert.deepEqual(serviceEntry.mergeStrategy(['spec', 'ports']).keys, [{ name: 'name' }]);
  assert.equal(serviceEntry.mergeStrategy(['spec', 'hosts']).apply, 'atomic');
  assert.equal(schemaOf('widgets.example.com').mergeStrategy(['spec', 'free', 'any']).type, 'untyped');
});
