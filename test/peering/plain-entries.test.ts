import assert from 'node:assert/strict';
import { after, before, beforeEach, suite, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';

import { create } from '@bufbuild/protobuf';
import { Registry } from 'prom-client';

import { FederatedServiceSchema, type FederatedService } from '../../src/api/gen/isthmus/peering_pb.js';
import { PortListSchema, TunnelProtocol, WorkloadSchema, type Workload } from '../../src/api/gen/istio/workload_pb.js';
import type { Gateway, KubeObject, Namespace, Node, Pod, Service, ServiceEntry, WorkloadEntry } from '../../src/api/kubernetes.ts';
import { resources, type ResourceType } from '../../src/api/resources.ts';
import { Graph, source, type Source } from '../../src/collections/index.ts';
import { createLogger, sleep } from '../../src/core/index.ts';
import { EventRecorder, Informer } from '../../src/kube/index.ts';
import { deriveEntries, peerKey, type DesiredEntries } from '../../src/peering/desired-entries.ts';
import type { PeerSite } from '../../src/peering/entries.ts';
import { EntryWriter } from '../../src/peering/entry-writer.ts';
import { deriveExports } from '../../src/peering/exports.ts';
import { createPeeringMetrics } from '../../src/peering/metrics.ts';
import type { PeeringOptions, Placement } from '../../src/peering/options.ts';
import { tellFindings } from '../../src/peering/tell-findings.ts';
import { startCluster, type TestCluster } from '../istiod/cluster.ts';

const log = createLogger('test');
const entryTypes: readonly ResourceType[] = [resources.serviceEntries, resources.workloadEntries];

/** What peers were found to say, as the importer would let it in. Survives the restart of whoever reads it. */
class Peers {
  readonly sites = new Map<string, PeerSite>();
  readonly services = new Map<string, FederatedService>();
  readonly workloads = new Map<string, Workload>();

  site(clusterId: string, changed: Partial<PeerSite> = {}): void {
    const at = { network: 'flat-network', region: undefined, podRanges: [], linked: '2026-11-01T00:00:00Z' };
    this.sites.set(clusterId, { clusterId, ...at, ...changed });
  }

  service(clusterId: string, name: string, ports: readonly number[], namespace = 'demo'): void {
    const hostname = `${name}.${namespace}.mesh.internal`;
    const of = {
      name,
      namespace,
      hostname,
      scope: 'global',
      ports: ports.map((number) => ({ name: `p${number}`, number, protocol: 'HTTP' })),
    };
    this.services.set(peerKey(clusterId, `${namespace}/${name}`), create(FederatedServiceSchema, of));
  }

  pod(
    clusterId: string,
    name: string,
    address: readonly number[],
    services: Readonly<Record<string, Readonly<Record<number, number>>>>,
    namespace = 'demo',
  ): void {
    const uid = `${clusterId}//Pod/${namespace}/${name}`;
    const lists = Object.entries(services).map(([service, ports]) => {
      const list = Object.entries(ports).map(([servicePort, targetPort]) => ({ servicePort: Number(servicePort), targetPort }));
      return [`${namespace}/${service}.${namespace}.mesh.internal`, create(PortListSchema, { ports: list })] as const;
    });
    this.workloads.set(
      peerKey(clusterId, uid),
      create(WorkloadSchema, {
        uid,
        name,
        namespace,
        clusterId,
        network: 'flat-network',
        serviceAccount: 'default',
        addresses: [Uint8Array.from(address)],
        tunnelProtocol: TunnelProtocol.HBONE,
        services: Object.fromEntries(lists),
      }),
    );
  }

  noPod(clusterId: string, name: string, namespace = 'demo'): void {
    this.workloads.delete(peerKey(clusterId, `${clusterId}//Pod/${namespace}/${name}`));
  }
}

interface Run extends AsyncDisposable {
  readonly desired: DesiredEntries;
  readonly writer: EntryWriter;
  /** Takes over what the peers say now. */
  settle(): void;
  /** By kind and result. */
  writes(): Promise<Record<string, number>>;
}

interface RunOptions {
  readonly placement?: Placement;
  readonly createNamespaces?: boolean;
  readonly handoverMs?: number;
  readonly rate?: { readonly perSecond: number; readonly burst: number };
  readonly isKnown?: (peer: string | undefined) => boolean;
}

/** Everything between what peers say and the API server, as it is in a process. */
async function run(options: RunOptions = {}): Promise<Run> {
  const { client } = cluster;
  const graph = new Graph({
    onFailure: ({ collection, key, error }) => {
      throw new Error(`${collection} ${key}`, { cause: error });
    },
  });
  const stop = new AbortController();
  const running: Promise<void>[] = [];
  const copies: Promise<void>[] = [];
  const copy = <T extends KubeObject>(type: ResourceType<T>): Source<T> => {
    const into = source<T>(graph, { name: type.plural });
    const informer = new Informer<T>({ client, type, log });
    informer.onChange((changes) =>
      graph.batch(() => {
        for (const change of changes) {
          if (change.type === 'delete') into.delete(change.key);
          else into.set(change.key, change.object);
        }
      }),
    );
    running.push(informer.run(stop.signal));
    copies.push(informer.synced);
    return into;
  };
  const inputs = {
    namespaces: copy<Namespace>(resources.namespaces),
    nodes: copy<Node>(resources.nodes),
    pods: copy<Pod>(resources.pods),
    services: copy<Service>(resources.services),
    gateways: copy<Gateway>(resources.gateways),
  };
  const actual = {
    serviceEntries: copy<ServiceEntry>(resources.serviceEntries),
    workloadEntries: copy<WorkloadEntry>(resources.workloadEntries),
  };
  const said = {
    peers: source<PeerSite>(graph, { name: 'peers', equals: isDeepStrictEqual }),
    services: source<FederatedService>(graph, { name: 'peerServices', equals: isDeepStrictEqual }),
    workloads: source<Workload>(graph, { name: 'peerWorkloads', equals: isDeepStrictEqual }),
  };
  const settle = (): void =>
    graph.batch(() => {
      said.peers.replace(peers.sites);
      said.services.replace(peers.services);
      said.workloads.replace(peers.workloads);
    });
  const site: PeeringOptions = {
    clusterId: 'cluster-1',
    trustDomain: 'cluster.local',
    clusterDomain: 'cluster.local',
    rootNamespace: 'istio-system',
    placement: options.placement ?? 'serviceNamespace',
    createNamespaces: options.createNamespaces,
  };
  const desired = deriveEntries(graph, deriveExports(graph, inputs, site), said, site);
  await Promise.all(copies);
  settle();
  const metrics = createPeeringMetrics(new Registry());
  const events = new EventRecorder({ client, component: 'isthmus-peering', log });
  const writer = new EntryWriter({
    client,
    desired,
    actual,
    isKnown: options.isKnown ?? (() => true),
    events,
    handoverMs: options.handoverMs,
    rate: options.rate,
    metrics,
    log,
  });
  running.push(writer.run(stop.signal));
  const stopTelling = tellFindings({ desired, inputs, events, metrics, log });
  return {
    desired,
    writer,
    settle,
    writes: async () => {
      const { values } = await metrics.writes.get();
      const counts: Record<string, number> = {};
      for (const { labels, value } of values) {
        const key = `${labels.kind ?? ''} ${labels.result ?? ''}`;
        counts[key] = (counts[key] ?? 0) + value;
      }
      return counts;
    },
    [Symbol.asyncDispose]: async () => {
      stopTelling();
      stop.abort();
      await Promise.all(running);
    },
  };
}

let cluster: TestCluster;
let peers: Peers;

before(async () => {
  cluster = await startCluster({ name: 'cluster-1', serviceCidr: '10.255.10.0/24' });
});
after(() => cluster[Symbol.asyncDispose]());
beforeEach(async () => {
  peers = new Peers();
  const types: readonly ResourceType[] = [...entryTypes, resources.services, resources.pods];
  for (const type of types) {
    for (const { metadata } of (await cluster.client.list(type)).items) {
      if (metadata.namespace === 'demo' || metadata.namespace === 'istio-system' || metadata.namespace === 'late')
        await cluster.client.delete(type, { name: metadata.name, namespace: metadata.namespace }, { gracePeriodSeconds: 0 });
    }
  }
  await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'demo' } });
});

