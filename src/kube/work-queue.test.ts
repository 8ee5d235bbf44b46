import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { WorkQueue } from './work-queue.ts';

/** Runs a queue until `done` keys were begun. */
async function run(options: {
  readonly add: readonly (readonly [key: string, urgent?: boolean])[];
  readonly done: number;
  readonly work?: (key: string, queue: WorkQueue, begun: readonly string[]) => Promise<void> | void;
  readonly concurrency?: number;
  readonly ratePerSecond?: number;
  readonly burst?: number;
  readonly groupOf?: (key: string) => string;
}): Promise<{ begun: string[]; failures: string[]; mostAtWork: number; ms: number }> {
  const stop = new AbortController();
  const begun: string[] = [];
  const failures: string[] = [];
  let atWork = 0;
  let mostAtWork = 0;
  const startedAt = performance.now();
  const queue: WorkQueue = new WorkQueue({
    work: async (key) => {
      begun.push(key);
      mostAtWork = Math.max(mostAtWork, ++atWork);
      try {
        await options.work?.(key, queue, begun);
      } finally {
        atWork--;
        if (begun.length >= options.done) stop.abort();
      }
    },
    onFailure: (key) => failures.push(key),
    concurrency: options.concurrency ?? 1,
    ...(options.ratePerSecond !== undefined && { ratePerSecond: options.ratePerSecond }),
    ...(options.burst !== undefined && { burst: options.burst }),
    ...(options.groupOf !== undefined && { groupOf: options.groupOf }),
  });
  for (const [key, urgent = false] of options.add) queue.add(key, { urgent });
  await queue.run(stop.signal);
  return { begun, failures, mostAtWork, ms: performance.now() - startedAt };
}

suite('work queue', () => {
  test('has each key once, urgent ones first', async () => {
    const add = [['a'], ['b'], ['a'], ['c', true], ['b', true], ['c']] as const;
    assert.deepEqual((await run({ add, done: 3 })).begun, ['c', 'b', 'a']);
  });

  test('a key added while at work comes again afterwards, never twice at once', async () => {
    const again = await run({
      add: [['a'], ['b']],
      done: 3,
      concurrency: 4,
      work: (key, queue, begun) => {
        if (key === 'a' && begun.length === 1) queue.add('a');
        return Promise.resolve();
      },
    });
    assert.deepEqual(again.begun, ['a', 'b', 'a']);
  });

  test('tries again what failed', async () => {
    const { begun, failures } = await run({
      add: [['a']],
      done: 3,
      work: (_, __, begun) => {
        if (begun.length < 3) throw new Error('not yet');
      },
    });
    assert.deepEqual(
      [begun, failures],
      [
        ['a', 'a', 'a'],
        ['a', 'a'],
      ],
    );
  });

  test('works on no more keys at once, and begins no more a second, than it may', async () => {
    const add = Array.from({ length: 30 }, (_, at) => [`k${at}`] as const);
    const { mostAtWork, ms } = await run({
      add,
      done: 30,
      concurrency: 3,
      burst: 10,
      ratePerSecond: 100,
      work: () => new Promise((resolve) => setImmediate(resolve)),
    });
    assert.equal(mostAtWork <= 3, true);
    // 10 at once, then 20 at 100 a second.
    assert.ok(ms >= 180, `${ms} ms`);
  });

  test('groups take turns, urgent keys first in their group', async () => {
    const add = [['a1'], ['a2'], ['a3', true], ['a4'], ['b1'], ['b2', true], ['c1']] as const;
    const { begun } = await run({ add, done: 7, groupOf: (key) => key.slice(0, 1) });
    assert.deepEqual(begun, ['a3', 'b2', 'c1', 'a1', 'b1', 'a2', 'a4']);
  });

  test('a group that never ends delays another by one key a turn', async () => {
    const { begun } = await run({
      add: [['busy-0'], ['busy-1'], ['quiet-0'], ['quiet-1'], ['quiet-2']],
      done: 8,
      groupOf: (key) => key.split('-')[0] ?? '',
      work: (key, queue) => {
        if (key.startsWith('busy')) for (const n of [2, 3]) queue.add(`${key}${n}`, { urgent: true });
      },
    });
    assert.deepEqual(
      begun.flatMap((key, at) => (key.startsWith('quiet') ? [at] : [])),
      [1, 3, 5],
    );
  });

  test('keeps what was interrupted, and what waits to be tried again, for the next run', async () => {
    const first = new AbortController();
    const second = new AbortController();
    const begun: string[] = [];
    const queue = new WorkQueue({
      concurrency: 2,
      work: (key, signal) => {
        begun.push(key);
        if (signal === second.signal) {
          if (begun.length === 4) second.abort();
          return Promise.resolve();
        }
        if (key === 'fails') throw new Error('no');
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('stopped')), { once: true }));
      },
      // By now both are begun, for the interrupted one was added first.
      onFailure: () => first.abort(),
    });
    queue.add('interrupted');
    queue.add('fails');
    await queue.run(first.signal);
    assert.equal(queue.size, 2);
    await queue.run(second.signal);
    assert.deepEqual(begun.slice(0, 2), ['interrupted', 'fails']);
    assert.deepEqual(begun.slice(2).sort(), ['fails', 'interrupted']);
    assert.equal(queue.size, 0);
  });

  test('what turns out to be unchanged does not hold up what is not', async () => {
    const stop = new AbortController();
    const startedAt = performance.now();
    const queue = new WorkQueue({
      // One a minute, after ten.
      ratePerSecond: 1 / 60,
      burst: 10,
      work: (key) => {
        if (key === 'last') stop.abort();
        return Promise.resolve(key === 'last' ? 'done' : 'unchanged');
      },
      onFailure: assert.fail,
    });
    for (let n = 0; n < 5_000; n++) queue.add(`same-${n}`);
    queue.add('last');
    await queue.run(stop.signal);
    assert.ok(performance.now() - startedAt < 30_000);
  });
});
