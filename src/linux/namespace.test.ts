import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { openSync, readlinkSync, readdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';

import { IsthmusError } from '../core/index.ts';
import { NetworkNamespace, SyscallError, runCommand, spawnInside, unmount } from './index.ts';

const namespaceOfThread = (): string => readlinkSync('/proc/thread-self/ns/net');
const openDescriptors = (): number => readdirSync('/proc/self/fd').length;

test('a function runs inside, and the thread is back after it', () => {
  const home = namespaceOfThread();
  using namespace = NetworkNamespace.create();
  const there = namespace.runInside(namespaceOfThread);
  assert.equal(there, `net:[${namespace.inode}]`);
  assert.notEqual(there, home);
  assert.equal(namespaceOfThread(), home);
  assert.deepEqual(namespace.runInside(networkInterfaces), {}, 'a new namespace has only a loopback interface, which is down');
});

test('the thread is back after an exception', () => {
  const home = namespaceOfThread();
  using namespace = NetworkNamespace.create();
  assert.throws(
    () =>
      namespace.runInside(() => {
        throw new Error('boom');
      }),
    /boom/,
  );
  assert.equal(namespaceOfThread(), home);
});

test('windows nest', () => {
  using a = NetworkNamespace.create();
  using b = NetworkNamespace.create();
  const seen = a.runInside(() => [namespaceOfThread(), b.runInside(namespaceOfThread), namespaceOfThread()]);
  assert.deepEqual(seen, [`net:[${a.inode}]`, `net:[${b.inode}]`, `net:[${a.inode}]`]);
});

test('an asynchronous function is refused', () => {
  using namespace = NetworkNamespace.create();
  assert.throws(
    () =>
      namespace.runInside(async () => {
        await Promise.resolve();
      }),
    { code: 'ISTHMUS_INTERNAL' },
  );
});

test('the threads of the pool stay in the namespace of the process', async () => {
  // A process of its own, whose pool nobody has used before its first window.
  const index = new URL('./index.ts', import.meta.url).href;
  const program = `
    const { NetworkNamespace } = await import(${JSON.stringify(index)});
    const { readlink } = await import('node:fs/promises');
    const { readlinkSync } = await import('node:fs');
    const namespace = NetworkNamespace.create();
    const pending = namespace.runInside(() => [1, 2, 3, 4].map(() => readlink('/proc/thread-self/ns/net')));
    const home = readlinkSync('/proc/thread-self/ns/net');
    process.stdout.write(String((await Promise.all(pending)).every((seen) => seen === home)));`;
  assert.equal(await runCommand(process.execPath, ['--input-type=module', '-e', program]), 'true');
});

test('identity tells namespaces apart and knows the same one again', async () => {
  using a = NetworkNamespace.create();
  using b = NetworkNamespace.create();
  using again = NetworkNamespace.open(`/proc/self/fd/${a.fd}`);
  assert.ok(a.equals(again));
  assert.ok(!a.equals(b));
  const child = spawnInside(a, 'sleep', ['60']);
  using ofChild = NetworkNamespace.ofProcess(child.pid ?? 0);
  assert.ok(ofChild.equals(a));
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('close', resolve));
});

test('a name keeps it alive', async () => {
  const path = `/run/named-${process.pid}`;
  const first = NetworkNamespace.create();
  const { inode } = first;
  first.bindTo(path);
  first[Symbol.dispose]();
  {
    using named = NetworkNamespace.open(path);
    assert.equal(named.inode, inode);
    assert.match(execFileSync('nsenter', [`--net=${path}`, 'readlink', '/proc/self/ns/net']).toString(), new RegExp(String(inode)));
  }
  unmount(path);
  assert.equal(await readFile(path, 'utf8'), '');
});

test('what is not a network namespace is refused, and its descriptor closed', async () => {
  await writeFile('/run/plain', '');
  const before = openDescriptors();
  assert.throws(
    () => NetworkNamespace.fromDescriptor(openSync('/run/plain', 'r')),
    (error) => error instanceof SyscallError && error.errno === 'ENOTTY' && error.code === 'LINUX_SYSCALL',
  );
  assert.throws(
    () => NetworkNamespace.open('/proc/self/ns/mnt'),
    (error) => error instanceof IsthmusError && error.code === 'LINUX_NOT_A_NAMESPACE',
  );
  assert.equal(openDescriptors(), before);
});

test('use after dispose is an error', () => {
  const namespace = NetworkNamespace.create();
  namespace[Symbol.dispose]();
  namespace[Symbol.dispose]();
  assert.throws(() => namespace.fd, { code: 'ISTHMUS_INTERNAL' });
  assert.throws(() => namespace.runInside(() => 1), { code: 'ISTHMUS_INTERNAL' });
});

test('a command that fails says what it said', async () => {
  await assert.rejects(
    runCommand('ip', ['link', 'show', 'nothing0']),
    (error) => error instanceof IsthmusError && error.code === 'LINUX_COMMAND_FAILED' && error.message.includes('does not exist'),
  );
  await assert.rejects(runCommand('/no/such/program', []), { code: 'LINUX_COMMAND_FAILED', hint: 'is /no/such/program installed?' });
});
