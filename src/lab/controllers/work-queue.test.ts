import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';

import { createLogger } from '../../core/index.ts';
import { WorkQueue } from './work-queue.ts';

const log = createLogger('test');
log.level = 'silent';

/** A queue that is stopped at the end of the test. */
function start(t: { after(fn: () => Promise<void>): void }, reconcile: (key: string) => Promise<void>, workers?: number): WorkQueue {
  const stop = new AbortController();
  const queue = new WorkQueue({ name: 'test', reconcile, log, ...(workers === undefined ? {} : { workers }) });
  const done = queue.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await done;
  });
  return queue;
}

void test('a key added while it is worked on is worked on once more, and never twice at a time', async (t) => {
  let running = 0;
  let most = 0;
  let runs = 0;
  const gate = Promise.withResolvers<undefined>();
  const finished = Promise.withResolvers<undefined>();
  const queue = start(t, async () => {
    running++;
    most = Math.max(most, running);
    if (runs++ === 0) await gate.promise;
    else finished.resolve(undefined);
    running--;
  });
  queue.add('a');
  queue.add('a');
  queue.add('a');
  gate.resolve(undefined);
  await finished.promise;
  await delay(20);
  assert.deepEqual({ most, runs }, { most: 1, runs: 2 });
});

void test('a failed key is tried again until it succeeds', async (t) => {
  let runs = 0;
  const done = Promise.withResolvers<undefined>();
  const queue = start(t, () => {
    if (++runs < 4) return Promise.reject(new Error('not yet'));
    done.resolve(undefined);
    return Promise.resolve();
  });
  queue.add('a');
  await done.promise;
  assert.equal(runs, 4);
});

void test('no more keys are worked on at a time than there are workers', async (t) => {
  let running = 0;
  let most = 0;
  let left = 20;
  const done = Promise.withResolvers<undefined>();
  const queue = start(
    t,
    async () => {
      most = Math.max(most, ++running);
      await delay(1);
      running--;
      if (--left === 0) done.resolve(undefined);
    },
    3,
  );
  for (let i = 0; i < 20; i++) queue.add(String(i));
  await done.promise;
  assert.equal(most, 3);
});

void test('of several delayed additions the earliest counts', async (t) => {
  const times: number[] = [];
  const queue = start(t, () => {
    times.push(Date.now());
    return Promise.resolve();
  });
  const begun = Date.now();
  queue.addAfter('a', 400);
  queue.addAfter('a', 30);
  queue.addAfter('a', 200);
  await delay(120);
  assert.equal(times.length, 1);
  assert.ok((times[0] ?? Infinity) - begun < 110);
});

void test('a stopped queue waits for what was begun and starts nothing new', async () => {
  const stop = new AbortController();
  const begun: string[] = [];
  const ended: string[] = [];
  const queue = new WorkQueue({
    name: 'test',
    log,
    workers: 1,
    reconcile: async (key) => {
      begun.push(key);
      stop.abort();
      await delay(10);
      ended.push(key);
      queue.addAfter(key, 60_000);
    },
  });
  const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  queue.add('a');
  queue.add('b');
  await queue.run(stop.signal);
  assert.deepEqual([begun, ended], [['a'], ['a']]);
  assert.equal(
    process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length,
    timers,
    'nothing is left that would keep the process',
  );
});
