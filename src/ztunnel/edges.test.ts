import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';

import { AuthorizationSchema } from '../api/gen/istio/authorization_pb.js';
import { AddressSchema, WorkloadSchema } from '../api/gen/istio/workload_pb.js';
import { AccessLog } from './access-log.ts';
import { configFromEnvironment } from './config.ts';
import { parseLocalState } from './local-state.ts';
import { baggageOf, forwardedOf, newTraceparent, parseBaggage, parseForwardedHost } from './request-headers.ts';
import { addressFromBytes, formatHostPort, parseHostPort, rangeContains, socketAddress } from './state/address.ts';
import { workload } from './state/builders.fixture.ts';
import { MeshState } from './state/mesh-state.ts';
import { meshSubscriptions } from './xds.ts';

describe('addresses', () => {
  test('of sockets and of resources are written alike', () => {
    assert.equal(socketAddress('::ffff:10.0.0.1'), '10.0.0.1');
    assert.equal(socketAddress('fe80::1%eth0'), 'fe80::1');
    assert.equal(addressFromBytes(Uint8Array.of(10, 0, 0, 1)), '10.0.0.1');
    assert.equal(addressFromBytes(Uint8Array.from([0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 1])), '2001:db8::1');
    assert.equal(addressFromBytes(Uint8Array.from([...Array<number>(10).fill(0), 0xff, 0xff, 10, 0, 0, 1])), '10.0.0.1');
    assert.equal(addressFromBytes(Uint8Array.of(1, 2, 3)), undefined);
  });

  test('survive formatting and parsing with their port', () => {
    const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom('a.example.com', 'x-1'));
    fc.assert(
      fc.property(host, fc.integer({ min: 0, max: 65_535 }), (text, port) => {
        const canonical = socketAddress(text);
        const parsed = parseHostPort(formatHostPort(text, port));
        assert.equal(parsed?.port, port);
        assert.equal(parsed.host, canonical);
      }),
    );
    for (const wrong of ['', ':1', '1.2.3.4', '1.2.3.4:', '1.2.3.4:70000', '::1:80', '[x]:1', 'a b:1'])
      assert.equal(parseHostPort(wrong), undefined, wrong);
  });

  test('lie in a range or not', () => {
    assert.equal(rangeContains({ address: '10.0.0.0', length: 8 }, '10.255.0.1'), true);
    assert.equal(rangeContains({ address: '10.0.0.0', length: 8 }, '11.0.0.1'), false);
    assert.equal(rangeContains({ address: '0.0.0.0', length: 0 }, '2001:db8::1'), false);
    assert.equal(rangeContains({ address: '2001:db8::', length: 32 }, '2001:db8:1::1'), true);
  });
});

