import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';

import { FederatedServiceSchema } from '../api/gen/isthmus/peering_pb.js';
import { mergeClaims, type ServiceClaim } from './global-services.ts';

type Port = readonly [name: string, number: number, protocol: string];

function claim(cluster: string, ports: readonly Port[], subjectAltNames: string[] = []): ServiceClaim {
  const service = create(FederatedServiceSchema, {
    name: 's',
    namespace: 'n',
    scope: 'global',
    ports: ports.map(([name, number, protocol]) => ({ name, number, protocol })),
    subjectAltNames,
  });
  return { cluster, service };
}

const port = fc.tuple(
  fc.constantFrom('http', 'grpc', 'port-80', 'a'.repeat(63)),
  fc.integer({ min: 78, max: 82 }),
  fc.constantFrom('', 'HTTP', 'TCP'),
);
const ports = fc.uniqueArray(port, { selector: ([, number]) => number, minLength: 1, maxLength: 4 });
const claims = fc
  .uniqueArray(fc.tuple(fc.constantFrom('', 'a', 'b', 'c'), ports), { selector: ([cluster]) => cluster, minLength: 1 })
  .map((list) => list.map(([cluster, of]) => claim(cluster, of)));

const merge = (list: readonly ServiceClaim[]) => {
  const [first, ...rest] = list;
  assert.ok(first);
  return mergeClaims([first, ...rest]);
};

suite('claims of several clusters on one service', () => {
  test('give the same whatever their order', () => {
    fc.assert(
      fc.property(
        claims.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))),
        ([list, shuffled]) => assert.deepEqual(merge(shuffled), merge(list)),
      ),
    );
  });

  test('give every port of every cluster once, under a name of its own', () => {
    fc.assert(
      fc.property(claims, (list) => {
        const merged = merge(list).ports;
        const wanted = [...new Set(list.flatMap(({ service }) => service.ports.map(({ number }) => number)))].sort((a, b) => a - b);
        assert.deepEqual(
          merged.map(({ number }) => number),
          wanted,
        );
        assert.equal(new Set(merged.map(({ name }) => name)).size, merged.length);
        for (const { name } of merged) assert.match(name, /^[a-z0-9-]{1,63}$/);
      }),
    );
  });

  test("this cluster's names and protocols count", () => {
    fc.assert(
      fc.property(claims, ports, (list, own) => {
        const merged = merge([...list.filter(({ cluster }) => cluster !== ''), claim('', own)]).ports;
        for (const [, number, protocol] of own) assert.equal(merged.find((merged) => merged.number === number)?.protocol, protocol);
        const firstNames = own.filter(([name], at) => own.findIndex(([other]) => other === name) === at);
        for (const [name, number] of firstNames) assert.equal(merged.find((merged) => merged.number === number)?.name, name);
      }),
    );
  });

  test('tell where they disagree', () => {
    const merged = merge([claim('b', [['http', 80, 'TCP']]), claim('', [['web', 80, 'HTTP']]), claim('a', [['http', 80, 'HTTP']])]);
    assert.deepEqual(merged.ports, [{ name: 'web', number: 80, protocol: 'HTTP' }]);
    assert.deepEqual(merged.conflicts, ['port 80 is TCP in b, HTTP in this cluster, which counts']);
  });

  test('have the identities of all', () => {
    assert.deepEqual(merge([claim('b', [['h', 1, '']], ['y', 'x']), claim('a', [['h', 1, '']], ['x', 'z'])]).subjectAltNames, [
      'x',
      'y',
      'z',
    ]);
  });
});
