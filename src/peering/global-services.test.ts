import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';

import { FederatedServiceSchema } from '../api/gen/isthmus/peering_pb.js';
import { mergeClaims, mergeCommon, type ServiceClaim } from './global-services.ts';

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
  fc.constantFrom('http', 'grpc', 'port-80', 'a'.repeat(62)),
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
        for (const { name } of merged) assert.match(name, /^[a-z0-9-]{1,62}$/);
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

  test('a name that is too long for an entry ends in its number', () => {
    const [port] = merge([claim('', [['a'.repeat(63), 80, 'TCP']])]).ports;
    assert.equal(port?.name, `${'a'.repeat(50)}-80`);
  });
});

suite('claims on one service, for a ServiceEntry whose ports every endpoint has', () => {
  const common = (...list: ServiceClaim[]) => {
    const [first, ...rest] = list;
    assert.ok(first);
    const { ports, leftOut, conflicts } = mergeCommon([first, ...rest]);
    return { ports: ports.map(({ number }) => number), leftOut, conflicts };
  };

  test('only the ports that all clusters have are those of the service, and the others are told of', () => {
    const merged = common(
      claim('', [
        ['a', 80, 'TCP'],
        ['b', 81, 'TCP'],
      ]),
      claim('c2', [
        ['x', 81, 'TCP'],
        ['y', 82, 'TCP'],
      ]),
    );
    assert.deepEqual([merged.ports, merged.leftOut], [[81], []]);
    assert.deepEqual(merged.conflicts, [
      'port 80 is not in c2, so the global name lacks it',
      'port 82 is not in this cluster, so the global name lacks it',
    ]);
  });

  test('a cluster that shares none is left out, and takes no port away', () => {
    const merged = common(claim('', [['a', 80, 'TCP']]), claim('c2', [['b', 81, 'TCP']]), claim('c3', [['a', 80, 'TCP']]));
    assert.deepEqual([merged.ports, merged.leftOut], [[80], ['c2']]);
    assert.deepEqual(merged.conflicts, ['c2 has only port 81, so its endpoints are left out']);
  });

  test('a port that a cluster exports and none of its endpoints has is not one that it has', () => {
    const both = claim('c2', [
      ['a', 80, 'TCP'],
      ['b', 81, 'TCP'],
    ]);
    assert.deepEqual(
      common(
        claim('', [
          ['a', 80, 'TCP'],
          ['b', 81, 'TCP'],
        ]),
        { ...both, offered: new Set([80]) },
      ).ports,
      [80],
    );
    assert.deepEqual(common(both).ports, [80, 81]);
  });

  test('give the same whatever their order, and never a port that one of them lacks', () => {
    fc.assert(
      fc.property(
        claims.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))),
        ([list, shuffled]) => {
          const [a, b] = [common(...list), common(...shuffled)];
          assert.deepEqual(a, b);
          assert.ok(a.ports.length > 0);
          for (const { cluster, service } of list) {
            const has = service.ports.map(({ number }) => number);
            assert.equal(
              a.ports.every((number) => has.includes(number)),
              !a.leftOut.includes(cluster),
            );
          }
        },
      ),
    );
  });
});
