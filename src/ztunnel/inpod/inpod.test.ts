import assert from 'node:assert/strict';
import { once } from 'node:events';
import { openSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterEach, beforeEach, suite, test } from 'node:test';

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';

import { WorkloadRequestSchema, WorkloadResponseSchema, type WorkloadRequest } from '../../api/gen/istio/zds_pb.js';
import { createLogger } from '../../core/index.ts';
import {
  NetworkNamespace,
  connectTcp,
  listenSeqpacket,
  listenTcp,
  runCommand,
  type SeqpacketConnection,
  type SeqpacketListener,
} from '../../linux/index.ts';
import type { PodProxy } from '../proxy.ts';
import { runInPod, type Pod } from './index.ts';

/** The packets of the capture in order, as bytes. */
const captured = readFileSync(new URL('../../../test/fixtures/captures/zds.txt', import.meta.url), 'utf8')
  .split('\n')
  .map((line) => /^(?:client -> server|server -> client)\s+((?:[0-9a-f]{2} )*[0-9a-f]{2})\b/.exec(line)?.[1])
  .filter((hex) => hex !== undefined)
  .map((hex) => Buffer.from(hex.replaceAll(' ', ''), 'hex'));

type Payload = WorkloadRequest['payload'];
const request = (payload: unknown): Uint8Array =>
  toBinary(WorkloadRequestSchema, create(WorkloadRequestSchema, { payload: payload as Payload }));
const add = (uid: string): Uint8Array =>
  request({
    case: 'add',
    value: {
      $typeName: 'istio.workload.zds.AddWorkload',
      uid,
      workloadInfo: { $typeName: 'istio.workload.zds.WorkloadInfo', name: uid, namespace: 'demo', serviceAccount: 'default' },
    },
  });
const del = (uid: string): Uint8Array => request({ case: 'del', value: { $typeName: 'istio.workload.zds.DelWorkload', uid } });
const keep = (uid: string): Uint8Array => request({ case: 'keep', value: { $typeName: 'istio.workload.zds.KeepWorkload', uid } });
const snapshotSent = request({ case: 'snapshotSent', value: { $typeName: 'istio.workload.zds.SnapshotSent' } });

const hboneOpen = async (namespace: NetworkNamespace): Promise<boolean> => {
  try {
    (await connectTcp({ namespace, host: '127.0.0.1', port: 15008 })).destroy();
    return true;
  } catch {
    return false;
  }
};

/** Stands for a pod's proxy by what others see of it: a listener on 15008 in the pod. */
async function startProxy(pod: Pod): Promise<PodProxy> {
  const server = createServer((socket) => socket.end());
  server.listen({ fd: listenTcp({ namespace: pod.namespace, host: '0.0.0.0', port: 15008 }) }, 128);
  await once(server, 'listening');
  const stop = async (): Promise<void> => {
    server.close();
    await once(server, 'close');
  };
  return { uid: pod.uid, workloadInfo: pod.workloadInfo, drain: stop, [Symbol.asyncDispose]: stop };
}