const entryName = 'autogen.demo.web';
const hash = 'isthmus.dev/federated-service';
/** SHA-256 of `demo/web`. */
const webHash = 'e31527df8383';
const port = (number: number): string => `port-${number}-${webHash}`;
const flat = (clusterId: string, pod: string): string => `autogenflat.${clusterId}.demo.${pod}.${webHash}`;

async function exportHere(isGlobal = true, spec: NonNullable<Service['spec']> = {}): Promise<void> {
  await cluster.create({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: 'web',
      namespace: 'demo',
      labels: isGlobal ? { 'solo.io/service-scope': 'global' } : { 'solo.io/service-scope': 'none' },
    },
    spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }], ...spec },
  });
}

const serviceEntry = (is: (entry: ServiceEntry) => boolean = () => true, namespace = 'demo'): Promise<ServiceEntry> =>
  cluster.until(resources.serviceEntries, { namespace, name: entryName }, is);
const workloadEntry = (name: string, is: (entry: WorkloadEntry) => boolean = () => true, namespace = 'demo'): Promise<WorkloadEntry> =>
  cluster.until(resources.workloadEntries, { namespace, name }, is);

/** Resolves when the writer has nothing to do, and still has nothing after all that is under way has come back. */
async function idle({ writer }: Run): Promise<void> {
  for (let quiet = 0; quiet < 5; quiet = writer.pending === 0 ? quiet + 1 : 0) await sleep(30);
}

