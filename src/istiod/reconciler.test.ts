import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { createLogger } from '../core/index.ts';
import { Reconciler } from './reconciler.ts';

process.env['ISTHMUS_LOG'] = 'silent';
const log = createLogger('test');

/** A reconciler whose calls a test sees and answers one by one. */
function steered() {
  const calls: { readonly key: string; readonly done: (error?: Error) => void }[] = [];
  let arrived = Promise.withResolvers<undefined>();
  const reconciler = new Reconciler({
    name: 'test',
    log,
    reconcile: (key) => {
      const { promise, resolve, reject } = Promise.withResolvers<undefined>();
      calls.push({ key, done: (error) => (error === undefined ? resolve(undefined) : reject(error)) });
      arrived.resolve(undefined);
      arrived = Promise.withResolvers<undefined>();
      return promise;
    },
  });
  const next = async () => {
    while (calls.length === 0) await arrived.promise;
    const call = calls.shift();
    assert.ok(call);
    return call;
  };
  return { reconciler, next, calls };
}

describe('a reconciler', () => {
  it('takes each key once however often it was asked for, and again when asked meanwhile', async () => {
    const { reconciler, next } = steered();
    const stop = new AbortController();
    for (const key of ['a', 'b', 'a', 'a']) reconciler.enqueue(key);
    const running = reconciler.run(stop.signal);
    const first = await next();
    assert.equal(first.key, 'a');
    reconciler.enqueue('a');
    first.done();
    const second = await next();
    assert.equal(second.key, 'b');
    second.done();
    const third = await next();
    assert.equal(third.key, 'a');
    stop.abort();
    third.done();
    await running;
  });

  it('tries a failure again, and the other keys first', async () => {
    const { reconciler, next } = steered();
    const stop = new AbortController();
    reconciler.enqueue('bad');
    reconciler.enqueue('good');
    const running = reconciler.run(stop.signal);
    (await next()).done(new Error('no'));
    const good = await next();
    assert.equal(good.key, 'good');
    good.done();
    const again = await next();
    assert.equal(again.key, 'bad');
    again.done();
    stop.abort();
    await running;
  });

  it('keeps what was not done for the next time it leads', async () => {
    const { reconciler, next } = steered();
    const stop = new AbortController();
    reconciler.enqueue('a');
    const running = reconciler.run(stop.signal);
    const interrupted = await next();
    stop.abort();
    interrupted.done(new Error('stopped'));
    await running;
    const again = new AbortController();
    const leading = reconciler.run(again.signal);
    const call = await next();
    assert.equal(call.key, 'a');
    again.abort();
    call.done();
    await leading;
  });
});
