import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decode, encode } from 'dns-packet';
import fc from 'fast-check';

import { encodeAnswer, isAnswerTo, parseQuery, rcodes, relabelAnswer } from './message.ts';
import { aliasesOf, withWildcards } from './names.ts';
import { parseResolvConf } from './resolv-conf.ts';

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
const name = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join('.'));

test('any answer can be read by another implementation and stays within its limit', () => {
  fc.assert(
    fc.property(
      name,
      fc.option(name, { nil: undefined }),
      fc.array(fc.oneof(fc.ipV4(), fc.constant('2001:db8::1')), { maxLength: 60 }),
      fc.integer({ min: 512, max: 4096 }),
      fc.boolean(),
      (asked, canonicalName, addresses, limit, edns) => {
        const additionals = edns
          ? [
              {
                type: 'OPT' as const,
                name: '.' as const,
                udpPayloadSize: limit,
                extendedRcode: 0,
                ednsVersion: 0,
                flags: 0,
                flag_do: false,
                options: [],
              },
            ]
          : [];
        const query = parseQuery(encode({ type: 'query', id: 7, flags: 0x100, questions: [{ type: 'A', name: asked }], additionals }));
        assert.ok(!('malformed' in query));
        assert.equal(query.name, asked);
        const bytes = encodeAnswer(
          query,
          { rcode: rcodes.success, authoritative: true, ttl: 30, canonicalName, addresses, authority: 'mesh.internal' },
          limit,
        );
        assert.ok(bytes.length <= limit);
        assert.ok(isAnswerTo(bytes, query, 7));
        assert.ok(!isAnswerTo(bytes, query, 8));
        const read = decode(bytes);
        const wanted = addresses.map((address) => `${canonicalName ?? asked} ${address}`);
        const got = (read.answers ?? [])
          .filter(({ type }) => type !== 'CNAME')
          .map((answer) => `${answer.name} ${'data' in answer ? (answer.data as string) : ''}`);
        assert.deepEqual(got, wanted.slice(0, got.length));
        assert.equal(read.flag_tc, got.length < wanted.length);
        assert.equal(read.additionals?.length, edns ? 1 : 0);
      },
    ),
  );
});

test('arbitrary bytes never make it throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const query = parseQuery(Buffer.from(bytes));
      if (!('malformed' in query)) encodeAnswer(query, { rcode: rcodes.serverFailure, authoritative: false }, 512);
    }),
    { numRuns: 2000 },
  );
});

test('a forwarded answer gets the identifier of the client and loses its authority', () => {
  const query = parseQuery(encode({ type: 'query', id: 7, flags: 0x100, questions: [{ type: 'A', name: 'a.example' }] }));
  assert.ok(!('malformed' in query));
  const answer = decode(
    relabelAnswer(encode({ type: 'response', id: 99, flags: 0x0400, questions: [{ type: 'A', name: 'a.example' }] }), query),
  );
  assert.deepEqual([answer.id, answer.flag_aa, answer.flag_ra], [7, false, true]);
});

test('what a name may stand for', () => {
  const options = { namespace: 'demo', clusterDomain: 'cluster.local' };
  const names = (query: string): string[] =>
    aliasesOf(query, options).map(({ name: alias, stripped }) => (stripped === undefined ? alias : `${alias} (${stripped})`));
  assert.deepEqual(names('shop'), ['shop', 'shop.demo.svc.cluster.local']);
  assert.deepEqual(names('shop.other'), ['shop.other', 'shop.other.svc.cluster.local', 'shop.other.demo.svc.cluster.local']);
  assert.deepEqual(names('shop.other.svc'), ['shop.other.svc', 'shop.other.svc.cluster.local', 'shop.other.svc.svc.cluster.local']);
  assert.deepEqual(names('pod.set.other.svc'), ['pod.set.other.svc', 'pod.set.other.svc.cluster.local']);
  assert.deepEqual(names('a.b.c.d.example'), ['a.b.c.d.example']);
  assert.deepEqual(names('shop.demo.svc.cluster.local'), [
    'shop.demo.svc.cluster.local',
    'shop (shop)',
    'shop.demo (shop.demo)',
    'shop.demo.demo.svc.cluster.local (shop.demo)',
    'shop.demo.svc (shop.demo.svc)',
    'shop.demo.svc.svc.cluster.local (shop.demo.svc)',
  ]);
  assert.deepEqual(withWildcards('a.b.c'), ['a.b.c', '*.b.c', '*.c']);
});

test('resolv.conf', () => {
  const text =
    '# node\nnameserver 10.0.0.10\nnameserver fd00::a ; second\nsearch a b\nnameserver nonsense\noptions ndots:5 attempts:3\nnameserver 1.1.1.1\nnameserver 2.2.2.2\n';
  assert.deepEqual(parseResolvConf(text), { nameservers: ['10.0.0.10', 'fd00::a', '1.1.1.1'], attempts: 3 });
  assert.deepEqual(parseResolvConf(''), { nameservers: [], attempts: 2 });
});