function twoPeers(): void {
  for (const [at, clusterId] of ['cluster-2', 'cluster-3'].entries()) {
    peers.site(clusterId);
    peers.service(clusterId, 'web', [80]);
    for (const pod of [1, 2]) peers.pod(clusterId, `web-${pod}`, [10, 20 + at, 0, pod], { web: { 80: 9000 + at } });
  }
}

suite('entries for an unmodified istiod', { timeout: 120_000 }, () => {
  test('stand in the namespace of the service; a Service that is not exported here has no part in them', async () => {
    twoPeers();
    await exportHere(false);
    await using running = await run();
    const { spec } = await serviceEntry();
    assert.deepEqual(spec, {
      hosts: ['web.demo.mesh.internal'],
      ports: [{ name: port(80), number: 80, protocol: 'HTTP' }],
      resolution: 'STATIC',
      workloadSelector: { labels: { [hash]: webHash } },
    });
    const entry = await workloadEntry(flat('cluster-3', 'web-2'));
    assert.equal(entry.metadata.labels?.['app'], undefined);
    assert.deepEqual(entry.spec, { address: '10.21.0.2', network: 'flat-network', serviceAccount: 'default', ports: { [port(80)]: 9001 } });
    assert.equal(entry.metadata.annotations?.['ambient.istio.io/redirection'], 'enabled');
    await idle(running);
    assert.deepEqual(await running.writes(), { 'ServiceEntry created': 1, 'WorkloadEntry created': 6 });
  });

  test('the pods of an exported Service join by its selector, on their own target ports', async () => {
    twoPeers();
    await exportHere();
    await using running = await run();
    const { spec } = await serviceEntry();
    assert.deepEqual(spec.workloadSelector, { labels: { app: 'web' } });
    assert.deepEqual(spec.ports, [{ name: port(80), number: 80, protocol: 'HTTP', targetPort: 8080 }]);
    const entry = await workloadEntry(flat('cluster-2', 'web-1'));
    assert.equal(entry.metadata.labels?.['app'], 'web');
    assert.deepEqual(entry.spec.ports, { [port(80)]: 9000 });
    // Nothing goes through a gateway on a flat network: nobody selects its entry.
    const gateway = await workloadEntry('autogen.cluster-2.demo.web');
    assert.deepEqual([gateway.metadata.labels?.['app'], gateway.metadata.labels?.[hash]], [undefined, undefined]);
    await idle(running);
    assert.deepEqual(await running.writes(), { 'ServiceEntry created': 1, 'WorkloadEntry created': 6 });
  });

  test('pods that do not agree on a named target port are told of on the Service', async () => {
    await exportHere(true, {
      ports: [
        { name: 'http', port: 80, targetPort: 'nowhere' },
        { name: 'other', port: 81, targetPort: 81 },
      ],
    });
    await cluster.createPod({ namespace: 'demo', name: 'web-1', ip: '10.10.0.9', labels: { app: 'web' } });
    await using running = await run();
    await until(async () => (await warnings('PEERING_TARGET_PORTS', 'demo')).length > 0);
    assert.match((await warnings('PEERING_TARGET_PORTS', 'demo'))[0] ?? '', /^Service web: port 80 goes to the port named nowhere/);
    await idle(running);
    assert.deepEqual(
      (await serviceEntry()).spec.ports?.map(({ number }) => number),
      [81],
    );
  });

  test('no endpoint drops out when the Service comes to be exported, changes its selector, and is not exported any more', async () => {
    twoPeers();
    await exportHere(false);
    await using running = await run();
    await serviceEntry();
    for (const clusterId of ['cluster-2', 'cluster-3']) for (const pod of [1, 2]) await workloadEntry(flat(clusterId, `web-${pod}`));
    await idle(running);
    await using history = await watchEntries();
    await exportHere();
    await serviceEntry(({ spec }) => spec.workloadSelector?.labels?.['app'] === 'web');
    await exportHere(true, { selector: { app: 'web', tier: 'front' } });
    await serviceEntry(({ spec }) => spec.workloadSelector?.labels?.['tier'] === 'front');
    await exportHere(true, { selector: { app: 'other' } });
    await serviceEntry(({ spec }) => spec.workloadSelector?.labels?.['app'] === 'other');
    await exportHere(false);
    await serviceEntry(({ spec }) => spec.workloadSelector?.labels?.[hash] === webHash);
    await workloadEntry(flat('cluster-2', 'web-1'), ({ metadata }) => metadata.labels?.['app'] === undefined);
    await idle(running);
    const states = history.states();
    assert.ok(states.length > 20, `${states.length} states`);
    for (const { service, endpoints } of states) {
      const selector = Object.entries(service?.spec.workloadSelector?.labels ?? {});
      for (const { metadata } of endpoints) {
        const isSelected = selector.every(([label, value]) => metadata.labels?.[label] === value);
        assert.ok(isSelected, `${metadata.name} with ${JSON.stringify(metadata.labels)} is not selected by ${JSON.stringify(selector)}`);
      }
    }
    for (const pod of [1, 2]) {
      const { metadata } = await cluster.client.get(resources.workloadEntries, {
        namespace: 'demo',
        name: flat('cluster-3', `web-${pod}`),
      });
      assert.equal(metadata.labels?.['app'], undefined);
    }
  });

  test('an entry that cannot be written keeps the local pods out for a bounded time only', async () => {
    twoPeers();
    await exportHere(false);
    await using running = await run({ handoverMs: 400 });
    await workloadEntry(flat('cluster-3', 'web-1'));
    await serviceEntry();
    await idle(running);
    // More than the API takes.
    peers.site('cluster-3', { region: 'x'.repeat(3000) });
    running.settle();
    const startedAt = performance.now();
    await exportHere();
    await serviceEntry(({ spec }) => spec.workloadSelector?.labels?.['app'] === 'web');
    assert.ok(performance.now() - startedAt >= 400);
    assert.equal((await workloadEntry(flat('cluster-2', 'web-1'))).metadata.labels?.['app'], 'web');
  });

  test('a port is that of the service once all endpoints have it', async () => {
    twoPeers();
    await using running = await run();
    await serviceEntry();
    await idle(running);
    peers.service('cluster-2', 'web', [80, 81]);
    for (const pod of [1, 2]) peers.pod('cluster-2', `web-${pod}`, [10, 20, 0, pod], { web: { 80: 9000, 81: 9100 } });
    running.settle();
    await idle(running);
    assert.deepEqual(
      (await serviceEntry()).spec.ports?.map(({ number }) => number),
      [80],
    );
    assert.deepEqual(running.desired.globals.get('demo/web')?.conflicts, ['port 81 is not in cluster-3, so the global name lacks it']);
    await using history = await watchEntries();
    peers.service('cluster-3', 'web', [80, 81]);
    for (const pod of [1, 2]) peers.pod('cluster-3', `web-${pod}`, [10, 21, 0, pod], { web: { 80: 9001, 81: 9101 } });
    running.settle();
    await serviceEntry(({ spec }) => spec.ports?.length === 2);
    for (const { service, endpoints } of history.states()) {
      for (const { name } of service?.spec.ports ?? [])
        for (const { spec, metadata } of endpoints) assert.ok(spec.ports?.[name] !== undefined, `${metadata.name} lacks ${name}`);
    }
  });

  test('nothing is written into a namespace that is missing or going; what waits for it is told', async () => {
    peers.site('cluster-2');
    peers.service('cluster-2', 'web', [80], 'late');
    peers.pod('cluster-2', 'web-1', [10, 20, 0, 1], { web: { 80: 80 } }, 'late');
    await cluster.create({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'istio-remote-peer-cluster-2', namespace: 'istio-system' },
      spec: {
        gatewayClassName: 'istio-remote',
        listeners: [{ name: 'xds-tls', port: 15012, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
      },
    });
    await using running = await run();
    await until(async () => (await warnings('PEERING_NAMESPACE_MISSING', 'istio-system')).length > 0);
    const [warning = ''] = await warnings('PEERING_NAMESPACE_MISSING', 'istio-system');
    assert.match(
      warning,
      /^Gateway istio-remote-peer-cluster-2: namespace late does not exist here, .*kubectl create namespace late .*--create-namespaces$/,
    );
    await idle(running);
    assert.deepEqual(running.desired.missingNamespaces.get('late'), {
      name: 'late',
      state: 'absent',
      peers: ['cluster-2'],
      services: ['web'],
      isToBeMade: false,
    });
    assert.deepEqual(await running.writes(), {});
    const late = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'late' } };
    const endpoint = (): string =>
      [...running.desired.workloadEntries.entries()].find(([key]) => key.includes('autogenflat'))?.[0].split('/')[1] ?? '';
    for (const round of [1, 2]) {
      await cluster.create(late);
      await cluster.until(resources.serviceEntries, { namespace: 'late', name: 'autogen.late.web' }, () => true);
      await workloadEntry(endpoint(), () => true, 'late');
      assert.equal(running.desired.missingNamespaces.size, 0);
      // As the namespace controller does, which a test's API server has not: what is in it goes first, then it.
      await cluster.client.delete(resources.namespaces, { name: 'late' });
      await until(() => running.desired.missingNamespaces.get('late')?.state === 'deleting');
      for (const type of entryTypes) {
        for (const { metadata } of (await cluster.client.list(type, { namespace: 'late' })).items)
          await cluster.client.delete(type, { name: metadata.name, namespace: 'late' });
      }
      await idle(running);
      assert.deepEqual((await cluster.client.list(resources.workloadEntries, { namespace: 'late' })).items, []);
      await finalize('late');
      await until(() => running.desired.missingNamespaces.get('late')?.state === 'absent');
      const written = await running.writes();
      assert.deepEqual(written, { 'ServiceEntry created': round, 'WorkloadEntry created': 2 * round });
    }
  });

  test('a missing namespace is made when that is wanted, and never one of Kubernetes or Istio', async () => {
    peers.site('cluster-2');
    for (const namespace of ['made', 'kube-made']) {
      peers.service('cluster-2', 'web', [80], namespace);
      peers.pod('cluster-2', 'web-1', [10, 20, 0, namespace.length], { web: { 80: 80 } }, namespace);
    }
    await using running = await run({ createNamespaces: true });
    await cluster.until(resources.serviceEntries, { namespace: 'made', name: 'autogen.made.web' }, () => true);
    const made = await cluster.client.get(resources.namespaces, { name: 'made' });
    assert.equal(made.metadata.labels?.['app.kubernetes.io/managed-by'], 'isthmus');
    assert.equal(made.metadata.labels['istio.io/dataplane-mode'], undefined);
    await idle(running);
    assert.equal(await cluster.client.find(resources.namespaces, { name: 'kube-made' }), undefined);
    assert.equal(running.desired.missingNamespaces.get('kube-made')?.isToBeMade, false);
    for (const type of entryTypes) {
      for (const { metadata } of (await cluster.client.list(type, { namespace: 'made' })).items)
        await cluster.client.delete(type, { name: metadata.name, namespace: 'made' });
    }
  });

  test('an object of somebody else is left alone and told of once, whatever labels it has', async () => {
    const stranger = {
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: { name: entryName, namespace: 'demo', labels: { 'solo.io/parent-service': 'web', [hash]: webHash } },
      spec: { hosts: ['other.example.org'], ports: [{ name: 'http', number: 80, protocol: 'HTTP' }], resolution: 'DNS' },
    };
    await cluster.create(stranger);
    twoPeers();
    await using running = await run();
    await workloadEntry(flat('cluster-2', 'web-1'));
    for (const pod of [3, 4, 5]) {
      peers.pod('cluster-2', `web-${pod}`, [10, 20, 0, pod], { web: { 80: 80 } });
      running.settle();
      running.writer.reviewAll();
      await workloadEntry(flat('cluster-2', `web-${pod}`));
    }
    await idle(running);
    const kept = await serviceEntry();
    assert.deepEqual(kept.spec.hosts, ['other.example.org']);
    const told = async (): Promise<number[]> => {
      const { items } = await cluster.client.list(resources.events, { namespace: 'demo' });
      return items
        .filter(({ reason, involvedObject }) => reason === 'PEERING_NOT_OURS' && involvedObject.uid === kept.metadata.uid)
        .map(({ count }) => count ?? 0);
    };
    await until(async () => (await told()).length > 0);
    assert.deepEqual(await told(), [1]);
    await cluster.client.delete(resources.serviceEntries, { namespace: 'demo', name: entryName });
    await serviceEntry(({ spec }) => spec.hosts[0] === 'web.demo.mesh.internal');
  });

  test('what somebody takes away from our entries comes back; what they add stays', async () => {
    twoPeers();
    await exportHere();
    await using running = await run();
    const ref = { namespace: 'demo', name: flat('cluster-2', 'web-1') };
    await workloadEntry(ref.name);
    await idle(running);
    const body = { metadata: { labels: { app: null, 'solo.io/parent-service': null, team: 'a' } }, spec: { address: '10.9.9.9' } };
    await cluster.client.patch(resources.workloadEntries, ref, { type: 'merge', body }, { fieldManager: 'somebody' });
    const { metadata } = await workloadEntry(ref.name, ({ spec }) => spec.address === '10.20.0.1');
    assert.deepEqual(
      [metadata.labels?.['app'], metadata.labels?.['solo.io/parent-service'], metadata.labels?.['team']],
      ['web', 'web', 'a'],
    );
  });

  test('entries of the other placement go once their successors are there', async () => {
    twoPeers();
    await exportHere();
    {
      await using before = await run({ placement: 'rootNamespace' });
      await workloadEntry(flat('cluster-3', 'web-2'), () => true, 'istio-system');
      await idle(before);
    }
    for (const [placement, there, gone] of [
      ['serviceNamespace', 'demo', 'istio-system'],
      ['rootNamespace', 'istio-system', 'demo'],
    ] as const) {
      await using now = await run({ placement });
      now.writer.reviewAll();
      await workloadEntry(flat('cluster-3', 'web-2'), () => true, there);
      await until(async () => (await cluster.client.list(resources.workloadEntries, { namespace: gone })).items.length === 0);
      await idle(now);
      assert.equal((await cluster.client.list(resources.serviceEntries, { namespace: gone })).items.length, 0);
      assert.equal((await cluster.client.list(resources.workloadEntries, { namespace: there })).items.length, 6);
    }
  });

  test('a restart writes nothing, nor does one that knows of no peer yet', async () => {
    twoPeers();
    await exportHere();
    {
      await using first = await run();
      await workloadEntry(flat('cluster-3', 'web-2'));
      await idle(first);
    }
    await using second = await run();
    second.writer.reviewAll();
    await idle(second);
    assert.deepEqual(await second.writes(), {});
    const told = peers;
    peers = new Peers();
    await using third = await run({ isKnown: () => false });
    third.writer.reviewAll();
    await idle(third);
    assert.deepEqual(await third.writes(), {});
    peers = told;
  });

  test('ten thousand changes of pods cost at most ten thousand writes, and far fewer when they come fast', async () => {
    peers.site('cluster-2');
    peers.service('cluster-2', 'web', [80]);
    const pods = 100;
    for (let pod = 0; pod < pods; pod++) peers.pod('cluster-2', `web-${pod}`, [10, 20, 1, pod], { web: { 80: 1 } });
    await using running = await run({ rate: { perSecond: 10_000, burst: 10_000 } });
    await workloadEntry(flat('cluster-2', `web-${pods - 1}`));
    await idle(running);
    const before = await total(running);
    for (let change = 1; change <= 10_000; change++) {
      peers.pod('cluster-2', `web-${change % pods}`, [10, 20, 1, change % pods], { web: { 80: 1 + change } });
      if (change % 10 !== 0) continue;
      running.settle();
      if (change % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await idle(running);
    const written = (await total(running)) - before;
    assert.ok(written >= pods && written <= 10_000, `${written} writes`);
    assert.equal((await workloadEntry(flat('cluster-2', 'web-7'))).spec.ports?.[port(80)], 1 + 10_000 - pods + 7);
  });

  test('a single change costs a single write', async () => {
    twoPeers();
    await using running = await run();
    await workloadEntry(flat('cluster-3', 'web-2'));
    await idle(running);
    for (let change = 0; change < 50; change++) {
      const before = await total(running);
      peers.pod('cluster-2', 'web-1', [10, 20, 0, 1], { web: { 80: 1000 + change } });
      running.settle();
      await until(async () => (await total(running)) > before);
      // Before the watch tells of it, too.
      running.writer.reviewAll();
      await workloadEntry(flat('cluster-2', 'web-1'), ({ spec }) => spec.ports?.[port(80)] === 1000 + change);
      running.writer.reviewAll();
      assert.equal((await total(running)) - before, 1);
    }
    await idle(running);
  });

  test('a peer that churns does not delay another', async () => {
    for (const clusterId of ['cluster-2', 'cluster-3']) {
      peers.site(clusterId);
      peers.service(clusterId, 'web', [80]);
      peers.pod(clusterId, 'web-0', [10, clusterId === 'cluster-2' ? 20 : 21, 0, 1], { web: { 80: 80 } });
    }
    await using running = await run({ rate: { perSecond: 50, burst: 1 } });
    await workloadEntry(flat('cluster-3', 'web-0'));
    await idle(running);
    // Ten seconds of work.
    for (let pod = 1; pod <= 500; pod++) peers.pod('cluster-2', `web-${pod}`, [10, 20, 2 + (pod >> 8), pod & 255], { web: { 80: 80 } });
    running.settle();
    await until(() => running.writer.pending > 400);
    const startedAt = performance.now();
    peers.pod('cluster-3', 'web-1', [10, 21, 0, 2], { web: { 80: 80 } });
    running.settle();
    await workloadEntry(flat('cluster-3', 'web-1'));
    assert.ok(performance.now() - startedAt < 1000, `${performance.now() - startedAt} ms`);
    peers.noPod('cluster-3', 'web-1');
    running.settle();
    await until(
      async () =>
        (await cluster.client.find(resources.workloadEntries, { namespace: 'demo', name: flat('cluster-3', 'web-1') })) === undefined,
    );
    assert.ok(performance.now() - startedAt < 2000, `${performance.now() - startedAt} ms`);
    assert.ok(running.writer.pending > 300);
  });
});

async function total(running: Run): Promise<number> {
  return Object.values(await running.writes()).reduce((sum, count) => sum + count, 0);
}

/** The Events of a reason: object and message. */
async function warnings(wanted: string, namespace: string): Promise<string[]> {
  const { items } = await cluster.client.list(resources.events, { namespace });
  const found = items.filter(({ type, reason }) => type === 'Warning' && reason === wanted);
  return found.map(({ involvedObject: { kind, name }, message }) => `${kind ?? ''} ${name ?? ''}: ${message ?? ''}`);
}

async function until(is: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await is())) {
    if (performance.now() > deadline) assert.fail('it did not come to be');
    await sleep(10);
  }
}

