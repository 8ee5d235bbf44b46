import assert from 'node:assert/strict';
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net';
import { suite, test, type TestContext } from 'node:test';

import { Registry } from 'prom-client';

import type { WorkloadEntry } from '../api/kubernetes.ts';
import type { Collection } from '../collections/index.ts';
import { aborted, createLogger } from '../core/index.ts';
import { KubeClient } from '../kube/index.ts';
import {
  authorityFingerprint,
  CertificateAuthority,
  createRoot,
  issueIntermediate,
  verifyAuthority,
  type AuthorityMaterial,
  type VerifiedAuthority,
} from '../pki/index.ts';
import { GrpcServer, XdsServer, type CallContext } from '../xds/index.ts';
import { ClusterObjects, namespace, node, pod, remoteGateway, service } from './cluster.fixture.ts';
import { deriveEntries, type DesiredEntries } from './desired-entries.ts';
import { deriveExports } from './exports.ts';
import type { GatewayState } from './gateway-status.ts';
import { Importer } from './importer.ts';
import { createPeeringMetrics, Peering } from './index.ts';
import type { PeeringCredentials } from './peer-link.ts';

const log = createLogger('test');
const rootNamespace = 'istio-system';
const istiod = 'spiffe://cluster.local/ns/istio-system/sa/istiod';

async function credentialsOf(material: AuthorityMaterial, uri = istiod): Promise<PeeringCredentials> {
  const authority = await CertificateAuthority.create({ material });
  const { chain, key, roots } = await authority.issueServing({ dnsNames: ['istiod.istio-system.svc'], uris: [uri] });
  return { certificate: chain, key, roots };
}

interface Exporter {
  readonly objects: ClusterObjects;
  readonly port: number;
  /** Hex SHA-256 of its authority. */
  readonly fingerprint: string;
  readonly xds: XdsServer<CallContext>;
  readonly peering: Peering;
  restart(): Promise<void>;
}

interface ExporterOptions {
  readonly root: VerifiedAuthority;
  readonly clusterId?: string;
  readonly material?: AuthorityMaterial;
  readonly uri?: string;
  readonly podCidr?: string;
  readonly network?: string;
  readonly linkedPeersOnly?: boolean;
}

/** A control plane as others see it: its port 15012. */
async function exporter(t: TestContext, options: ExporterOptions): Promise<Exporter> {
  const { root, clusterId = 'cluster-2', uri = istiod, podCidr = '10.20.0.0/16', network = 'flat-network' } = options;
  const material = options.material ?? (await issueIntermediate(root, { cluster: clusterId }));
  const objects = new ClusterObjects();
  const stop = new AbortController();
  const credentials = await credentialsOf(material, uri);
  const peering = new Peering({
    clusterId,
    trustDomain: 'cluster.local',
    clusterDomain: 'cluster.local',
    rootNamespace,
    // It only serves here: whoever does not lead neither reads Gateways nor writes.
    client: new KubeClient({ server: 'https://127.0.0.1:1', namespace: 'default', context: 'none' }),
    lead: (_, signal) => aborted(signal),
    graph: objects.graph,
    inputs: objects,
    synced: Promise.resolve(),
    credentials: () => credentials,
    linkedPeersOnly: options.linkedPeersOnly ?? false,
    log,
  });
  objects.put(namespace(rootNamespace, { 'topology.istio.io/network': network }), namespace('demo'), node('node-1', podCidr));
  const running = peering.run(stop.signal);
  await Promise.resolve();
  const xds = new XdsServer<CallContext>({
    tables: peering.tables,
    authenticate: (call) => call,
    authorize: ({ caller }) => peering.authorize(caller.peerCertificate),
    log,
  });
  const listen = (port: number): Promise<GrpcServer> =>
    GrpcServer.listen({ methods: [xds.method], tls: credentials, host: '127.0.0.1', port, log });
  let listener = await listen(0);
  const { port } = listener;
  t.after(async () => {
    stop.abort();
    await listener.close();
    await running;
  });
  const authority = await CertificateAuthority.create({ material });
  return {
    objects,
    port,
    fingerprint: authority.fingerprint,
    xds,
    peering,
    restart: async () => {
      await listener.close();
      listener = await listen(port);
    },
  };
}

