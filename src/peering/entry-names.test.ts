import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import fc from 'fast-check';

import { flatEntryName, gatewayEntryName, isClusterId, isSubdomain, serviceEntryName, serviceHash } from './entry-names.ts';

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
const subdomain = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) =>
  labels
    .join('.')
    .slice(0, 253)
    .replace(/[.-]+$/, ''),
);

suite('names of entries', () => {
  test('are those of the guide', () => {
    assert.equal(serviceHash('demo', 'global-service'), 'eacd81ea03fd');
    assert.equal(serviceEntryName('demo', 'global-service'), 'autogen.demo.global-service');
    assert.equal(gatewayEntryName('cluster-2', 'demo', 'global-service'), 'autogen.cluster-2.demo.global-service');
    assert.equal(
      flatEntryName('cluster-2', 'demo', 'global-service-d955b94d5-jfzkt', 'global-service'),
      'autogenflat.cluster-2.demo.global-service-d955b94d5-jfzkt.eacd81ea03fd',
    );
  });

  test('are names that an API server takes, however long their parts', () => {
    fc.assert(
      fc.property(label, label, subdomain, label, (cluster, namespace, pod, service) => {
        for (const name of [
          serviceEntryName(namespace, service),
          gatewayEntryName(cluster, namespace, service),
          flatEntryName(cluster, namespace, pod, service),
        ]) {
          assert.ok(isSubdomain(name), name);
        }
        assert.ok(flatEntryName(cluster, namespace, pod, service).endsWith(`.${serviceHash(namespace, service)}`));
      }),
    );
  });

  test('of two long pods that differ at the end are two', () => {
    const stem = 'p'.repeat(240);
    const names = ['a', 'b'].map((end) => flatEntryName('cluster-2', 'demo', `${stem}${end}`, 'global-service'));
    assert.equal(new Set(names).size, 2);
    assert.deepEqual(
      names.map(({ length }) => length),
      [253, 253],
    );
  });

  for (const [id, isOne] of [
    ['cluster-1', true],
    ['eu.west', false],
    ['', false],
    ['Kubernetes', false],
    ['a'.repeat(64), false],
    ['a/b', false],
    ['a|b', false],
    ['..', false],
  ] as const) {
    test(`${JSON.stringify(id)} is ${isOne ? 'a' : 'no'} cluster id`, () => assert.equal(isClusterId(id), isOne));
  }
});
