import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, suite, test } from 'node:test';

import { decode, encode, type Answer, type DecodedPacket, type Packet } from 'dns-packet';

import { createLogger } from '../../core/index.ts';
import { bindUdp, connectTcp, listenTcp, NetworkNamespace, runCommand } from '../../linux/index.ts';
import { memberOf, service, workload } from '../state/builders.fixture.ts';
import { MeshState } from '../state/mesh-state.ts';
import { Forwarder } from './forward.ts';
import { meshResolver } from './resolver.ts';
import { startDnsProxy } from './server.ts';
import { readMessages, tcpMessage } from './tcp-message.ts';

/** The state that the captured situations were made with. */
function capturedMesh(): MeshState {
  const state = new MeshState();
  const vips = (...addresses: string[]) => addresses.map((address) => ({ network: 'flat', address }));
  state.applyAddresses({
    services: [
      service({ name: 'global-service', hostname: 'global-service.demo.mesh.internal', vips: vips('240.240.0.1', '2001:2::1') }),
      service({ name: 'local-svc', vip: '10.96.156.138' }),
      service({ name: 'headless' }),
      service({ name: 'wide', hostname: '*.wide.example', vip: '240.240.0.9' }),
      service({ name: 'hidden', visibility: 'Namespace', namespace: 'other', vip: '10.96.0.66' }),
      service({ name: 'far', vips: [{ network: 'elsewhere', address: '10.96.0.67' }] }),
      service({ name: 'both', hostname: 'both.example', namespace: 'first', canonical: false, vip: '10.96.0.1' }),
      service({ name: 'both', hostname: 'both.example', namespace: 'second', vip: '10.96.0.2' }),
      service({ name: 'four', ipFamilies: 'IPv4', vips: vips('10.96.0.4', '2001:2::4') }),
      service({ name: 'outside', hostname: 'no-address.example' }),
      service({ name: 'many', vips: Array.from({ length: 256 }, (_, index) => ({ network: 'flat', address: `10.99.0.${index}` })) }),
    ],
    workloads: [
      workload({ name: 'sleep-1', addresses: ['10.10.0.2'], services: memberOf('headless.demo.svc.cluster.local') }),
      workload({ name: 'sick', addresses: ['10.10.0.3'], status: 'Unhealthy', services: memberOf('headless.demo.svc.cluster.local') }),
    ],
  });
  return state;
}

interface Situation {
  readonly title: string;
  readonly overTcp: boolean;
  readonly name: string;
  readonly type: 'A' | 'AAAA';
  readonly answers: readonly string[];
}