describe('request headers', () => {
  test('read as the captured ones do', () => {
    const captured = readFileSync(new URL('../../test/fixtures/captures/hbone-client.txt', import.meta.url), 'utf8');
    const header = (name: string): string => new RegExp(`^ +${name} : (.*)$`, 'm').exec(captured)?.[1] ?? '';
    const sleep = workload({
      name: 'sleep-1',
      canonicalName: 'sleep',
      workloadName: 'sleep-1',
      locality: { region: 'r1', zone: 'z1', subzone: '' },
    });
    assert.equal(baggageOf(sleep), header('baggage'));
    assert.equal(forwardedOf({ host: '10.10.0.2', port: 55096 }, 'global-service.demo.mesh.internal'), header('forwarded'));
    assert.match(newTraceparent(), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    assert.match(header('traceparent'), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    assert.equal(parseForwardedHost(header('forwarded')), 'global-service.demo.mesh.internal');
    assert.deepEqual(parseBaggage([header('baggage')]), {
      clusterId: 'cluster-1',
      namespace: 'demo',
      workloadName: 'sleep-1',
      canonicalName: 'sleep',
      canonicalRevision: 'latest',
      region: 'r1',
      zone: 'z1',
    });
  });

  test('baggage: later members win, empty ones are absent, rubbish is no error', () => {
    assert.equal(parseBaggage(['service.name=a,service.name=b']).canonicalName, 'b');
    assert.equal(parseBaggage(['service.name=']).canonicalName, undefined);
    assert.equal(parseBaggage(['service.name=a', 'k8s.job.name=j']).workloadName, 'j');
    fc.assert(fc.property(fc.array(fc.string()), (headers) => void parseBaggage(headers)));
  });

  test('a quoted host is taken without its quotes', () => {
    assert.equal(parseForwardedHost('for="1.2.3.4:5";host="a.b"'), 'a.b');
    assert.equal(parseForwardedHost('for=1'), undefined);
    assert.equal(parseForwardedHost(undefined), undefined);
  });
});

describe('the access log', () => {
  test('JSON has the same fields', async () => {
    let written = '';
    const log = new AccessLog({
      format: 'json',
      write: (lines) => (written += lines),
      now: () => Date.UTC(2026, 10, 23, 17, 28, 28, 684) + 0.925,
    });
    log.complete({
      'src.addr': '10.0.0.1:1',
      'src.workload': 'a "b"',
      'dst.addr': '10.0.0.2:2',
      direction: 'outbound',
      bytes_sent: 1,
      bytes_recv: 2,
      duration: '3ms',
    });
    log.failed({ 'src.addr': '10.0.0.1:1', 'dst.addr': '10.0.0.2:2', direction: 'inbound', error: 'why' });
    assert.equal(written, '');
    await new Promise(setImmediate);
    const [first = '', second = ''] = written.trimEnd().split('\n');
    assert.equal(
      first,
      '{"level":"info","time":"2026-11-23T17:28:28.684925Z","scope":"access","message":"connection complete","src.addr":"10.0.0.1:1","src.workload":"a \\"b\\"","dst.addr":"10.0.0.2:2","direction":"outbound","bytes_sent":1,"bytes_recv":2,"duration":"3ms"}',
    );
    assert.equal((JSON.parse(second) as { level: string }).level, 'warn');
  });

  test('a value cannot break out of its line', async () => {
    let written = '';
    const log = new AccessLog({ format: 'text', write: (lines) => (written += lines) });
    log.complete({ 'src.addr': 'a', 'src.workload': 'x\n" dst.addr=evil', 'dst.addr': 'b', direction: 'outbound' });
    await new Promise(setImmediate);
    assert.equal(written.split('\n').length, 2);
    assert.match(written, /src\.workload="x\\n\\" dst\.addr=evil" dst\.addr=b/);
  });
});

describe('configuration', () => {
  test('has the defaults of upstream', () => {
    const config = configFromEnvironment({});
    assert.equal(config.mode, 'shared');
    assert.equal(config.clusterId, 'Kubernetes');
    assert.equal(config.packetMark, 0x539);
    assert.equal(config.secretTtlMs, 86_400_000);
    assert.equal(config.drainDeadlineMs, 5_000);
    assert.equal(config.dnsProxy, true);
    assert.deepEqual(config.keepAlive, { time: 180, interval: 180, retries: 9 });
  });

  test('reads what is set', () => {
    const config = configFromEnvironment({
      ISTIO_META_CLUSTER_ID: 'c1',
      CLUSTER_ID: 'ignored',
      XDS_ADDRESS: 'istiod.x:15012',
      CA_ADDRESS: '',
      TERMINATION_GRACE_PERIOD_SECONDS: '30',
      SECRET_TTL: '1h30m',
      PROXY_MODE: 'dedicated',
      PROXY_WORKLOAD_INFO: 'ns/name/sa',
      ISTIO_META_DNS_CAPTURE: 'false',
      KEEPALIVE_ENABLED: 'false',
      XDS_HEADER_x: 'y',
    });
    assert.equal(config.clusterId, 'c1');
    assert.equal(config.xdsAddress, 'https://istiod.x:15012');
    assert.equal(config.caAddress, undefined);
    assert.equal(config.drainDeadlineMs, 25_000);
    assert.equal(config.secretTtlMs, 5_400_000);
    assert.deepEqual(config.workloadInfo, { namespace: 'ns', name: 'name', serviceAccount: 'sa' });
    assert.equal(config.dnsProxy, false);
    assert.equal(config.keepAlive, undefined);
    assert.deepEqual(config.xdsHeaders, { x: 'y' });
    assert.equal(config.packetMark, undefined);
  });

  for (const [name, value] of [
    ['PROXY_MODE', 'both'],
    ['SECRET_TTL', 'soon'],
    ['POOL_MAX_STREAMS_PER_CONNECTION', '-1'],
    ['XDS_ADDRESS', 'https://'],
  ] as const) {
    test(`refuses ${name}=${value}`, () => {
      assert.throws(() => configFromEnvironment({ [name]: value }), { code: 'ISTHMUS_CONFIG_INVALID', message: new RegExp(`^${name}:`) });
    });
  }
});

describe('the local state', () => {
  test('is read in the format of upstream', async () => {
    const { addresses, policies } = await parseLocalState(
      `
workloads:
- uid: cluster1//v1/Pod/default/local
  name: local
  namespace: default
  serviceAccount: default
  workloadIps: ["127.0.0.1"]
  protocol: HBONE
  node: local
  network: ""
  services: { "default/example.com": { 80: 8080 } }
policies:
- action: Allow
  rules: [[[{ notDestinationPorts: [9999] }]]]
  name: deny-9999
  namespace: default
  scope: Namespace
  dryRun: false
services:
- name: local
  namespace: default
  hostname: example.com
  vips: [/127.10.0.1]
  ports: { 80: 8080 }
  subjectAltNames: ["spiffe://cluster.local/ns/default/sa/local"]
  canonical: true
`,
      'state.yaml',
    );
    const state = new MeshState();
    state.applyAddresses(addresses);
    state.applyPolicies(policies);
    const found = state.services.byVip('', '127.10.0.1', 'default');
    assert.ok(found);
    assert.deepEqual(
      [...state.endpoints(found)].map(({ workload: { name } }) => name),
      ['local'],
    );
    assert.equal(state.policies.get('default/deny-9999')?.rules[0]?.[0]?.[0]?.notDestinationPorts[0], 9999);
  });

  for (const [text, message] of [
    ['workloads: [{ uid: a, name: b, colour: red }]', /state\.yaml\.workloads\[0\]: unknown field colour/],
    ['workloads: [{ uid: a }]', /state\.yaml\.workloads\[0\]: name is not a string/],
    ['workloads: [{ uid: a, name: b, workloadIps: [x] }]', /"x" is not an address/],
    ['services: 7', /state\.yaml\.services: is not a list/],
    ['policies: [{ name: a, scope: Somewhere }]', /"Somewhere" is none of Global/],
  ] as const) {
    test(`complains about ${text}`, async () => {
      await assert.rejects(parseLocalState(text, 'state.yaml'), { code: 'ISTHMUS_CONFIG_INVALID', message });
    });
  }
});

describe('resources from the control plane', () => {
  const encode = (value: object): Uint8Array =>
    toBinary(AddressSchema, create(AddressSchema, { type: { case: 'workload', value: create(WorkloadSchema, value) } }));
  const received = (name: string, body: Uint8Array) => ({ name, version: '1', aliases: [], body });
  const addresses = (state: MeshState) => {
    const [subscription] = meshSubscriptions(state, { xdsMessage: () => undefined });
    assert.ok(subscription);
    return subscription;
  };

  test('get the defaults of upstream', async () => {
    const state = new MeshState();
    await addresses(state).handle({
      typeUrl: '',
      resources: [received('u', encode({ uid: 'u', name: 'n', namespace: 'demo' }))],
      removed: [],
    });
    const found = state.workloads.get('u');
    assert.deepEqual(
      {
        trustDomain: found?.trustDomain,
        serviceAccount: found?.serviceAccount,
        clusterId: found?.clusterId,
        capacity: found?.capacity,
        protocol: found?.protocol,
      },
      { trustDomain: 'cluster.local', serviceAccount: 'default', clusterId: 'Kubernetes', capacity: 1, protocol: 'TCP' },
    );
  });

  const wrong: Record<string, object> = {
    'an address of three bytes': { addresses: [Uint8Array.of(1, 2, 3)] },
    'a tunnel that is no longer': { tunnelProtocol: 2 },
    'a value from the future': { networkMode: 9 },
    'a gateway to nowhere': { waypoint: {} },
    'a service key without a namespace': { services: { plain: { ports: [] } } },
  };
  for (const [what, value] of Object.entries(wrong)) {
    test(`with ${what} are refused by name, the others apply`, async () => {
      const state = new MeshState();
      const rejections = await addresses(state).handle({
        typeUrl: '',
        resources: [
          received('bad', encode({ uid: 'bad', name: 'bad', ...value })),
          received('good', encode({ uid: 'good', name: 'good' })),
        ],
        removed: [],
      });
      assert.deepEqual(
        rejections?.map(({ name }) => name),
        ['bad'],
      );
      assert.equal(state.workloads.get('bad'), undefined);
      assert.equal(state.workloads.get('good')?.name, 'good');
    });
  }

  test('a policy with an entry that cannot be understood is refused, rather than made wider', async () => {
    const state = new MeshState();
    const [, subscription] = meshSubscriptions(state, { xdsMessage: () => undefined });
    const body = toBinary(
      AuthorizationSchema,
      create(AuthorizationSchema, {
        name: 'p',
        namespace: 'demo',
        rules: [{ clauses: [{ matches: [{ sourceIps: [{ address: Uint8Array.of(1), length: 8 }] }] }] }],
      }),
    );
    const rejections = await subscription?.handle({ typeUrl: '', resources: [received('demo/p', body)], removed: [] });
    assert.equal(rejections?.[0]?.name, 'demo/p');
    assert.equal(state.policies.size, 0);
  });

  test('whatever bytes come, they are refused or understood', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (body) => {
        const rejections = await addresses(new MeshState()).handle({ typeUrl: '', resources: [received('x', body)], removed: [] });
        if (rejections?.length === 0) assert.ok(fromBinary(AddressSchema, body).type.case !== undefined);
      }),
    );
  });
});
