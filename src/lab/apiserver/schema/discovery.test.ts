import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  aggregatedDiscovery,
  apiGroup,
  apiGroupList,
  apiResourceList,
  builtinResources,
  compareVersions,
  crdToResourceInfo,
} from './index.ts';
import { objectsAt, type Json } from './json.ts';
import { captured, capturedById, installedCrds } from './testing/captured.ts';

const all = [...builtinResources, ...installedCrds.flatMap(crdToResourceInfo)];

/** What a real server lists under a name, without subresources that the lab does not have. */
function served(theirs: Json | undefined, ours: Json): Json | undefined {
  if (theirs?.['subresources'] === undefined) return theirs;
  const names = objectsAt(ours, 'subresources').map((sub) => sub['subresource']);
  const kept = objectsAt(theirs, 'subresources').filter((sub) => names.includes(sub['subresource']));
  const rest = Object.entries(theirs).filter(([key]) => key !== 'subresources');
  return { ...Object.fromEntries(rest), ...(kept.length === 0 ? {} : { subresources: kept }) };
}

const lists = captured.filter(({ answer }) => answer['kind'] === 'APIResourceList');

for (const { answer } of lists) {
  const groupVersion = String(answer['groupVersion']);
  test(`lists the resources of ${groupVersion} as a real server does`, (t) => {
    const ours = apiResourceList(groupVersion, all);
    if (ours === undefined) {
      assert.equal(groupVersion, 'batch/v1', 'only what has no controller here is left out');
      t.skip('not served');
      return;
    }
    const { resources, ...head } = ours;
    const { resources: theirs, ...theirHead } = answer;
    assert.deepEqual(head, theirHead);
    const real = new Map((theirs as Json[]).map((resource) => [resource['name'], resource]));
    for (const resource of resources as Json[]) assert.deepEqual(resource, real.get(resource['name']));
  });
}

for (const [id, root] of [
  ['disc-agg-core', '/api'],
  ['disc-agg', '/apis'],
] as const) {
  test(`tells of ${root} in one document as a real server does`, () => {
    const real = capturedById(id).answer;
    // The lab's own kind is not among the recorded ones at that point.
    const ours = aggregatedDiscovery(
      root,
      all.filter((resource) => resource.group !== 'example.com'),
    );
    for (const group of objectsAt(ours, 'items')) {
      const theirGroup = objectsAt(real, 'items').find((item) => JSON.stringify(item['metadata']) === JSON.stringify(group['metadata']));
      const theirVersions = objectsAt(theirGroup, 'versions');
      const versions = objectsAt(group, 'versions');
      // Kinds that are served by the recorded server only may have versions of their own.
      const order = theirVersions
        .map((version) => version['version'])
        .filter((name) => versions.some((version) => version['version'] === name));
      assert.deepEqual(
        versions.map((version) => version['version']),
        order,
      );
      for (const version of versions) {
        const theirs = objectsAt(
          theirVersions.find((candidate) => candidate['version'] === version['version']),
          'resources',
        );
        for (const resource of objectsAt(version, 'resources')) {
          assert.deepEqual(
            resource,
            served(
              theirs.find((candidate) => candidate['resource'] === resource['resource']),
              resource,
            ),
          );
        }
      }
    }
  });
}

test('names groups with their preferred version first', () => {
  assert.equal(apiGroup('nope.example.com', all), undefined);
  assert.deepEqual(apiGroup('networking.istio.io', all), {
    kind: 'APIGroup',
    apiVersion: 'v1',
    name: 'networking.istio.io',
    versions: ['v1', 'v1beta1', 'v1alpha3'].map((version) => ({ groupVersion: `networking.istio.io/${version}`, version })),
    preferredVersion: { groupVersion: 'networking.istio.io/v1', version: 'v1' },
  });
  assert.ok(
    objectsAt(apiGroupList(all), 'groups').every((group) => group['name'] !== ''),
    'the core group is not under /apis',
  );
});

test('orders versions as Kubernetes does', () => {
  const versions = ['foo1', 'v10beta3', 'v1', 'v3beta1', 'v12alpha1', 'v11alpha2', 'foo10', 'v10', 'v2', 'v11beta2'];
  assert.deepEqual(versions.sort(compareVersions), [
    'v10',
    'v2',
    'v1',
    'v11beta2',
    'v10beta3',
    'v3beta1',
    'v12alpha1',
    'v11alpha2',
    'foo1',
    'foo10',
  ]);
});
