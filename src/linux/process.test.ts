import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, readSync } from 'node:fs';
import { test } from 'node:test';

import { openPseudoTerminal, processExit, processStartTime, resizeTerminal } from './index.ts';

test('processExit resolves when the process ends, and only then', async () => {
  const child = spawn('sleep', ['infinity']);
  await once(child, 'spawn');
  const { pid = 0 } = child;
  const startTime = processStartTime(pid);
  assert.match(startTime ?? '', /^\d+$/);
  let ended = false;
  const exit = processExit(pid, startTime).then(() => (ended = true));
  await new Promise(setImmediate);
  assert.equal(ended, false);
  child.kill('SIGKILL');
  await exit;
  assert.equal(processStartTime(pid), undefined);
});

test('processExit resolves at once for a process that is gone, and for another one with its pid', async () => {
  await processExit(process.pid, '1');
  const child = spawn('true');
  await once(child, 'exit');
  await processExit(child.pid ?? 0);
});

test('processExit rejects with the reason of its signal', async () => {
  const stop = new AbortController();
  const exit = processExit(process.pid, undefined, stop.signal);
  stop.abort(new Error('enough'));
  await assert.rejects(exit, /enough/);
});

test('a program on a pseudo terminal sees a terminal of the given size', async () => {
  const { master, slave } = openPseudoTerminal();
  resizeTerminal(master, { columns: 91, rows: 17 });
  const child = spawn('sh', ['-c', 'tty >/dev/null && stty size'], { stdio: [slave, slave, slave] });
  assert.deepEqual(await once(child, 'exit'), [0, null]);
  const printed = Buffer.alloc(100);
  assert.equal(printed.toString('utf8', 0, readSync(master, printed)).trim(), '17 91');
  closeSync(slave);
  closeSync(master);
});
