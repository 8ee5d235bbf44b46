import assert from 'node:assert/strict';
import { existsSync, fstatSync, readdirSync, statSync } from 'node:fs';
import { suite, test } from 'node:test';

import fc from 'fast-check';

import { NetworkNamespace, connectSeqpacket, listenSeqpacket, type SeqpacketConnection } from './index.ts';

let next = 0;
async function connected(maxPacket?: number): Promise<{ client: SeqpacketConnection; server: SeqpacketConnection } & Disposable> {
  const path = `/run/seqpacket-${process.pid}-${next++}`;
  const options = maxPacket === undefined ? {} : { maxPacket };
  const listener = listenSeqpacket({ path, ...options });
  const client = connectSeqpacket(path, options);
  const server = await listener.accept();
  assert.ok(server !== undefined);
  return {
    client,
    server,
    [Symbol.dispose]: () => {
      client.close();
      server.close();
      listener.close();
    },
  };
}
const text = (data: Buffer | undefined): string => String(data);

suite('SEQPACKET', () => {
  test('packets keep their borders and order, both ways', async () => {
    using pair = await connected();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1, maxLength: 3000 }), { maxLength: 20 }), async (packets) => {
        for (const [from, to] of [
          [pair.client, pair.server],
          [pair.server, pair.client],
        ] as const) {
          const sent = Promise.all(packets.map((packet) => from.send(packet)));
          for (const packet of packets) assert.deepEqual((await to.receive())?.data, Buffer.from(packet));
          await sent;
        }
      }),
      { numRuns: 50 },
    );
  });

  test('a receiver that waits gets what comes later', async () => {
    using pair = await connected();
    const waiting = [pair.server.receive(), pair.server.receive()];
    await pair.client.send(Buffer.from('one'));
    await pair.client.send(Buffer.from('two'));
    assert.deepEqual(
      (await Promise.all(waiting)).map((message) => text(message?.data)),
      ['one', 'two'],
    );
  });

  test('descriptors come along and stand for the same thing', async () => {
    using pair = await connected();
    using namespace = NetworkNamespace.create();
    await pair.server.send(Buffer.from('here'), [namespace.fd]);
    await pair.server.send(Buffer.from('and two'), [namespace.fd, 1]);
    const one = await pair.client.receive();
    const two = await pair.client.receive();
    assert.equal(one?.descriptors.length, 1);
    assert.equal(two?.descriptors.length, 2);
    const [first = -1] = one.descriptors;
    const [second = -1, third = -1] = two.descriptors;
    using received = NetworkNamespace.fromDescriptor(first);
    assert.ok(received.equals(namespace));
    assert.notEqual(first, namespace.fd);
    using again = NetworkNamespace.fromDescriptor(second);
    assert.ok(again.equals(namespace));
    assert.equal(fstatSync(third).ino, fstatSync(1).ino);
    assert.equal(one.truncated, false);
  });

  test('a packet that is too long is marked', async () => {
    using pair = await connected(1024);
    await pair.client.send(Buffer.alloc(1024, 1));
    await pair.client.send(Buffer.alloc(1025, 1));
    assert.equal((await pair.server.receive())?.truncated, false);
    const long = await pair.server.receive();
    assert.equal(long?.truncated, true);
    assert.equal(long.data.length, 1024);
  });

  test('a slow reader holds the sender up, and nothing is lost', async () => {
    using pair = await connected();
    const packet = Buffer.alloc(4096, 7);
    let sent = 0;
    const all = Promise.all(
      Array.from({ length: 500 }, async () => {
        await pair.client.send(packet);
        sent++;
      }),
    );
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(sent < 500, `${sent} were taken at once`);
    for (let index = 0; index < 500; index++) assert.equal((await pair.server.receive())?.data.length, 4096);
    await all;
  });

  test('the end of one side reaches the other, also while it waits', async () => {
    using pair = await connected();
    const waiting = pair.server.receive();
    pair.client.close();
    assert.equal(await waiting, undefined);
    assert.equal(await pair.client.receive(), undefined);
    await assert.rejects(pair.server.send(Buffer.from('x')), { errno: 'EPIPE' });
    await assert.rejects(pair.client.send(Buffer.from('x')), { errno: 'EBADF' });
  });

  test('closing ends a receive and an accept of its own', async () => {
    using pair = await connected();
    const waiting = pair.server.receive();
    pair.server.close();
    assert.equal(await waiting, undefined);
    const listener = listenSeqpacket({ path: '/run/closing' });
    const accepting = listener.accept();
    listener.close();
    assert.equal(await accepting, undefined);
    assert.ok(!existsSync('/run/closing'));
  });

  test('a left-over file is replaced, the mode is set, a missing listener is told', () => {
    using first = listenSeqpacket({ path: '/run/leftover' });
    assert.ok(statSync('/run/leftover').isSocket());
    using second = listenSeqpacket({ path: '/run/leftover', mode: 0o660 });
    assert.equal(statSync('/run/leftover').mode & 0o777, 0o660);
    second.close();
    first.close();
    assert.throws(() => connectSeqpacket('/run/leftover'), { errno: 'ENOENT' });
    assert.throws(() => connectSeqpacket(`/run/${'x'.repeat(120)}`), { code: 'ISTHMUS_CONFIG_INVALID' });
  });

  test('nothing is left open', async () => {
    const before = readdirSync('/proc/self/fd').length;
    for (let index = 0; index < 20; index++) {
      using pair = await connected();
      await pair.client.send(Buffer.from('x'));
      await pair.server.receive();
    }
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(readdirSync('/proc/self/fd').length, before);
  });
});
