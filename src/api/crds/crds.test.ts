import assert from 'node:assert/strict';
import { test } from 'node:test';

import { gatewayApiCrds, istioCrds, type Schema } from './index.ts';

const all = [...istioCrds(), ...gatewayApiCrds()];
const named = (name: string): (typeof all)[number] => {
  const found = all.find((crd) => crd.metadata.name === name);
  assert.ok(found !== undefined, name);
  return found;
};
const summary = (name: string): unknown => {
  const { spec } = named(name);
  return {
    short: spec.names.shortNames,
    scope: spec.scope,
    versions: spec.versions.map((version) => `${version.name}${version.storage ? ' stored' : ''}`),
    columns: spec.versions[0]?.additionalPrinterColumns?.map((column) => column.name),
    status: spec.versions[0]?.subresources,
  };
};

test('has the kinds that a mesh reads', () => {
  assert.deepEqual(
    istioCrds()
      .map((crd) => crd.spec.names.plural)
      .sort(),
    [
      'authorizationpolicies',
      'destinationrules',
      'envoyfilters',
      'gateways',
      'peerauthentications',
      'proxyconfigs',
      'requestauthentications',
      'serviceentries',
      'sidecars',
      'telemetries',
      'trafficextensions',
      'virtualservices',
      'wasmplugins',
      'workloadentries',
      'workloadgroups',
    ],
  );
  assert.deepEqual(
    gatewayApiCrds()
      .map((crd) => crd.spec.names.plural)
      .sort(),
    ['backendtlspolicies', 'gatewayclasses', 'gateways', 'grpcroutes', 'httproutes', 'listenersets', 'referencegrants', 'tlsroutes'],
  );
});

test('names, versions and columns are upstream’s', () => {
  assert.deepEqual(summary('serviceentries.networking.istio.io'), {
    short: ['se'],
    scope: 'Namespaced',
    versions: ['v1 stored', 'v1alpha3', 'v1beta1'],
    columns: ['Hosts', 'Location', 'Resolution', 'Age'],
    status: { status: {} },
  });
  assert.deepEqual(summary('workloadentries.networking.istio.io'), {
    short: ['we'],
    scope: 'Namespaced',
    versions: ['v1 stored', 'v1alpha3', 'v1beta1'],
    columns: ['Age', 'Address'],
    status: { status: {} },
  });
  assert.deepEqual(summary('gateways.gateway.networking.k8s.io'), {
    short: ['gtw'],
    scope: 'Namespaced',
    versions: ['v1 stored', 'v1beta1'],
    columns: ['Class', 'Address', 'Programmed', 'Age'],
    status: { status: {} },
  });
  assert.equal(named('gatewayclasses.gateway.networking.k8s.io').spec.scope, 'Cluster');
  assert.deepEqual(named('peerauthentications.security.istio.io').metadata.labels, {
    app: 'istio-pilot',
    chart: 'istio',
    heritage: 'Tiller',
    istio: 'security',
    release: 'istio',
  });
});

/** Every schema below one, with its path. */
function* below(schema: Schema, path: string): Generator<[string, Schema]> {
  yield [path, schema];
  for (const [name, property] of Object.entries(schema.properties ?? {})) yield* below(property, `${path}.${name}`);
  if (schema.items !== undefined) yield* below(schema.items, `${path}[]`);
  if (typeof schema.additionalProperties === 'object') yield* below(schema.additionalProperties, `${path}{}`);
}

for (const crd of all) {
  test(`${crd.metadata.name} is what an API server takes`, () => {
    const [version] = crd.spec.versions;
    assert.ok(version !== undefined);
    assert.equal(crd.metadata.name, `${crd.spec.names.plural}.${crd.spec.group}`);
    assert.equal(crd.spec.versions.filter((candidate) => candidate.storage).length, 1);
    for (const [path, schema] of below(version.schema.openAPIV3Schema, '')) {
      assert.ok(schema.type !== undefined || schema['x-kubernetes-int-or-string'] === true, `${path} has a type`);
      for (const key of schema['x-kubernetes-list-map-keys'] ?? []) {
        const { items } = schema;
        assert.ok(
          items?.required?.includes(key) === true || items?.properties?.[key]?.default !== undefined,
          `${path}: key ${key} is always there`,
        );
      }
      for (const { rule, message } of schema['x-kubernetes-validations'] ?? [])
        assert.ok(rule !== '' && message !== undefined, `${path} says what is wrong`);
    }
  });
}