interface Importing {
  readonly objects: ClusterObjects;
  readonly entries: DesiredEntries;
  readonly importer: Importer;
  readonly states: Map<string, GatewayState>;
  /** Hex SHA-256 of its authority. */
  readonly fingerprint: string;
  /** Resolves when the condition of a Gateway is so. */
  condition(type: string, check: (state: { status: string; reason: string; message: string }) => boolean, key?: string): Promise<void>;
}

/** cluster-1: follows its Gateways and derives its entries; they are not written anywhere. */
async function importing(t: TestContext, root: VerifiedAuthority, options: { leaseMs?: number; uri?: string } = {}): Promise<Importing> {
  const objects = new ClusterObjects();
  const site = { clusterId: 'cluster-1', trustDomain: 'cluster.local', clusterDomain: 'cluster.local', rootNamespace };
  const exports = deriveExports(objects.graph, objects, site);
  const importer = new Importer(objects.graph);
  const entries = deriveEntries(objects.graph, exports, importer.peers, site);
  objects.put(namespace(rootNamespace, { 'topology.istio.io/network': 'flat-network' }), namespace('demo'), node('node-1', '10.10.0.0/16'));
  const material = await issueIntermediate(root, { cluster: 'cluster-1' });
  const credentials = await credentialsOf(material, options.uri);
  const states = new Map<string, GatewayState>();
  const watchers = new Set<() => void>();
  const stop = new AbortController();
  const running = importer.run(
    {
      site,
      gateways: objects.gateways,
      ownSite: exports.site,
      desired: entries,
      credentials: () => credentials,
      leaseMs: options.leaseMs ?? 3_600_000,
      onStatus: (key, state) => {
        states.set(key, state);
        for (const watcher of watchers) watcher();
      },
      onGone: (key) => states.delete(key),
      onKnown: () => undefined,
      metrics: createPeeringMetrics(new Registry()),
      log,
    },
    stop.signal,
  );
  t.after(async () => {
    stop.abort();
    await running;
  });
  return {
    objects,
    entries,
    importer,
    states,
    fingerprint: authorityFingerprint(verifyAuthority(material)),
    condition: async (type, check, key = 'istio-eastwest/istio-remote-peer-cluster-2') =>
      await new Promise((resolve) => {
        const look = (): void => {
          const found = states.get(key)?.conditions.find((condition) => condition.type === type);
          if (found === undefined || !check(found)) return;
          watchers.delete(look);
          resolve();
        };
        watchers.add(look);
        look();
      }),
  };
}

/** Resolves when the collection holds exactly these keys (without the namespace). */
async function holds(collection: Collection<WorkloadEntry>, names: readonly string[]): Promise<void> {
  const wanted = names.map((name) => `${rootNamespace}/${name}`).sort();
  const isThere = (): boolean => JSON.stringify([...collection.entries()].map(([key]) => key).sort()) === JSON.stringify(wanted);
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const look = (): void => {
    if (isThere()) resolve(undefined);
  };
  const stop = collection.subscribe(look);
  look();
  await promise;
  stop();
}

const peeringSucceeded = 'gloo.solo.io/PeeringSucceeded';
const peerConnected = 'gloo.solo.io/PeerConnected';
const gatewayEntry = 'autogen.cluster-2.demo.global-service';
const flat = (name: string): string => `autogenflat.cluster-2.demo.${name}.eacd81ea03fd`;
const isTrue = ({ status }: { status: string }): boolean => status === 'True';

