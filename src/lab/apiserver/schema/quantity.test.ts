import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { canonicalQuantity, compareQuantities } from './quantity.ts';

test('writes quantities in their canonical form', () => {
  for (const [given, canonical] of [
    ['0.5', '500m'],
    ['1000m', '1'],
    ['1024Mi', '1Gi'],
    ['1.5Gi', '1536Mi'],
    ['2000', '2k'],
    ['1e3', '1e3'],
    ['512Ki', '512Ki'],
    ['-1.5', '-1500m'],
    ['0', '0'],
    ['0.0000000001', '1n'],
  ] as const) {
    assert.equal(canonicalQuantity(given), canonical, given);
  }
  for (const bad of ['', 'x', '1Qi', '1 Gi', '1..2', '.']) assert.equal(canonicalQuantity(bad), undefined, bad);
});

const quantity = fc
  .tuple(fc.integer({ min: -1_000_000, max: 1_000_000 }), fc.constantFrom('', 'n', 'u', 'm', 'k', 'M', 'G', 'Ki', 'Mi', 'Gi', 'e3', 'E-3'))
  .map(([number, suffix]) => `${number}${suffix}`);

test('keeps the amount, and a canonical form as it is', () => {
  fc.assert(
    fc.property(quantity, (text) => {
      const canonical = canonicalQuantity(text);
      assert.ok(canonical !== undefined);
      assert.equal(canonicalQuantity(canonical), canonical);
      assert.equal(compareQuantities(canonical, text), 0);
    }),
  );
});
