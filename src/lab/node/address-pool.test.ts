import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import fc from 'fast-check';

import { AddressPool } from './address-pool.ts';

const folder = (): string => mkdtempSync(path.join(tmpdir(), 'isthmus-pool-'));

test('addresses go round: a free one comes again only after all others', () => {
  const pool = new AddressPool('10.10.0.0/29', folder());
  assert.deepEqual(
    ['a', 'b', 'c'].map((holder) => pool.allocate(holder)),
    ['10.10.0.2', '10.10.0.3', '10.10.0.4'],
  );
  pool.release('a');
  assert.deepEqual(
    ['d', 'e'].map((holder) => pool.allocate(holder)),
    ['10.10.0.5', '10.10.0.6'],
  );
  assert.equal(pool.allocate('f'), '10.10.0.2');
  assert.throws(() => pool.allocate('g'), /no free address/);
  assert.equal(pool.allocate('b'), '10.10.0.3', 'who has one keeps it');
});

test('another pool of the same folder knows them', () => {
  const shared = folder();
  new AddressPool('10.10.0.0/24', shared).allocate('a');
  const later = new AddressPool('10.10.0.0/24', shared);
  assert.equal(later.find('a'), '10.10.0.2');
  assert.equal(later.allocate('b'), '10.10.0.3');
});

test('whatever happens, no address has two holders, and none is outside of the range', () => {
  const holders = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), holders), { maxLength: 40 }), (steps) => {
      const pool = new AddressPool('192.168.5.248/29', folder());
      const held = new Map<string, string>();
      for (const [allocate, holder] of steps) {
        if (allocate) {
          const address = pool.allocate(holder);
          assert.ok([...held].every(([other, taken]) => other === holder || taken !== address));
          assert.match(address, /^192\.168\.5\.25[0-4]$/);
          held.set(holder, address);
        } else {
          pool.release(holder);
          held.delete(holder);
        }
      }
    }),
    { numRuns: 30 },
  );
});
