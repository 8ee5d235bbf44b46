import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { decodeSockaddr, encodeSockaddr, encodeUnixAddress, unmapped } from './address.ts';

const port = fc.integer({ min: 0, max: 65535 });

/** The URL parser writes IPv6 addresses in the canonical form of RFC 5952 (with IPv4 tails in hexadecimal). */
const canonical = (address: string): string => new URL(`http://[${address}]/`).hostname.slice(1, -1);

test('IPv4 addresses survive', () => {
  fc.assert(
    fc.property(fc.ipV4(), port, (address, port) => {
      assert.deepEqual(decodeSockaddr(encodeSockaddr({ address, port })), { address, port });
    }),
  );
});

test('IPv6 addresses survive in canonical form', () => {
  fc.assert(
    fc.property(fc.ipV6(), port, (address, port) => {
      const decoded = decodeSockaddr(encodeSockaddr({ address, port }));
      assert.equal(decoded.port, port);
      assert.equal(canonical(decoded.address.includes(':') ? decoded.address : `::ffff:${decoded.address}`), canonical(address));
    }),
  );
});

test('special forms', () => {
  for (const [given, expected] of [
    ['::', '::'],
    ['::1', '::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
  ] as const) {
    assert.equal(decodeSockaddr(encodeSockaddr({ address: given, port: 1 })).address, expected);
  }
  assert.equal(unmapped('::ffff:10.0.0.1'), '10.0.0.1');
  assert.equal(unmapped('::ffff:0:1'), '::ffff:0:1');
});

test('what is no address is refused', () => {
  assert.throws(() => encodeSockaddr({ address: 'localhost', port: 1 }), { code: 'ISTHMUS_CONFIG_INVALID' });
  assert.throws(() => encodeUnixAddress(''), { code: 'ISTHMUS_CONFIG_INVALID' });
});
