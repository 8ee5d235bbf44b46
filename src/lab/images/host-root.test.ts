import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { fstab, readMountPoints, readOnlyBind } from './host-root.ts';

test('a bind with mounts below it is read-only all the way down, and keeps their flags', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'isthmus root '));
  const [source, below, target] = ['source', 'source/below it', 'target'].map((name) => path.join(folder, name));
  assert.ok(source !== undefined && below !== undefined && target !== undefined);
  mkdirSync(below, { recursive: true });
  mkdirSync(target);
  writeFileSync(path.join(source, 'file'), 'x');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'noexec', 'x', below]);
  writeFileSync(path.join(below, 'deep'), 'x');
  const table = path.join(folder, 'fstab');
  writeFileSync(table, fstab(readOnlyBind(source, '/target'), folder));
  execFileSync('mount', ['--all', '--fstab', table]);

  for (const name of ['file', 'below it/deep', 'new', 'below it/new']) {
    assert.throws(() => writeFileSync(path.join(target, name), 'y'), { code: 'EROFS' }, name);
  }
  writeFileSync(path.join(below, 'deep'), 'still writable at its source');
  const flags = readMountPoints().find((mount) => mount.path === path.join(target, 'below it'))?.flags;
  assert.deepEqual(flags, ['noexec']);
});
