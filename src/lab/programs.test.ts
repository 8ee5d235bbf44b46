import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { IsthmusError } from '../core/index.ts';
import { checkProgram, placeProgram } from './programs.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'programs-'));
const program = path.join(folder, 'ztunnel');
writeFileSync(program, '#!/bin/sh\n');

const withCode = (code: string) => (error: unknown) => error instanceof IsthmusError && error.code === code;

test('a program has to be an executable file with an absolute path', () => {
  for (const file of [path.join(folder, 'none'), folder, program, path.relative(process.cwd(), program)]) {
    assert.throws(() => checkProgram(file), withCode('LAB_PROGRAM'), file);
  }
  chmodSync(program, 0o755);
  checkProgram(program);
});

test('a cluster that is none of the lab gets no program of this machine', () => {
  process.env['ISTHMUS_LAB_DIR'] = path.join(folder, 'lab');
  assert.throws(() => placeProgram('https://127.0.0.1:6443', program), withCode('LAB_NOT_A_LAB'));
});
