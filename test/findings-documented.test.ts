import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { findingCodes } from '../src/cli/multicluster/findings.ts';

test('every finding of check has its line with its weight in docs/errors/check.md, and no line is of a code that is gone', () => {
  const text = readFileSync(path.resolve(import.meta.dirname, '../docs/errors/check.md'), 'utf8');
  const documented = [...text.matchAll(/^\| `([A-Z0-9_]+)` +\| (\w+) \|/gm)].map(([, code, weight]) => [code, weight]);
  const rows = [...text.matchAll(/^\| `/gm)];
  assert.equal(documented.length, rows.length, 'a row that cannot be read');
  assert.deepEqual(Object.fromEntries(documented), findingCodes);
});
