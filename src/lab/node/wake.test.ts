import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Wake } from './wake.ts';

const never = new AbortController().signal;

test('a waiter wakes when it is raised, on time, or when it is stopped', async () => {
  const wake = new Wake();
  const begun = performance.now();
  const waiting = [wake.wait(60_000, never), wake.wait(60_000, never)];
  wake.raise();
  await Promise.all(waiting);
  assert.ok(performance.now() - begun < 10_000);
  await wake.wait(1, never);
  const stop = new AbortController();
  const stopped = wake.wait(60_000, stop.signal);
  stop.abort(new Error('enough'));
  await assert.rejects(stopped, /enough/);
});

test('what was raised before is not heard', async () => {
  const wake = new Wake();
  wake.raise();
  const stop = new AbortController();
  let woken = false;
  const waiting = wake.wait(60_000, stop.signal).then(() => (woken = true));
  await new Promise(setImmediate);
  assert.equal(woken, false);
  wake.raise();
  await waiting;
});