/** Ends a namespace's deletion. */
async function finalize(name: string): Promise<void> {
  const namespace = await cluster.client.find(resources.namespaces, { name });
  if (namespace === undefined) return;
  await cluster.client.update(resources.namespaces, { ...namespace, spec: { finalizers: [] } }, { subresource: 'finalize' });
}

interface History extends AsyncDisposable {
  /** The entries of the service `web` after each write, in the order of the writes. */
  states(): { readonly service: ServiceEntry | undefined; readonly endpoints: readonly WorkloadEntry[] }[];
}

/** Follows all versions of the entries. */
async function watchEntries(): Promise<History> {
  const stop = new AbortController();
  const seen: (ServiceEntry | WorkloadEntry)[] = [];
  const running: Promise<void>[] = [];
  const follow = async <T extends ServiceEntry | WorkloadEntry>(type: ResourceType<T>): Promise<void> => {
    const { items, resourceVersion } = await cluster.client.list(type, { namespace: 'demo' });
    seen.push(...items);
    const watch = async (): Promise<void> => {
      for await (const { object } of cluster.client.watch(type, { namespace: 'demo', resourceVersion, signal: stop.signal }))
        seen.push(object);
    };
    running.push(watch().catch(() => undefined));
  };
  await follow(resources.serviceEntries);
  await follow(resources.workloadEntries);
  return {
    states: () => {
      const ordered = [...seen].sort((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion));
      const now = new Map<string, ServiceEntry | WorkloadEntry>();
      return ordered.map((entry) => {
        now.set(`${entry.kind} ${entry.metadata.name}`, entry);
        const all = [...now.values()];
        return {
          service: all.find((one): one is ServiceEntry => one.kind === 'ServiceEntry'),
          endpoints: all.filter((one): one is WorkloadEntry => one.metadata.name.startsWith('autogenflat.')),
        };
      });
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all(running);
    },
  };
}
