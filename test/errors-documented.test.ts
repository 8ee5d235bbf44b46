import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { errorCodes } from '../src/core/index.ts';

test('every error code has its line in docs/errors, and no line is of a code that is gone', () => {
  const dir = path.resolve(import.meta.dirname, '../docs/errors');
  // check.md is of findings, which are no errors: findings-documented.test.ts
  const text = readdirSync(dir)
    .filter((file) => file !== 'check.md')
    .map((file) => readFileSync(path.join(dir, file), 'utf8'))
    .join('\n');
  const documented = [...text.matchAll(/^\| `([A-Z0-9_]+)` +\|/gm)].map(([, code]) => code);
  assert.deepEqual([...new Set(documented)].sort(), Object.keys(errorCodes).sort());
});
