import assert from 'node:assert/strict';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { writeAtomically } from './atomic-folder.ts';

const file = (name: string, content: string, mode = 0o644) => ({ path: name, content: Buffer.from(content), mode });

test('files appear, change together and go, always through ..data', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'isthmus-atomic-'));
  const at = (name: string): string => path.join(folder, name);
  writeAtomically(folder, [file('a', '1'), file('deep/b', '1', 0o400)]);
  const first = readlinkSync(at('..data'));
  assert.equal(readlinkSync(at('a')), '..data/a');
  assert.equal(readFileSync(at('deep/b'), 'utf8'), '1');
  assert.equal(statSync(at('deep/b')).mode & 0o777, 0o400);

  writeAtomically(folder, [file('a', '2'), file('c', '2')]);
  assert.notEqual(readlinkSync(at('..data')), first);
  assert.equal(readFileSync(at('a'), 'utf8'), '2');
  assert.equal(readFileSync(at('c'), 'utf8'), '2');
  assert.throws(() => lstatSync(at('deep')), { code: 'ENOENT' });
  assert.equal(readdirSync(folder).filter((name) => name.startsWith('..')).length, 2, 'the old folder is gone');

  writeAtomically(folder, []);
  assert.deepEqual(
    readdirSync(folder).filter((name) => !name.startsWith('..')),
    [],
  );
});
