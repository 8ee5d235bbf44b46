import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import type { EndpointSlice } from '../../api/kubernetes.ts';
import { maxEndpointsPerSlice, planSlices, type SlicePlan } from './endpointslice-plan.ts';
import { endpointGroups, hasSelectedEndpoints } from './service-endpoints.ts';
import { node, pod, service, type PodSketch } from './testing.ts';

const noNode = (): undefined => undefined;

/** What is stored after a plan is carried out. */
function carryOut(plan: SlicePlan, existing: readonly EndpointSlice[]): EndpointSlice[] {
  const removed = new Set(plan.remove.map(({ metadata }) => metadata.name));
  const updated = new Map(plan.update.map((slice) => [slice.metadata.name, slice]));
  const kept = existing.filter(({ metadata }) => !removed.has(metadata.name)).map((slice) => updated.get(slice.metadata.name) ?? slice);
  return [
    ...kept,
    ...plan.create.map((slice, i) => ({ ...slice, metadata: { ...slice.metadata, name: `web-${String(existing.length)}-${String(i)}` } })),
  ];
}

const conditions: readonly [name: string, sketch: PodSketch, publishNotReady: boolean, expected: object | undefined][] = [
  ['a ready pod', { ip: '10.10.1.1' }, false, { ready: true, serving: true, terminating: false }],
  ['a pod that is not ready', { ip: '10.10.1.1', ready: false }, false, { ready: false, serving: false, terminating: false }],
  ['a ready pod that ends', { ip: '10.10.1.1', terminating: true }, false, { ready: false, serving: true, terminating: true }],
  ['a pod that is not ready but published', { ip: '10.10.1.1', ready: false }, true, { ready: true, serving: false, terminating: false }],
  ['a pod without an address', {}, false, undefined],
  ['a pod that failed', { ip: '10.10.1.1', phase: 'Failed' }, false, undefined],
];
for (const [name, sketch, publishNotReadyAddresses, expected] of conditions) {
  void test(`endpoint conditions of ${name}`, () => {
    const [group] = endpointGroups(service('web', { publishNotReadyAddresses }), [pod('a', sketch)], noNode);
    assert.deepEqual(group?.endpoints[0]?.conditions, expected);
  });
}

void test('an endpoint names its pod, node, zone and, under its own headless service, its host', () => {
  const zoned = node('n1', { labels: { 'topology.kubernetes.io/zone': 'z1' } });
  const member = pod('db-0', { ip: '10.10.1.1', node: 'n1', spec: { hostname: 'db-0', subdomain: 'web' } });
  const [group] = endpointGroups(service('web', { clusterIP: 'None' }), [member], () => zoned);
  const [endpoint] = group?.endpoints ?? [];
  assert.deepEqual(
    [endpoint?.addresses, endpoint?.nodeName, endpoint?.zone, endpoint?.hostname, endpoint?.targetRef?.uid],
    [['10.10.1.1'], 'n1', 'z1', 'db-0', member.metadata.uid],
  );
  assert.equal(endpointGroups(service('other'), [member], noNode)[0]?.endpoints[0]?.hostname, undefined);
});

void test('a named target port is looked up in each pod; pods that differ are in different groups', () => {
  const named = service('web', { ports: [{ name: 'http', port: 80, targetPort: 'http' }] });
  const other = pod('b', { ip: '10.10.1.2', spec: { containers: [{ name: 'main', ports: [{ name: 'http', containerPort: 9090 }] }] } });
  const none = pod('c', { ip: '10.10.1.3', spec: { containers: [{ name: 'main' }] } });
  const groups = endpointGroups(named, [pod('a', { ip: '10.10.1.1' }), other, none], noNode);
  assert.deepEqual(
    groups.map(({ ports, endpoints }) => [ports.map(({ port }) => port), endpoints[0]?.addresses[0]]),
    [
      [[8080], '10.10.1.1'],
      [[9090], '10.10.1.2'],
      [[], '10.10.1.3'],
    ],
  );
});

void test('services without a selector are left to those who made them', () => {
  const unselected = service('web');
  delete unselected.spec?.selector;
  assert.equal(hasSelectedEndpoints(unselected), false);
  assert.equal(hasSelectedEndpoints(service('web', { type: 'ExternalName', externalName: 'example.com' })), false);
  assert.equal(hasSelectedEndpoints(service('web')), true);
});

void test('slices hold exactly the wanted endpoints, through any history, and nothing is written without need', () => {
  const pods = Array.from({ length: 250 }, (_, i) => pod(`p${String(i)}`, { ip: `10.10.${String(i >> 8)}.${String(i & 255)}` }));
  const web = service('web');
  const subsets = fc.array(fc.uniqueArray(fc.nat(249), { maxLength: 250 }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(subsets, (history) => {
      let slices: EndpointSlice[] = [];
      for (const chosen of history) {
        const groups = endpointGroups(
          web,
          chosen.map((i) => pods[i]).filter((one) => one !== undefined),
          noNode,
        );
        slices = carryOut(planSlices(web, groups, slices), slices);
        const addresses = slices.flatMap(({ endpoints }) => endpoints ?? []).flatMap((endpoint) => endpoint.addresses);
        assert.deepEqual(addresses.sort(), chosen.map((i) => pods[i]?.status?.podIP ?? '').sort());
        assert.ok(slices.length >= 1 && slices.every(({ endpoints }) => (endpoints ?? []).length <= maxEndpointsPerSlice));
        const again = planSlices(web, groups, slices);
        assert.deepEqual([again.create, again.update, again.remove], [[], [], []]);
      }
    }),
    { numRuns: 60 },
  );
});

void test('one more pod changes one slice', () => {
  const web = service('web');
  const pods = Array.from({ length: 150 }, (_, i) => pod(`p${String(i)}`, { ip: `10.10.1.${String(i)}` }));
  const slices = carryOut(planSlices(web, endpointGroups(web, pods, noNode), []), []);
  assert.equal(slices.length, 2);
  const plan = planSlices(web, endpointGroups(web, [...pods, pod('new', { ip: '10.10.2.1' })], noNode), slices);
  assert.deepEqual([plan.create.length, plan.update.length, plan.remove.length], [0, 1, 0]);
});

void test('the slice of a service whose last pod went stays, under its name', () => {
  const web = service('web');
  const [slice] = carryOut(planSlices(web, endpointGroups(web, [pod('a', { ip: '10.10.1.1' })], noNode), []), []);
  assert.ok(slice);
  const plan = planSlices(web, [], [slice]);
  assert.deepEqual([plan.create, plan.remove], [[], []]);
  assert.equal(plan.update[0]?.metadata.name, slice.metadata.name);
  assert.deepEqual(plan.update[0].endpoints, []);
});
