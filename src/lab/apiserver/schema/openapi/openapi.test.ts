import assert from 'node:assert/strict';
import { test } from 'node:test';

import { builtinResources, crdToResourceInfo, groupVersionOf, openApiV2, openApiV3, openApiV3Index } from '../index.ts';
import { isObject, objectAt, type Json } from '../json.ts';
import { installedCrds } from '../testing/captured.ts';

const resources = [...builtinResources, ...installedCrds.flatMap(crdToResourceInfo)];
const groupVersions = [...new Set(resources.map(groupVersionOf))];

const document = (groupVersion: string): Json => {
  const found = openApiV3(groupVersion, resources, installedCrds);
  assert.ok(found !== undefined);
  return found;
};
const schemas = (groupVersion: string): Json => objectAt(objectAt(document(groupVersion), 'components'), 'schemas') ?? {};
const property = (schema: unknown, name: string): Json => objectAt(objectAt(isObject(schema) ? schema : {}, 'properties'), name) ?? {};

test('indexes every group version, and changes the hash of one whose definition changes', () => {
  const paths = objectAt(openApiV3Index(resources, installedCrds), 'paths') ?? {};
  assert.deepEqual(Object.keys(paths), groupVersions.map((name) => (name === 'v1' ? 'api/v1' : `apis/${name}`)).sort());
  const url = (crds: typeof installedCrds, path: string): unknown =>
    objectAt(objectAt(openApiV3Index(resources, crds), 'paths'), path)?.['serverRelativeURL'];
  assert.match(String(url(installedCrds, 'api/v1')), /^\/openapi\/v3\/api\/v1\?hash=[0-9A-F]{128}$/);
  const changed = installedCrds.map((crd) =>
    crd.metadata.name === 'widgets.example.com' ? { ...crd, spec: { ...(crd['spec'] as Json), preserve: 1 } } : crd,
  );
  assert.notEqual(url(changed, 'apis/example.com/v1'), url(installedCrds, 'apis/example.com/v1'));
  assert.equal(url(changed, 'api/v1'), url(installedCrds, 'api/v1'));
});

for (const groupVersion of groupVersions) {
  test(`refers to nothing that the document of ${groupVersion} lacks`, () => {
    const text = JSON.stringify(document(groupVersion));
    const defined = schemas(groupVersion);
    for (const [, name = ''] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) assert.ok(name in defined, name);
  });
}

test('tells kubectl how lists merge and which model a kind has', () => {
  const core = schemas('v1');
  const ports = property(core['io.k8s.api.core.v1.ServiceSpec'], 'ports');
  assert.equal(ports['x-kubernetes-patch-merge-key'], 'port');
  assert.equal(ports['x-kubernetes-patch-strategy'], 'merge');
  assert.deepEqual(ports['x-kubernetes-list-map-keys'], ['port', 'protocol']);
  assert.equal(property(core['io.k8s.api.core.v1.PodSpec'], 'volumes')['x-kubernetes-patch-strategy'], 'merge,retainKeys');
  assert.deepEqual(objectAt(core, 'io.k8s.api.core.v1.Pod')?.['x-kubernetes-group-version-kind'], [
    { group: '', version: 'v1', kind: 'Pod' },
  ]);
  assert.match(
    String(property(core['io.k8s.api.core.v1.PodSpec'], 'nodeName')['description']),
    /^NodeName indicates in which node this pod is scheduled/,
  );
});

test('offers the parameters that kubectl looks for before it sends them', () => {
  const path = objectAt(
    objectAt(document('networking.istio.io/v1'), 'paths'),
    '/apis/networking.istio.io/v1/namespaces/{namespace}/serviceentries/{name}',
  );
  const patch = objectAt(path, 'patch');
  const names = (patch?.['parameters'] as Json[]).map((parameter) => parameter['name']);
  for (const name of ['dryRun', 'fieldManager', 'fieldValidation', 'force']) assert.ok(names.includes(name), name);
  assert.deepEqual(patch?.['x-kubernetes-group-version-kind'], { group: 'networking.istio.io', kind: 'ServiceEntry', version: 'v1' });
  const spec = property(schemas('networking.istio.io/v1')['io.istio.networking.v1.ServiceEntry'], 'spec');
  assert.deepEqual(spec['required'], ['hosts']);
});

test('has the models for clients of the older version too', () => {
  const definitions = objectAt(openApiV2(resources, installedCrds), 'definitions') ?? {};
  assert.ok('io.k8s.api.apps.v1.Deployment' in definitions && 'io.k8s.networking.gateway.v1.Gateway' in definitions);
  assert.equal(JSON.stringify(definitions).includes('#/components/'), false);
});