suite('handover of pods', () => {
  const path = '/run/ztunnel.sock';
  let listener: SeqpacketListener;
  let stop: AbortController;
  let running: Promise<unknown>;
  let readiness: boolean[];
  let namespaces: NetworkNamespace[];
  let becameReady: PromiseWithResolvers<void>;

  beforeEach(() => {
    listener = listenSeqpacket({ path });
    stop = new AbortController();
    readiness = [];
    namespaces = [];
    becameReady = Promise.withResolvers();
    running = runInPod({
      path,
      start: startProxy,
      onReady: (ready) => {
        if (readiness.at(-1) !== ready) readiness.push(ready);
        if (ready) becameReady.resolve();
      },
      drainDeadlineMs: 1000,
      retryMs: 20,
      log: createLogger('inpod-test'),
      signal: stop.signal,
    }).catch((error: unknown) => error);
  });
  afterEach(async () => {
    stop.abort();
    await running;
    listener.close();
    for (const namespace of namespaces) namespace[Symbol.dispose]();
  });

  async function pod(): Promise<NetworkNamespace> {
    const namespace = NetworkNamespace.create();
    namespaces.push(namespace);
    await runCommand('ip', ['link', 'set', 'lo', 'up'], { namespace });
    return namespace;
  }
  async function connection(): Promise<SeqpacketConnection> {
    const accepted = await listener.accept();
    assert.ok(accepted !== undefined);
    assert.deepEqual((await accepted.receive())?.data, captured[0]);
    return accepted;
  }
  async function ask(agent: SeqpacketConnection, packet: Uint8Array, descriptors: number[] = []): Promise<string> {
    await agent.send(packet, descriptors);
    const answer = await agent.receive();
    assert.ok(answer !== undefined, 'the connection ended without an answer');
    const { payload } = fromBinary(WorkloadResponseSchema, answer.data);
    return payload.value?.error ?? 'no ack';
  }

  test('the conversation of the capture, byte for byte', async () => {
    const [hello, snapshot, ackOfSnapshot, addition, ackOfAddition, ...rest] = captured;
    assert.ok(hello && snapshot && ackOfSnapshot && addition && ackOfAddition);
    assert.equal(rest.length, 0);
    const namespace = await pod();
    const agent = await connection();
    await agent.send(snapshot);
    assert.deepEqual((await agent.receive())?.data, ackOfSnapshot);
    await agent.send(addition, [namespace.fd]);
    assert.deepEqual((await agent.receive())?.data, ackOfAddition);
    assert.ok(await hboneOpen(namespace));
    assert.deepEqual(readiness, [false, true].slice(readiness[0] === false ? 0 : 1));
  });

  test('a deleted pod is no longer served, also one that was never there', async () => {
    const namespace = await pod();
    const agent = await connection();
    assert.equal(await ask(agent, add('a'), [namespace.fd]), '');
    assert.equal(await ask(agent, snapshotSent), '');
    assert.ok(await hboneOpen(namespace));
    assert.equal(await ask(agent, del('a')), '');
    assert.equal(await hboneOpen(namespace), false);
    assert.equal(await ask(agent, del('never')), '');
  });

  test('the same pod again changes nothing; with another namespace it moves', async () => {
    const [first, second] = [await pod(), await pod()];
    const agent = await connection();
    assert.equal(await ask(agent, snapshotSent), '');
    assert.equal(await ask(agent, add('a'), [first.fd]), '');
    assert.equal(await ask(agent, add('a'), [first.fd]), '');
    assert.ok(await hboneOpen(first));
    assert.equal(await ask(agent, add('a'), [second.fd]), '');
    assert.ok(await hboneOpen(second));
    assert.equal(await hboneOpen(first), false);
  });

  test('pods outlive the connection; the next snapshot stops those it does not name', async () => {
    const [a, b, c] = [await pod(), await pod(), await pod()];
    const first = await connection();
    for (const [uid, namespace] of [
      ['a', a],
      ['b', b],
      ['c', c],
    ] as const)
      assert.equal(await ask(first, add(uid), [namespace.fd]), '');
    assert.equal(await ask(first, snapshotSent), '');
    first.close();
    const second = await connection();
    assert.ok((await Promise.all([a, b, c].map(hboneOpen))).every(Boolean), 'served while the agent was away');
    assert.equal(readiness.at(-1), false);
    assert.equal(await ask(second, add('a'), [a.fd]), '');
    assert.equal(await ask(second, keep('b')), '');
    assert.equal(await ask(second, snapshotSent), '');
    assert.equal(readiness.at(-1), true);
    assert.deepEqual(await Promise.all([a, b, c].map(hboneOpen)), [true, true, false]);
  });

  test('a proxy that cannot start is pending until it can', async () => {
    const namespace = await pod();
    const blocker = createServer().unref();
    blocker.listen({ fd: listenTcp({ namespace, host: '0.0.0.0', port: 15008 }) });
    await once(blocker, 'listening');
    const agent = await connection();
    assert.match(await ask(agent, add('a'), [namespace.fd]), /^failure to start proxy : .*EADDRINUSE/);
    assert.equal(await ask(agent, snapshotSent), '');
    assert.equal(readiness.at(-1), false, 'not ready while a pod is pending');
    blocker.close();
    await once(blocker, 'close');
    await becameReady.promise;
    assert.equal(readiness.at(-1), true);
    assert.ok(await hboneOpen(namespace));
    assert.equal(await ask(agent, del('a')), '');
  });

  for (const [name, packet, descriptors, expected] of [
    ['an add without descriptor', add('a'), 0, 'failure to read message : No control message'],
    ['an add with two', add('a'), 2, 'failure to read message : Expected 1 FD, got 2'],
    ['a delete with a descriptor', del('a'), 1, 'failure to read message : Unexpected control message'],
    ['no payload', new Uint8Array([0x7a, 0x01, 0x00]), 0, 'failure to read message : no payload'],
    ['garbage', new Uint8Array([0xff, 0xff, 0xff]), 0, 'failure to read message : failed to decode Protobuf message'],
    ['a packet that is too long', add('x'.repeat(1100)), 1, 'failure to read message : received truncated message'],
  ] as const) {
    test(`${name} is refused, and the connection made anew`, async () => {
      const namespace = await pod();
      const agent = await connection();
      const before = readdirSync('/proc/self/fd').length;
      assert.ok((await ask(agent, packet, Array<number>(descriptors).fill(namespace.fd))).startsWith(expected));
      assert.equal(await agent.receive(), undefined);
      agent.close();
      const again = await connection();
      assert.equal(readdirSync('/proc/self/fd').length, before, 'no descriptor is left open');
      assert.equal(await ask(again, snapshotSent), '');
    });
  }

  test('a descriptor that is no network namespace is refused', async () => {
    const agent = await connection();
    assert.match(await ask(agent, add('a'), [openSync('/dev/null', 'r')]), /^failure to read message : /);
  });

  for (const [name, packets] of [
    ['keep after the snapshot', [snapshotSent, keep('a')]],
    ['a second snapshot-sent', [snapshotSent, snapshotSent]],
  ] as const) {
    test(`${name} ends it`, async () => {
      const agent = await connection();
      for (const packet of packets.slice(0, -1)) assert.equal(await ask(agent, packet), '');
      assert.match(await ask(agent, packets[packets.length - 1] ?? new Uint8Array()), /^failure to process message : /);
      assert.equal(((await running) as { code: string }).code, 'ZTUNNEL_ZDS_PROTOCOL');
    });
  }

  test('an add without workload info ends it', async () => {
    const namespace = await pod();
    const agent = await connection();
    const packet = request({ case: 'add', value: { $typeName: 'istio.workload.zds.AddWorkload', uid: 'a' } });
    assert.match(await ask(agent, packet, [namespace.fd]), /workload_info is required/);
    assert.equal(((await running) as { code: string }).code, 'ZTUNNEL_ZDS_PROTOCOL');
  });

  test('stopping drains the pods', async () => {
    const namespace = await pod();
    const agent = await connection();
    assert.equal(await ask(agent, add('a'), [namespace.fd]), '');
    stop.abort();
    assert.equal(await running, undefined);
    assert.equal(await hboneOpen(namespace), false);
  });
});
