import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { test, type TestContext } from 'node:test';

import fc from 'fast-check';

import type { AnyObject } from '../../../api/kubernetes.ts';
import { Bucket } from './bucket.ts';
import { Store } from './store.ts';

const bucketName = 'configmaps.';

function object(name: string, value: string): AnyObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' }, data: { value } };
}

function databaseFile(t: TestContext): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'store-'));
  t.after(() => {
    rmSync(directory, { recursive: true });
  });
  return path.join(directory, 'state.db');
}

void test('what was acknowledged is there after kill -9, and versions go on', async (t) => {
  const file = databaseFile(t);
  const script = `
    import { Store } from ${JSON.stringify(new URL('./store.ts', import.meta.url).href)};
    const store = new Store({ path: ${JSON.stringify(file)} });
    for (let i = 0; ; i++) {
      const stored = store.put('configmaps.', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'n' + i, namespace: 'default' } });
      const gone = i % 3 === 2 ? store.remove('configmaps.', stored.object).version : 0;
      process.stdout.write(JSON.stringify({ i, version: stored.version, gone }) + '\\n');
      await new Promise((resolve) => setImmediate(resolve));
    }`;
  const writer = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const acknowledged: { i: number; version: number; gone: number }[] = [];
  for await (const line of createInterface({ input: writer.stdout })) {
    acknowledged.push(JSON.parse(line) as { i: number; version: number; gone: number });
    if (acknowledged.length === 200) writer.kill('SIGKILL');
  }
  if (writer.exitCode === null && writer.signalCode === null) await once(writer, 'exit');
  assert.equal(writer.signalCode, 'SIGKILL');

  using store = new Store({ path: file });
  for (const { i, version, gone } of acknowledged) {
    const found = store.get(bucketName, 'default', `n${i}`);
    if (gone === 0) assert.equal(found?.version, version, `n${i}`);
    else assert.equal(found, undefined, `n${i}`);
  }
  const last = Math.max(...acknowledged.map(({ version, gone }) => Math.max(version, gone)));
  assert.ok(store.version >= last);
  assert.ok(store.put(bucketName, object('after', '')).version > last);
});

void test('a removal is the last write: its version is not given out again', (t) => {
  const file = databaseFile(t);
  let gone: number;
  {
    using store = new Store({ path: file });
    const { object: kept } = store.put(bucketName, object('a', '1'));
    gone = store.remove(bucketName, kept).version;
  }
  using store = new Store({ path: file });
  assert.equal(store.version, gone);
  assert.equal(statSync(file).mode & 0o777, 0o600);
});

void test('a bucket tells what it was at any version of its window, and refuses what is older', () => {
  const step = fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd'), value: fc.option(fc.string({ maxLength: 3 }), { nil: undefined }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 2, max: 20 }), (steps, count) => {
      using store = new Store({ path: ':memory:', window: { count, characters: 1e6 } });
      const bucket = store.bucket(bucketName);
      const past = new Map<number, string>();
      const remember = (): void => void past.set(store.version, JSON.stringify(bucket.all().map((stored) => stored.json)));
      remember();
      for (const { name, value } of steps) {
        const present = bucket.get('default', name);
        if (value !== undefined) store.put(bucketName, object(name, value));
        else if (present !== undefined) store.remove(bucketName, present.object);
        remember();
      }
      for (const [version, state] of past) {
        const then = bucket.at(version);
        if (version < bucket.floor) assert.equal(then, undefined);
        else assert.equal(JSON.stringify(then?.map((stored) => stored.json)), state);
      }
      assert.ok((bucket.changesAfter(bucket.floor)?.length ?? 0) <= count);
    }),
  );
});

void test('the history is bounded by its size as well', () => {
  const bucket = new Bucket({ name: bucketName, floor: 0, window: { count: 1000, characters: 10_000 } });
  for (let version = 1; version <= 100; version++) {
    const large = object('a', 'x'.repeat(1000));
    bucket.put({ object: large, version, json: JSON.stringify(large) });
  }
  assert.ok(bucket.floor > 80, `floor is ${bucket.floor}`);
  assert.equal(bucket.changesAfter(bucket.floor - 1), undefined);
  assert.equal(bucket.changesAfter(99)?.length, 1);
});
