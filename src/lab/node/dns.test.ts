import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';

import { decode, encode, streamDecode, streamEncode, type Answer, type DecodedPacket, type Packet, type RecordType } from 'dns-packet';

import type { EndpointSlice, Namespace, Service } from '../../api/kubernetes.ts';
import { createLogger } from '../../core/index.ts';
import { DnsDirectory } from './dns-directory.ts';
import { encodeReply, parseQuery } from './dns-message.ts';
import { serveDns } from './dns-server.ts';
import { answerFromZone, noSuchName } from './dns-zone.ts';

const zone = { domain: 'cluster.local', address: '10.255.10.10' };

const namespace = (name: string): Namespace => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });

function service(name: string, spec: NonNullable<Service['spec']>): Service {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'demo' }, spec };
}

function slice(name: string, endpoints: NonNullable<EndpointSlice['endpoints']>): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${name}-x`, namespace: 'demo', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints,
  };
}

const many = Array.from({ length: 60 }, (_, i) => ({ addresses: [`10.10.2.${i}`] }));
const directory = new DnsDirectory({
  namespaces: [namespace('demo'), namespace('empty')],
  services: [
    service('web', {
      clusterIP: '10.255.10.24',
      ports: [
        { name: 'http', port: 80 },
        { name: 'dns', port: 53, protocol: 'UDP' },
      ],
    }),
    service('db', { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] }),
    service('crowd', { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] }),
    service('away', { type: 'ExternalName', externalName: 'example.com' }),
    service('alias', { type: 'ExternalName', externalName: 'web.demo.svc.cluster.local' }),
    service('loop', { type: 'ExternalName', externalName: 'loop.demo.svc.cluster.local' }),
  ],
  slices: [
    slice('web', [{ addresses: ['10.10.0.2'] }]),
    slice('db', [
      { addresses: ['10.10.0.3'], hostname: 'db-0' },
      { addresses: ['10.10.0.4'], conditions: { ready: true } },
      { addresses: ['10.10.0.5'], conditions: { ready: false } },
    ]),
    slice('crowd', many),
  ],
});

const stop = new AbortController();
let port = 0;
let serving: Promise<void> = Promise.resolve();

before(async () => {
  const log = createLogger('test');
  const { promise, resolve } = Promise.withResolvers<number>();
  serving = serveDns({
    address: '127.0.0.1',
    port: 0,
    log,
    signal: stop.signal,
    onListening: resolve,
    respond: (message, transport) => {
      const parsed = parseQuery(message);
      if (parsed === undefined || 'error' in parsed) return Promise.resolve(parsed?.error);
      const [question] = parsed.query.questions ?? [];
      assert.ok(question);
      return Promise.resolve(encodeReply(parsed.query, answerFromZone(question, directory, zone) ?? noSuchName(''), transport));
    },
  });
  port = await promise;
});

after(async () => {
  stop.abort();
  await serving;
});

async function askUdpRaw(bytes: Buffer, timeout = 2000): Promise<Buffer> {
  const socket = createSocket('udp4');
  try {
    socket.send(bytes, port, '127.0.0.1');
    const [answer] = (await once(socket, 'message', { signal: AbortSignal.timeout(timeout) })) as [Buffer];
    return answer;
  } finally {
    socket.close();
  }
}

async function ask(name: string, type: RecordType, more: Partial<Packet> = {}): Promise<DecodedPacket & { rcode: string }> {
  const answer = decode(await askUdpRaw(encode({ type: 'query', id: 4711, flags: 0x0100, questions: [{ name, type }], ...more })));
  assert.equal(answer.id, 4711);
  // The types leave out what decode adds.
  return answer as DecodedPacket & { rcode: string };
}

/** An answer as a line: `A 10.0.0.1`, `SRV 80 host`. */
function line(answer: Answer): string {
  if (answer.type === 'SRV') return `SRV ${answer.data.port} ${answer.data.target}`;
  if (answer.type === 'TXT') return `TXT ${String(answer.data)}`;
  return 'data' in answer && typeof answer.data === 'string' ? `${answer.type} ${answer.data}` : answer.type;
}

const none: string[] = [];
const svc = 'svc.cluster.local';
const cases: readonly [name: string, type: RecordType, rcode: string, answers: string[]][] = [
  [`web.demo.${svc}`, 'A', 'NOERROR', ['A 10.255.10.24']],
  [`WEB.Demo.${svc}`, 'A', 'NOERROR', ['A 10.255.10.24']],
  [`web.demo.${svc}`, 'AAAA', 'NOERROR', none],
  [`web.demo.${svc}`, 'SRV', 'NOERROR', [`SRV 53 web.demo.${svc}`, `SRV 80 web.demo.${svc}`]],
  [`_http._tcp.web.demo.${svc}`, 'SRV', 'NOERROR', [`SRV 80 web.demo.${svc}`]],
  [`_dns._udp.web.demo.${svc}`, 'SRV', 'NOERROR', [`SRV 53 web.demo.${svc}`]],
  [`_dns._tcp.web.demo.${svc}`, 'SRV', 'NXDOMAIN', none],
  [`_tcp.web.demo.${svc}`, 'A', 'NOERROR', none],
  [`nope.demo.${svc}`, 'A', 'NXDOMAIN', none],
  [`web.empty.${svc}`, 'A', 'NXDOMAIN', none],
  [`demo.${svc}`, 'A', 'NOERROR', none],
  [`nowhere.${svc}`, 'A', 'NXDOMAIN', none],
  [svc, 'A', 'NOERROR', none],
  [`db.demo.${svc}`, 'A', 'NOERROR', ['A 10.10.0.3', 'A 10.10.0.4']],
  [`db-0.db.demo.${svc}`, 'A', 'NOERROR', ['A 10.10.0.3']],
  [`10-10-0-4.db.demo.${svc}`, 'A', 'NOERROR', ['A 10.10.0.4']],
  [`10-10-0-5.db.demo.${svc}`, 'A', 'NXDOMAIN', none],
  [`_http._tcp.db.demo.${svc}`, 'SRV', 'NOERROR', [`SRV 8080 10-10-0-4.db.demo.${svc}`, `SRV 8080 db-0.db.demo.${svc}`]],
  [`away.demo.${svc}`, 'A', 'NOERROR', ['CNAME example.com']],
  [`away.demo.${svc}`, 'CNAME', 'NOERROR', ['CNAME example.com']],
  [`alias.demo.${svc}`, 'A', 'NOERROR', ['A 10.255.10.24', `CNAME web.demo.${svc}`]],
  [`loop.demo.${svc}`, 'A', 'SERVFAIL', none],
  ['10-10-0-9.demo.pod.cluster.local', 'A', 'NOERROR', ['A 10.10.0.9']],
  ['10-10-0-9.nowhere.pod.cluster.local', 'A', 'NXDOMAIN', none],
  ['10-10-0-999.demo.pod.cluster.local', 'A', 'NXDOMAIN', none],
  ['24.10.255.10.in-addr.arpa', 'PTR', 'NOERROR', [`PTR web.demo.${svc}`]],
  ['3.0.10.10.in-addr.arpa', 'PTR', 'NOERROR', [`PTR db-0.db.demo.${svc}`]],
  ['4.0.10.10.in-addr.arpa', 'PTR', 'NOERROR', [`PTR 10-10-0-4.db.demo.${svc}`]],
  ['9.9.9.9.in-addr.arpa', 'PTR', 'NXDOMAIN', none],
  ['cluster.local', 'SOA', 'NOERROR', ['SOA']],
  ['cluster.local', 'NS', 'NOERROR', ['NS ns.dns.cluster.local']],
  ['ns.dns.cluster.local', 'A', 'NOERROR', ['A 10.255.10.10']],
  ['dns-version.cluster.local', 'TXT', 'NOERROR', ['TXT 1.1.0']],
  ['example.com', 'A', 'NXDOMAIN', none],
  ['global-service.demo.mesh.internal', 'A', 'NXDOMAIN', none],
  ['xcluster.local', 'A', 'NXDOMAIN', none],
];
for (const [name, type, rcode, expected] of cases) {
  void test(`${type} ${name}`, async () => {
    const answer = await ask(name, type);
    assert.equal(answer.rcode, rcode);
    assert.deepEqual((answer.answers ?? []).map(line).sort(), expected);
    if (expected.length === 0 && rcode !== 'SERVFAIL')
      assert.equal(answer.authorities?.[0]?.type, 'SOA', 'a negative answer says how long it may be kept');
    assert.equal(answer.questions?.[0]?.name, name, 'the question comes back as it was written');
  });
}

void test('an SRV answer brings the addresses of its targets along', async () => {
  const answer = await ask(`_http._tcp.db.demo.${svc}`, 'SRV');
  assert.deepEqual((answer.additionals ?? []).map(line).sort(), ['A 10.10.0.3', 'A 10.10.0.4']);
});

void test('endpoints come in changing order', async () => {
  const firsts = new Set<string>();
  for (let i = 0; i < 40; i++) firsts.add(line((await ask(`db.demo.${svc}`, 'A')).answers?.[0] as Answer));
  assert.equal(firsts.size, 2);
});

void test('an answer too large for the client is cut over UDP and whole over TCP, where several queries may wait', async () => {
  const name = `crowd.demo.${svc}`;
  const cut = await ask(name, 'A');
  assert.deepEqual([cut.flag_tc, cut.answers?.length], [true, 0]);
  const socket = connect(port, '127.0.0.1');
  socket.write(Buffer.concat([1, 2].map((id) => streamEncode({ type: 'query', id, questions: [{ name, type: 'A' }] }))));
  let received = Buffer.alloc(0);
  const packets: Packet[] = [];
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk as Buffer]);
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      const end = 2 + received.readUInt16BE(0);
      packets.push(streamDecode(received.subarray(0, end)));
      received = received.subarray(end);
    }
    if (packets.length === 2) break;
  }
  assert.deepEqual(
    packets.map(({ id, answers }) => [id, answers?.length]),
    [
      [1, many.length],
      [2, many.length],
    ],
  );
});

void test('a client that says it can take more over UDP gets more', async () => {
  const opt: Answer = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: 4096,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
  const answer = await ask(`web.demo.${svc}`, 'SRV', { additionals: [opt] });
  assert.ok(answer.additionals?.some(({ type }) => type === 'OPT'));
  const cut = await ask(`crowd.demo.${svc}`, 'A', { additionals: [opt] });
  assert.equal(cut.flag_tc, true, 'but never more than fits every path');
});

void test('garbage gets an error or nothing, and the server lives on', async () => {
  const header = (flags: number): Buffer => {
    const bytes = Buffer.alloc(12);
    bytes.writeUInt16BE(7, 0);
    bytes.writeUInt16BE(flags, 2);
    return bytes;
  };
  assert.equal((await askUdpRaw(header(0x2800)))[3], 4, 'another operation: not implemented');
  assert.equal((await askUdpRaw(header(0)))[3], 1, 'no question: format error');
  const truncated = Buffer.concat([header(0x0100).fill(1, 5, 6), Buffer.from([40, 65])]);
  assert.equal((await askUdpRaw(truncated))[3], 1);
  await assert.rejects(askUdpRaw(header(0x8000), 100), 'a response is not answered');
  await assert.rejects(askUdpRaw(Buffer.from('x'), 100));
  assert.equal((await ask(`web.demo.${svc}`, 'A')).rcode, 'NOERROR');
});
