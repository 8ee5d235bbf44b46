import assert from 'node:assert/strict';
import { closeSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, suite, test } from 'node:test';

import { createLogger } from '../core/index.ts';
import { NetworkNamespace, connectSeqpacket, type SeqpacketConnection } from '../linux/index.ts';
import { ZdsServer, type ZdsPod } from './zds-server.ts';

/** The packets of the capture, by what they are. */
const captured = readFileSync(new URL('../../test/fixtures/captures/zds.txt', import.meta.url), 'utf8')
  .split('\n')
  .map((line) => /^(?:client -> server|server -> client)\s+((?:[0-9a-f]{2} )*[0-9a-f]{2})\b/.exec(line)?.[1])
  .filter((hex) => hex !== undefined)
  .map((hex) => Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const [hello = Buffer.alloc(0), snapshotSent = Buffer.alloc(0), ack = Buffer.alloc(0), addition = Buffer.alloc(0)] = captured;
const deletion = (uid: string): Buffer =>
  Buffer.from(`\x12${String.fromCharCode(2 + uid.length)}\x12${String.fromCharCode(uid.length)}${uid}`, 'latin1');
const refusal = Buffer.from('\x0a\x06\x0a\x04nope', 'latin1');

suite('ZDS server', () => {
  const path = '/run/zds-server.sock';
  let server: ZdsServer;
  let netns: NetworkNamespace;
  let connected: number;
  let onConnected: () => void;
  const clients: SeqpacketConnection[] = [];

  beforeEach(() => {
    connected = 0;
    onConnected = () => undefined;
    netns = NetworkNamespace.create();
    server = new ZdsServer({
      path,
      log: createLogger('zds-test'),
      answerTimeoutMs: 200,
      onConnected: () => {
        connected++;
        onConnected();
      },
    });
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
    server.close();
    netns[Symbol.dispose]();
  });

  /** The pod of the capture, or one with another UID of the same length. */
  const pod = (uid = 'uid-0'): ZdsPod => ({ uid, name: 'global-service-x', namespace: 'demo', serviceAccount: 'default', netns });
  const added = (uid: string): Buffer => Buffer.from(addition.toString('latin1').replace('uid-0', uid), 'latin1');

  function connect(): SeqpacketConnection {
    const client = connectSeqpacket(path);
    clients.push(client);
    return client;
  }
  async function next(client: SeqpacketConnection): Promise<{ data: Buffer; descriptors: number }> {
    const message = await client.receive();
    assert.ok(message !== undefined, 'the connection ended');
    for (const descriptor of message.descriptors) {
      using received = NetworkNamespace.fromDescriptor(descriptor);
      assert.ok(received.equals(netns));
    }
    return { data: message.data, descriptors: message.descriptors.length };
  }
  /** Takes one packet, which has to be this one, and answers it. */
  async function expect(client: SeqpacketConnection, data: Buffer, answer = ack): Promise<void> {
    const message = await next(client);
    assert.deepEqual(message.data, data);
    assert.equal(message.descriptors, data[0] === 0x0a ? 1 : 0, 'an addition carries one descriptor, all else none');
    if (answer.length > 0) await client.send(answer);
  }
  /** A ztunnel that has the snapshot. */
  async function synced(...uids: string[]): Promise<SeqpacketConnection> {
    const before = connected;
    const complete = Promise.withResolvers<undefined>();
    onConnected = () => complete.resolve(undefined);
    const client = connect();
    await client.send(hello);
    for (const uid of uids) await expect(client, added(uid));
    await expect(client, snapshotSent);
    await complete.promise;
    assert.equal(connected, before + 1);
    return client;
  }

  test('the conversation of the capture, byte for byte, and a removal', async () => {
    server.listen();
    const client = await synced();
    const adding = server.add(pod());
    await expect(client, addition);
    await adding;
    const deleting = server.delete('uid-0');
    await expect(client, deletion('uid-0'));
    await deleting;
  });

  test('the snapshot holds the pods there are, after those to be kept', async () => {
    server.keep('uid-9');
    server.remember(pod('uid-1'));
    server.remember(pod('uid-2'));
    server.listen();
    const client = connect();
    await client.send(hello);
    await expect(client, Buffer.from('\x2a\x07\x0a\x05uid-9', 'latin1'));
    await expect(client, added('uid-1'));
    await expect(client, added('uid-2'));
    await expect(client, snapshotSent);
  });

  test('without a ztunnel an addition fails, and is in the next snapshot', async () => {
    server.listen();
    await assert.rejects(server.add(pod('uid-1')), { code: 'CNI_NO_ZTUNNEL' });
    await synced('uid-1');
  });

  test('a refused addition says why; a refused pod of a snapshot does not hold up the others', async () => {
    server.listen();
    const client = await synced();
    const adding = assert.rejects(
      server.add(pod('uid-1')),
      (error: Error & { code?: string }) => error.code === 'CNI_ZTUNNEL_REFUSED' && error.message.includes('nope'),
    );
    await expect(client, added('uid-1'), refusal);
    await adding;
    server.remember(pod('uid-2'));
    const other = connect();
    await other.send(hello);
    await expect(other, added('uid-1'), refusal);
    await expect(other, added('uid-2'));
    await expect(other, snapshotSent);
  });

  test('an answer that comes too late is not taken for the next one', async () => {
    server.listen();
    const client = await synced();
    const first = assert.rejects(server.add(pod('uid-1')), { code: 'CNI_ZTUNNEL_TIMEOUT' });
    await expect(client, added('uid-1'), Buffer.alloc(0));
    await first;
    const second = server.add(pod('uid-2'));
    await expect(client, added('uid-2'), Buffer.alloc(0));
    await client.send(refusal);
    await client.send(ack);
    await second;
  });

  test('with two ztunnels additions go to the newest, removals to both; the old one catches up when the newest goes', async () => {
    server.remember(pod('uid-1'));
    server.listen();
    const old = await synced('uid-1');
    const newest = await synced('uid-1');
    const adding = server.add(pod('uid-2'));
    await expect(newest, added('uid-2'));
    await adding;
    const deleting = server.delete('uid-1');
    await Promise.all([expect(old, deletion('uid-1')), expect(newest, deletion('uid-1'))]);
    await deleting;
    newest.close();
    await expect(old, added('uid-2'));
    const another = server.add(pod('uid-3'));
    await expect(old, added('uid-3'));
    await another;
  });

  test('a change during the snapshot comes after it', async () => {
    server.remember(pod('uid-1'));
    server.listen();
    const client = connect();
    await client.send(hello);
    await expect(client, added('uid-1'), Buffer.alloc(0));
    const deleting = server.delete('uid-1');
    await client.send(ack);
    await expect(client, snapshotSent);
    await expect(client, deletion('uid-1'));
    await deleting;
  });

  for (const [name, packet] of [
    ['another version', Buffer.from([0x08, 0x02])],
    ['garbage', Buffer.from([0xff, 0xff])],
  ] as const) {
    test(`a client that says hello with ${name} is closed`, async () => {
      server.listen();
      const client = connect();
      await client.send(packet);
      assert.equal(await client.receive(), undefined);
      await synced();
    });
  }

  test('a client that says nothing is closed, and does not count as connected', async () => {
    server.listen();
    const client = connect();
    await assert.rejects(server.add(pod('uid-1')), { code: 'CNI_NO_ZTUNNEL' });
    assert.equal(await client.receive(), undefined);
    assert.equal(server.connected, false);
  });

  test('garbage in place of an answer ends the connection', async () => {
    server.listen();
    const client = await synced();
    const adding = assert.rejects(server.add(pod('uid-1')), { code: 'CNI_NO_ZTUNNEL' });
    await expect(client, added('uid-1'), Buffer.from([0xff, 0xff, 0xff]));
    await adding;
    assert.equal(await client.receive(), undefined);
  });

  test('a descriptor is a copy: the agent may close its own', async () => {
    server.listen();
    const client = await synced();
    const adding = server.add(pod('uid-1'));
    const message = await client.receive();
    const [descriptor = -1] = message?.descriptors ?? [];
    assert.notEqual(descriptor, netns.fd);
    closeSync(descriptor);
    await client.send(ack);
    await adding;
    assert.equal(
      netns.runInside(() => 1),
      1,
    );
  });
});
