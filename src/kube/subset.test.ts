import assert from 'node:assert/strict';
import { test } from 'node:test';

import { contains } from './subset.ts';

const cases: readonly { readonly actual: unknown; readonly wanted: unknown; readonly is: boolean }[] = [
  { actual: { a: 1, b: 2 }, wanted: { a: 1 }, is: true },
  { actual: { a: 1 }, wanted: { a: 1, b: undefined }, is: true },
  { actual: { a: 2 }, wanted: { a: 1 }, is: false },
  { actual: {}, wanted: { a: {} }, is: false },
  { actual: undefined, wanted: {}, is: false },
  { actual: { a: [{ x: 1, added: true }] }, wanted: { a: [{ x: 1 }] }, is: true },
  { actual: { a: [{ x: 1 }, { x: 2 }] }, wanted: { a: [{ x: 1 }] }, is: false },
  { actual: { a: [2, 1] }, wanted: { a: [1, 2] }, is: false },
  { actual: { a: null }, wanted: { a: null }, is: true },
];

for (const { actual, wanted, is } of cases) {
  test(`${JSON.stringify(actual)} ${is ? 'has' : 'lacks'} ${JSON.stringify(wanted)}`, () => assert.equal(contains(actual, wanted), is));
}