suite('two control planes over mutual TLS', { timeout: 60_000 }, async () => {
  const root = verifyAuthority(await createRoot());

  test('import what the other exports, as in the guide, and follow it', async (t) => {
    const two = await exporter(t, { root });
    const one = await importing(t, root);
    two.objects.put(service('global-service'), pod('a', { ip: '10.20.0.13' }), pod('b', { ip: '10.20.0.12', serviceAccountName: 'hello' }));
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port, pin: two.fingerprint, region: 'r2' }));
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('a'), flat('b')]);
    await one.condition(peerConnected, isTrue);
    await one.condition(peeringSucceeded, isTrue);

    const labels = {
      'solo.io/parent-service': 'global-service',
      'solo.io/parent-service-namespace': 'demo',
      'solo.io/service-scope': 'global',
    };
    const peerLabels = { ...labels, 'isthmus.dev/peer': 'cluster-2', 'topology.istio.io/cluster': 'cluster-2' };
    assert.deepEqual(one.entries.serviceEntries.get('istio-system/autogen.demo.global-service'), {
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: {
        name: 'autogen.demo.global-service',
        namespace: 'istio-system',
        labels: { ...labels, 'isthmus.dev/federated-service': 'eacd81ea03fd' },
      },
      spec: {
        hosts: ['global-service.demo.mesh.internal'],
        ports: [{ name: 'http', number: 5000, protocol: 'HTTP' }],
        resolution: 'STATIC',
        workloadSelector: { labels: { 'isthmus.dev/federated-service': 'eacd81ea03fd' } },
        subjectAltNames: ['spiffe://cluster.local/ns/demo/sa/default', 'spiffe://cluster.local/ns/demo/sa/hello'],
      },
    });
    assert.deepEqual(one.entries.workloadEntries.get(`istio-system/${gatewayEntry}`), {
      apiVersion: 'networking.istio.io/v1',
      kind: 'WorkloadEntry',
      metadata: { name: gatewayEntry, namespace: 'istio-system', labels: peerLabels },
      spec: { network: 'flat-network', locality: 'r2' },
    });
    assert.deepEqual(one.entries.workloadEntries.get(`istio-system/${flat('b')}`), {
      apiVersion: 'networking.istio.io/v1',
      kind: 'WorkloadEntry',
      metadata: {
        name: flat('b'),
        namespace: 'istio-system',
        labels: {
          ...peerLabels,
          'isthmus.dev/federated-service': 'eacd81ea03fd',
          'service.istio.io/canonical-name': 'global-service',
          'service.istio.io/canonical-revision': 'latest',
        },
        annotations: { 'ambient.istio.io/redirection': 'enabled' },
      },
      spec: { address: '10.20.0.12', network: 'flat-network', serviceAccount: 'hello', ports: { http: 5000 }, locality: 'r2' },
    });

    two.objects.put(pod('b', { ip: '10.20.0.12', ready: false }), pod('c', { ip: '10.20.0.14' }));
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('a'), flat('c')]);
    two.objects.put(service('global-service', {}, {}));
    await holds(one.entries.workloadEntries, []);
    assert.equal(one.entries.serviceEntries.size, 0);
  });

  test('keep what they know while the other restarts, and then see what changed meanwhile', async (t) => {
    const two = await exporter(t, { root });
    const one = await importing(t, root);
    two.objects.put(service('global-service'), pod('a', { ip: '10.20.0.13' }), pod('b', { ip: '10.20.0.12' }));
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port }));
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('a'), flat('b')]);
    const changes: string[] = [];
    one.entries.workloadEntries.subscribe((batch) => changes.push(...batch.map(({ key, after }) => `${after ? 'set' : 'gone'} ${key}`)));
    changes.length = 0;
    const lost = one.condition(peerConnected, ({ status }) => status === 'False');
    await two.restart();
    await lost;
    two.objects.remove('Pod', 'demo/a');
    await one.condition(peerConnected, isTrue);
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('b')]);
    assert.deepEqual(changes, [`gone istio-system/${flat('a')}`]);
  });

  test('pin the first authority seen, and believe no other under the same root', async (t) => {
    const two = await exporter(t, { root });
    const one = await importing(t, root);
    two.objects.put(service('global-service'), pod('a', { ip: '10.20.0.13' }));
    // A door that leads to the real peer first, and then to another cluster that calls itself the same.
    const target = { port: two.port };
    const sockets = new Set<Socket>();
    const door = createServer((socket) => {
      const inner = connectTcp(target.port, '127.0.0.1');
      sockets.add(socket).add(inner);
      socket
        .on('error', () => undefined)
        .pipe(inner.on('error', () => undefined))
        .pipe(socket);
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => door.once('listening', resolve));
    t.after(() => {
      door.close();
      for (const socket of sockets) socket.destroy();
    });
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: (door.address() as AddressInfo).port }));
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('a')]);
    assert.deepEqual(one.states.get('istio-eastwest/istio-remote-peer-cluster-2')?.pins, [two.fingerprint]);

    const impostor = await exporter(t, { root });
    assert.notEqual(impostor.fingerprint, two.fingerprint);
    impostor.objects.put(service('global-service'), pod('evil', { ip: '10.20.0.66' }));
    target.port = impostor.port;
    for (const socket of sockets) socket.destroy();
    await one.condition(peerConnected, ({ reason }) => reason === 'PEERING_PIN_MISMATCH');
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('a')]);
    assert.equal([...impostor.xds.connections()].length, 0);

    target.port = two.port;
    await one.condition(peerConnected, isTrue);
  });

  test('remove what a peer exported when its lease ends, not before', async (t) => {
    const two = await exporter(t, { root });
    const one = await importing(t, root, { leaseMs: 1_500 });
    two.objects.put(service('global-service'), pod('a', { ip: '10.20.0.13' }));
    // Longer than the lease: while the link is up, none runs.
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port }));
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('a')]);
    const lostAt = performance.now();
    two.objects.put(namespace(rootNamespace, {}));
    await one.condition(peeringSucceeded, ({ reason }) => reason === 'PEERING_NETWORK');
    assert.equal(one.entries.workloadEntries.size, 2);
    await holds(one.entries.workloadEntries, []);
    assert.ok(performance.now() - lostAt >= 1_400, 'the lease was kept');
    assert.equal(one.importer.isKnown('cluster-2'), true);
    two.objects.put(namespace(rootNamespace, { 'topology.istio.io/network': 'flat-network' }));
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('a')]);
  });

  test('remove at once what came over a link that is deleted', async (t) => {
    const two = await exporter(t, { root });
    const one = await importing(t, root);
    two.objects.put(service('global-service'), pod('a', { ip: '10.20.0.13' }));
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port }));
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('a')]);
    one.objects.put(service('global-service'));
    one.objects.remove('Gateway', 'istio-eastwest/istio-remote-peer-cluster-2');
    await holds(one.entries.workloadEntries, []);
    // This cluster's own service keeps its name.
    assert.equal(one.entries.serviceEntries.size, 1);
    assert.equal(one.importer.isKnown('cluster-2'), true);
  });

  test('keep what came over one of two links to a cluster when the other one is deleted', async (t) => {
    const two = await exporter(t, { root });
    const one = await importing(t, root);
    two.objects.put(service('global-service'), pod('a', { ip: '10.20.0.13' }));
    const older = remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port });
    const younger = { ...older, metadata: { ...older.metadata, name: 'second', uid: 'second', creationTimestamp: '2026-11-02T00:00:00Z' } };
    one.objects.put(younger);
    await one.condition(peeringSucceeded, isTrue, 'istio-eastwest/second');
    one.objects.put(older);
    await one.condition(peeringSucceeded, isTrue);
    await one.condition(peeringSucceeded, ({ reason }) => reason === 'PEERING_DUPLICATE', 'istio-eastwest/second');
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('a')]);
    one.objects.remove('Gateway', 'istio-eastwest/second');
    assert.deepEqual(
      [...one.entries.workloadEntries.values()].map(({ metadata }) => metadata.name).sort(),
      [gatewayEntry, flat('a')].sort(),
    );
    two.objects.put(pod('b', { ip: '10.20.0.14' }));
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('a'), flat('b')]);
    one.objects.remove('Gateway', 'istio-eastwest/istio-remote-peer-cluster-2');
    await holds(one.entries.workloadEntries, []);
  });

  test('know a peer that told all, whatever a link that names no cluster and never answers may be', async (t) => {
    const two = await exporter(t, { root });
    const one = await importing(t, root);
    two.objects.put(service('global-service'), pod('a', { ip: '10.20.0.13' }));
    const link = remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port });
    const nobody = remoteGateway({ cluster: 'cluster-3', address: '127.0.0.1', port: 1 });
    one.objects.put({ ...nobody, metadata: { ...nobody.metadata, name: 'by-hand', labels: {} } });
    assert.equal(one.importer.isKnown('cluster-2'), false);
    one.objects.put(link);
    await one.condition(peeringSucceeded, isTrue);
    assert.equal(one.importer.isKnown('cluster-2'), true);
    assert.equal(one.importer.isKnown('cluster-3'), false);
    assert.equal(one.importer.isKnown(undefined), false);
  });

  test('know nothing of a peer before all of its state is in', async (t) => {
    const one = await importing(t, root);
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: 1 }));
    await one.condition(peerConnected, ({ reason }) => reason === 'PEERING_NOT_CONNECTED');
    assert.equal(one.importer.isKnown('cluster-2'), false);
    assert.equal(one.importer.isKnown('cluster-3'), true);
    assert.equal(one.importer.isKnown(undefined), false);
  });

  test('between two networks there is one entry, with the number of endpoints', async (t) => {
    const two = await exporter(t, { root, network: 'network-2' });
    const one = await importing(t, root);
    two.objects.put(service('global-service'), pod('a', { ip: '10.20.0.13' }), pod('b', { ip: '10.20.0.14' }));
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port, network: 'network-2' }));
    await holds(one.entries.workloadEntries, [gatewayEntry]);
    assert.deepEqual(one.entries.workloadEntries.get(`istio-system/${gatewayEntry}`)?.spec, { network: 'network-2', weight: 2 });
  });

  const refusals: readonly [string, string, string, Partial<ExporterOptions>, { pin?: string; network?: string }?][] = [
    ['another cluster id', peeringSucceeded, 'PEERING_CLUSTER_ID', { clusterId: 'cluster-3' }],
    ['our cluster id', peeringSucceeded, 'PEERING_CLUSTER_ID', { clusterId: 'cluster-1' }],
    ['our pod range', peeringSucceeded, 'PEERING_RANGE_OVERLAP', { podCidr: '10.10.128.0/17' }],
    ['another network', peeringSucceeded, 'PEERING_NETWORK', { network: 'elsewhere' }],
    ['the identity of a workload', peerConnected, 'PEERING_IDENTITY', { uri: 'spiffe://cluster.local/ns/demo/sa/default' }],
    ["a workload's identity that ends alike", peerConnected, 'PEERING_IDENTITY', { uri: 'spiffe://cluster.local/ns/demo/sa/istiod' }],
    ['another trust domain', peerConnected, 'PEERING_TRUST_DOMAIN', { uri: 'spiffe://evil.local/ns/istio-system/sa/istiod' }],
    ['another authority than pinned', peerConnected, 'PEERING_PIN_MISMATCH', {}, { pin: 'ab'.repeat(32) }],
  ];
  for (const [name, type, code, options, gateway] of refusals) {
    test(`refuse a peer with ${name}`, async (t) => {
      const two = await exporter(t, { root, ...options });
      const one = await importing(t, root);
      two.objects.put(service('global-service'), pod('a', { ip: '10.20.0.13' }));
      one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port, ...gateway }));
      await one.condition(type, ({ status, reason }) => status === 'False' && reason === code);
      assert.equal(one.entries.workloadEntries.size, 0);
      assert.equal(one.importer.isKnown('cluster-2'), false);
    });
  }

  test('refuse a peer of another root, in both directions', async (t) => {
    const stranger = verifyAuthority(await createRoot());
    const two = await exporter(t, { root: stranger });
    const one = await importing(t, root);
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port }));
    await one.condition(
      peerConnected,
      ({ reason, message }) => reason === 'PEERING_NOT_CONNECTED' && /self-signed|unable to/.test(message),
    );
    assert.equal([...two.xds.connections()].length, 0);
  });

  test('give nothing to a caller without a peering identity', async (t) => {
    const two = await exporter(t, { root });
    const one = await importing(t, root, { uri: 'spiffe://cluster.local/ns/demo/sa/default' });
    two.objects.put(service('global-service'), pod('a', { ip: '10.20.0.13' }));
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port }));
    await one.condition(peerConnected, ({ message }) => message.includes('PEERING_CALLER'));
    assert.equal(one.entries.workloadEntries.size, 0);
  });

  test('give to linked peers only, when told so', async (t) => {
    const two = await exporter(t, { root, linkedPeersOnly: true });
    const one = await importing(t, root);
    two.objects.put(service('global-service'), pod('a', { ip: '10.20.0.13' }));
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port }));
    await one.condition(peerConnected, ({ message }) => message.includes('not linked'));
    two.objects.put(remoteGateway({ cluster: 'cluster-1', address: '127.0.0.1', port: 1, pin: one.fingerprint }));
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('a')]);
  });

  test('do not collect clusters that a peer makes up', async (t) => {
    const two = await exporter(t, { root });
    const one = await importing(t, root);
    for (let number = 10; number < 50; number++) two.peering.tables[0]?.set({ name: `invented-${number}`, body: new Uint8Array() });
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port }));
    await one.condition(peeringSucceeded, ({ message }) => message === 'the peer speaks for 8 clusters at once');
    assert.equal(one.entries.workloadEntries.size, 0);
  });

  test('note of what cannot be decoded so much and no more, and forget it when it is gone', async (t) => {
    const two = await exporter(t, { root });
    const one = await importing(t, root);
    const table = two.peering.tables[2];
    const names = Array.from({ length: 300 }, (_, at) => `garbage-${at}`);
    // Field 1, of 127 bytes that do not follow.
    for (const name of names) table?.set({ name, body: Uint8Array.of(0x0a, 0x7f) });
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port }));
    await one.condition('isthmus.dev/ResourcesAccepted', ({ status, message }) => status === 'False' && message.startsWith('101 refused'));
    for (const name of names) table?.delete(name);
    await one.condition('isthmus.dev/ResourcesAccepted', isTrue);
  });

  test('take what is true of a peer that also lies, and say so', async (t) => {
    const two = await exporter(t, { root });
    const one = await importing(t, root);
    two.objects.put(service('global-service'), pod('a', { ip: '10.20.0.13' }), pod('stolen', { ip: '10.10.0.1' }));
    one.objects.put(remoteGateway({ cluster: 'cluster-2', address: '127.0.0.1', port: two.port }));
    await holds(one.entries.workloadEntries, [gatewayEntry, flat('a')]);
    await one.condition(
      'isthmus.dev/ResourcesAccepted',
      ({ status, message }) => status === 'False' && message.includes('Pod/demo/stolen'),
    );
    await one.condition(peeringSucceeded, isTrue);
    two.objects.remove('Pod', 'demo/stolen');
    await one.condition('isthmus.dev/ResourcesAccepted', isTrue);
  });
});