/** The DNS situations of the captures in which upstream gave an answer. */
const situations: readonly Situation[] = readFileSync(new URL('../../../test/fixtures/captures/scenarios.txt', import.meta.url), 'utf8')
  .split(/^### /m)
  .filter((block) => block.startsWith('DNS') && block.includes('Got answer'))
  .map((block) => {
    const [title = ''] = block.split('\n');
    const [, name = '', type = ''] = /@10\.255\.10\.10 (\S+) (\S+)/.exec(block) ?? [];
    assert.match(
      block,
      /status: NOERROR[\s\S]*flags: qr aa rd ra; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1[\s\S]*EDNS: version: 0, flags:; udp: 1232/,
    );
    const answers = [...block.matchAll(/^(\S+)\s+(\d+)\s+IN\s+(A|AAAA)\s+(\S+)$/gm)].map(
      ([, owner, ttl, kind, data]) => `${owner ?? ''} ${ttl ?? ''} ${kind ?? ''} ${data ?? ''}`,
    );
    return { title, overTcp: block.includes('+tcp'), name, type: type as 'A' | 'AAAA', answers };
  });

/** The types of dns-packet leave the result code out. */
type Decoded = DecodedPacket & { readonly rcode: string };
const read = (bytes: Buffer): Decoded => decode(bytes) as Decoded;

const text = (answer: Answer): string =>
  'data' in answer && 'ttl' in answer ? `${answer.name}. ${answer.ttl ?? ''} ${answer.type} ${answer.data as string}` : answer.type;

suite('DNS proxy', () => {
  let pod: NetworkNamespace;
  let resources: AsyncDisposableStack;

  beforeEach(async () => {
    resources = new AsyncDisposableStack();
    pod = resources.use(NetworkNamespace.create());
    await runCommand('ip', ['link', 'set', 'lo', 'up'], { namespace: pod });
  });
  afterEach(async () => {
    await resources.disposeAsync();
  });

  async function startProxy(
    changes: { nameservers?: string[]; deadlineMs?: number; ipv6?: boolean; clientKnown?: boolean } = {},
  ): Promise<void> {
    const state = capturedMesh();
    const { nameservers = ['127.0.0.1'], deadlineMs = 1000, ipv6 = true, clientKnown = true } = changes;
    resources.use(
      await startDnsProxy({
        namespace: pod,
        port: 15053,
        mark: 1337,
        reusePort: true,
        clusterDomain: 'cluster.local',
        ipv6,
        resolver: meshResolver(state, () =>
          clientKnown ? Promise.resolve(workload({ name: 'sleep-1' })) : Promise.reject(new Error('unknown')),
        ),
        forwarder: new Forwarder({ namespace: pod, mark: 1337, servers: { nameservers, attempts: 2 }, deadlineMs }),
        log: createLogger('dns-test'),
      }),
    );
  }

  /** What dig sends: recursion desired, EDNS with 1232 bytes. */
  function question(name: string, type: string, changes: Partial<Packet> = {}): Buffer {
    return encode({
      type: 'query',
      id: 4711,
      flags: 0x0100,
      questions: [{ name, type: type as 'A' }],
      additionals: [
        { type: 'OPT', name: '.', udpPayloadSize: 1232, extendedRcode: 0, ednsVersion: 0, flags: 0, flag_do: false, options: [] },
      ],
      ...changes,
    });
  }

  async function askUdp(query: Buffer, host = '127.0.0.1'): Promise<Decoded & { length: number }> {
    const client = bindUdp({ namespace: pod, host, port: 0 });
    try {
      client.send(query, 15053, host);
      const [answer] = (await once(client, 'message')) as [Buffer];
      return { ...read(answer), length: answer.length };
    } finally {
      client.close();
    }
  }

  async function askTcp(queries: readonly Buffer[], host = '127.0.0.1'): Promise<Decoded[]> {
    const socket = await connectTcp({ namespace: pod, host, port: 15053 });
    socket.write(Buffer.concat(queries.map(tcpMessage)));
    const answers: Decoded[] = [];
    for await (const answer of readMessages(socket)) {
      answers.push(read(answer));
      if (answers.length === queries.length) break;
    }
    return answers;
  }

  /** A name server in the pod's reach, on port 53, that knows one name and denies all others. */
  async function startNameServer(): Promise<string[]> {
    const asked: string[] = [];
    const answer = (query: Buffer): Buffer => {
      const { questions = [], id = 0 } = decode(query);
      const [asks] = questions;
      asked.push(`${asks?.name ?? ''} ${asks?.type ?? ''}`);
      const known = asks?.name === 'known.example';
      return encode({
        type: 'response',
        id,
        flags: known ? 0x0580 : 0x0583,
        questions,
        answers: known
          ? [
              asks.type === 'TXT'
                ? { type: 'TXT', name: asks.name, ttl: 7, data: 'text' }
                : { type: 'A', name: asks.name, ttl: 7, data: '192.0.2.80' },
            ]
          : [],
      });
    };
    const udp = bindUdp({ namespace: pod, host: '127.0.0.1', port: 53 });
    // A stranger's guess comes first: it has another identifier and must not count.
    udp.on('message', (query, client) => {
      const forged = encode({ ...decode(query), type: 'response', id: (decode(query).id ?? 0) ^ 1, flags: 0x8000 });
      udp.send(forged, client.port, client.address);
      udp.send(answer(query), client.port, client.address);
    });
    const serve = async (socket: Socket): Promise<void> => {
      for await (const query of readMessages(socket)) socket.write(tcpMessage(answer(query)));
    };
    const tcp = createServer((socket) => void serve(socket).catch(() => undefined));
    tcp.listen({ fd: listenTcp({ namespace: pod, host: '127.0.0.1', port: 53 }), backlog: 16 });
    await once(tcp, 'listening');
    resources.defer(() => {
      udp.close();
      tcp.close();
    });
    return asked;
  }

  test('the captures hold the situations that are compared here', () => {
    assert.deepEqual(
      situations.map(({ title }) => title),
      [
        'DNS: global name A',
        'DNS: global name AAAA',
        'DNS: service, short name with namespace',
        'DNS: service FQDN',
        'DNS: headless',
        'DNS over TCP',
      ],
    );
  });

  for (const { title, overTcp, name, type, answers } of situations) {
    test(`as captured: ${title}`, async () => {
      await startProxy();
      const query = question(name, type);
      for (const host of ['127.0.0.1', '::1']) {
        const [answer] = overTcp ? await askTcp([query], host) : [await askUdp(query, host)];
        assert.ok(answer);
        assert.equal(answer.id, 4711);
        assert.deepEqual(
          [answer.rcode, answer.flag_qr, answer.flag_aa, answer.flag_rd, answer.flag_ra, answer.flag_tc],
          ['NOERROR', true, true, true, true, false],
        );
        assert.deepEqual(answer.answers?.map(text), answers);
        assert.equal(answer.authorities?.length, 0);
        assert.deepEqual(
          answer.additionals?.map((record) => (record.type === 'OPT' ? record.udpPayloadSize : record.type)),
          [1232],
        );
      }
    });
  }

  const addressesOf = (packet: DecodedPacket): unknown[] =>
    (packet.answers ?? []).filter(({ type }) => type === 'A').map((answer) => ('data' in answer ? answer.data : ''));

  for (const [title, name, expected] of [
    ['one label', 'local-svc', ['10.96.156.138']],
    ['service and namespace and svc', 'local-svc.demo.svc', ['10.96.156.138']],
    ['any case', 'Local-SVC.demo', ['10.96.156.138']],
    ['a wildcard', 'any.thing.wide.example', ['240.240.0.9']],
    ['the canonical one of two', 'both.example', ['10.96.0.2']],
    ['only of the own network', 'far', []],
    ['only of its family', 'four', ['10.96.0.4']],
    ['of the IPv6 family: none for A', 'global-service.demo.mesh.internal', ['240.240.0.1']],
    ['without an unhealthy endpoint', 'headless', ['10.10.0.2']],
  ] as const) {
    test(`a name of the mesh: ${title}`, async () => {
      await startProxy({ nameservers: [] });
      const answer = await askUdp(question(name, 'A'));
      assert.equal(answer.rcode, 'NOERROR');
      assert.equal(answer.flag_aa, true);
      assert.deepEqual(addressesOf(answer), expected);
      assert.equal(answer.questions?.[0]?.name, name, 'the question comes back as it was asked');
    });
  }

  test('a search domain in the query gives a CNAME, except for a wildcard', async () => {
    await startProxy();
    const answer = await askUdp(question('global-service.demo.mesh.internal.demo.svc.cluster.local', 'A'));
    assert.deepEqual(answer.answers?.map(text), [
      'global-service.demo.mesh.internal.demo.svc.cluster.local. 30 CNAME global-service.demo.mesh.internal',
      'global-service.demo.mesh.internal. 30 A 240.240.0.1',
    ]);
    const wide = await askUdp(question('any.wide.example.svc.cluster.local', 'A'));
    assert.deepEqual(wide.answers?.map(text), ['any.wide.example.svc.cluster.local. 30 A 240.240.0.9']);
  });

  test('a known name without an address of the family is no error', async () => {
    await startProxy();
    for (const name of ['local-svc', 'four']) {
      const answer = await askUdp(question(name, 'AAAA'));
      assert.deepEqual([answer.rcode, answer.flag_aa, answer.answers?.length], ['NOERROR', true, 0]);
    }
  });

  test('without IPv6 there is no AAAA', async () => {
    await startProxy({ ipv6: false });
    assert.deepEqual((await askUdp(question('global-service.demo.mesh.internal', 'AAAA'))).answers, []);
  });

  test("in the mesh's own domain the mesh answers alone and at once", async () => {
    const asked = await startNameServer();
    await startProxy();
    for (const name of ['nothing.demo.mesh.internal', 'nothing.demo.mesh.internal.demo.svc.cluster.local']) {
      const answer = await askUdp(question(name, 'A'));
      assert.deepEqual([answer.rcode, answer.flag_aa], ['NXDOMAIN', true]);
      assert.deepEqual(
        answer.authorities?.map(({ type, name: zone }) => `${type} ${zone}`),
        ['SOA mesh.internal'],
      );
    }
    const other = await askUdp(question('global-service.demo.mesh.internal', 'TXT'));
    assert.deepEqual([other.rcode, other.answers?.length, other.authorities?.length], ['NOERROR', 0, 1]);
    assert.deepEqual(asked, []);
  });

  test('everything else is passed on, and the answer is not authoritative', async () => {
    const asked = await startNameServer();
    await startProxy();
    const known = await askUdp(question('known.example', 'A'));
    assert.deepEqual([known.id, known.rcode, known.flag_aa, known.flag_ra], [4711, 'NOERROR', false, true]);
    assert.deepEqual(known.answers?.map(text), ['known.example. 7 A 192.0.2.80']);
    const [overTcp] = await askTcp([question('known.example', 'TXT')]);
    assert.equal(overTcp?.answers?.[0]?.type, 'TXT');
    for (const name of ['nothing.demo.svc.cluster.local', 'hidden.other', 'no-address.example']) {
      assert.equal((await askUdp(question(name, 'A'))).rcode, 'NXDOMAIN', name);
    }
    assert.equal((await askUdp(question('local-svc', 'TXT'))).rcode, 'NXDOMAIN', 'Kubernetes may have other records of a service');
    assert.deepEqual(asked, [
      'known.example A',
      'known.example TXT',
      'nothing.demo.svc.cluster.local A',
      'hidden.other A',
      'no-address.example A',
      'local-svc TXT',
    ]);
  });

  test('a name server that refuses is passed over; when none answers, the client hears SERVFAIL in time', async () => {
    await startProxy({ nameservers: ['127.0.0.9', '127.0.0.1'] });
    const started = performance.now();
    assert.equal((await askUdp(question('known.example', 'A'))).rcode, 'SERVFAIL');
    assert.ok(performance.now() - started < 400, 'refusals are heard of at once');
    await startNameServer();
    assert.equal((await askUdp(question('known.example', 'A'))).rcode, 'NOERROR');
  });

  test('a silent name server costs the deadline, not more', async () => {
    const silent = bindUdp({ namespace: pod, host: '127.0.0.1', port: 53 });
    resources.defer(() => void silent.close());
    let attempts = 0;
    silent.on('message', () => attempts++);
    await startProxy({ deadlineMs: 1000 });
    const started = performance.now();
    assert.equal((await askUdp(question('known.example', 'A'))).rcode, 'SERVFAIL');
    assert.ok(performance.now() - started < 1500);
    assert.equal(attempts, 2);
  });

  test('without name servers and for an unknown client: SERVFAIL', async () => {
    await startProxy({ nameservers: [], clientKnown: false });
    assert.equal((await askUdp(question('known.example', 'A'))).rcode, 'SERVFAIL');
    assert.equal((await askUdp(question('local-svc', 'A'))).rcode, 'SERVFAIL');
  });

  test('what does not fit is truncated over UDP and whole over TCP', async () => {
    await startProxy();
    const plain = await askUdp(question('many', 'A', { additionals: [] }));
    assert.equal(plain.flag_tc, true);
    assert.ok(plain.length <= 512 && plain.length > 512 - 16, String(plain.length));
    assert.equal(plain.additionals?.length, 0);
    const larger = await askUdp(question('many', 'A'));
    assert.ok(larger.flag_tc && larger.length <= 1232 && larger.length > 1232 - 16, String(larger.length));
    const [whole] = await askTcp([question('many', 'A')]);
    assert.equal(whole?.flag_tc, false);
    assert.equal(new Set(addressesOf(whole)).size, 256);
    assert.notDeepEqual(
      addressesOf(whole),
      Array.from({ length: 256 }, (_, index) => `10.99.0.${index}`),
      'in random order',
    );
  });

  test('queries of one TCP connection are answered as they are ready', async () => {
    await startNameServer();
    await startProxy();
    const names = ['known.example', 'local-svc', 'nothing.demo.mesh.internal', 'global-service.demo.mesh.internal'];
    const answers = await askTcp(names.map((name, id) => question(name, 'A', { id })));
    assert.deepEqual(answers.map(({ id, rcode }) => `${id ?? ''} ${rcode}`).sort(), ['0 NOERROR', '1 NOERROR', '2 NXDOMAIN', '3 NOERROR']);
  });

  test('what is no query is refused, and garbage left alone', async () => {
    await startProxy();
    assert.equal((await askUdp(question('local-svc', 'A', { type: 'response' }))).rcode, 'FORMERR');
    assert.equal((await askUdp(question('local-svc', 'A', { flags: 0x2000 }))).rcode, 'NOTIMP');
    assert.equal((await askUdp(question('local-svc', 'A', { questions: [] }))).rcode, 'FORMERR');
    const cut = question('local-svc', 'A').subarray(0, 16);
    assert.equal((await askUdp(cut)).rcode, 'FORMERR');
    const client = bindUdp({ namespace: pod, host: '127.0.0.1', port: 0 });
    client.on('message', () => assert.fail('an answer to garbage'));
    client.send(Buffer.from([1, 2, 3]), 15053, '127.0.0.1');
    assert.deepEqual(addressesOf(await askUdp(question('local-svc', 'A'))), ['10.96.156.138']);
    client.close();
  });

  test('two proxies may listen at a time; after the end nobody does', async () => {
    const outer = resources;
    resources = new AsyncDisposableStack();
    await startProxy();
    await startProxy();
    await resources.disposeAsync();
    resources = outer;
    for (const host of ['127.0.0.1', '::1']) {
      bindUdp({ namespace: pod, host, port: 15053 }).close();
      const server = createServer();
      server.listen({ fd: listenTcp({ namespace: pod, host, port: 15053 }), backlog: 1 });
      await once(server, 'listening');
      server.close();
    }
  });
});
