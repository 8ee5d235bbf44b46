import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import type { KubeObject } from '../../src/api/kubernetes.ts';
import { resources, type ResourceType } from '../../src/api/resources.ts';
import { sleep } from '../../src/core/index.ts';
import { createRoot, type AuthorityMaterial } from '../../src/pki/index.ts';
import { startCluster, startIstiod, type TestCluster, type TestIstiod, type TestObject } from '../istiod/cluster.ts';
import { withoutAssets } from '../support/real-api-server.ts';

/** Our istiod with one of the two API servers. */
interface Side {
  readonly cluster: TestCluster;
  readonly istiod: TestIstiod;
}

const named = (apiVersion: string, kind: string, name: string, spec?: unknown, metadata: object = {}): TestObject => ({
  apiVersion,
  kind,
  metadata: { name, namespace: 'demo', ...metadata },
  ...(spec !== undefined && { spec }),
});
const http = { name: 'http', port: 80, targetPort: 8080 };
const eastWest = named(
  'gateway.networking.k8s.io/v1',
  'Gateway',
  'istio-eastwest',
  {
    gatewayClassName: 'istio-eastwest',
    listeners: [{ name: 'xds-tls', port: 15012, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
  },
  { namespace: 'istio-eastwest', labels: { 'topology.istio.io/network': 'flat-network' } },
);

/** ClusterIPs are given: the servers choose different ones. */
const mesh: readonly TestObject[] = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'demo', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'istio-eastwest' } },
  {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-1', labels: { 'topology.kubernetes.io/region': 'r', 'topology.kubernetes.io/zone': 'z' } },
    spec: { podCIDR: '10.10.0.0/24', podCIDRs: ['10.10.0.0/24'] },
  },
  named('v1', 'Service', 'web', {
    clusterIP: '10.255.10.50',
    selector: { app: 'web' },
    ports: [http, { name: 'grpc', port: 90, targetPort: 'grpc' }],
  }),
  named('v1', 'Service', 'bare', { clusterIP: 'None', selector: { app: 'web' }, ports: [http] }),
  named('v1', 'Service', 'unready', { clusterIP: '10.255.10.51', selector: { app: 'web' }, ports: [http], publishNotReadyAddresses: true }),
  named('v1', 'Service', 'near', {
    clusterIP: '10.255.10.52',
    selector: { app: 'web' },
    ports: [http],
    trafficDistribution: 'PreferClose',
  }),
  named('v1', 'Service', 'elsewhere', { clusterIP: '10.255.10.53', ports: [http] }),
  {
    ...named('discovery.k8s.io/v1', 'EndpointSlice', 'elsewhere-1', undefined, { labels: { 'kubernetes.io/service-name': 'elsewhere' } }),
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: [{ addresses: ['192.0.2.7'], conditions: { ready: true } }],
  },
  named('networking.istio.io/v1', 'ServiceEntry', 'static', {
    hosts: ['static.example'],
    resolution: 'STATIC',
    ports: [{ name: 'http', number: 80, protocol: 'HTTP', targetPort: 8080 }],
    endpoints: [{ address: '192.0.2.1', ports: { http: 81 } }, { address: '192.0.2.2' }],
  }),
  named('networking.istio.io/v1', 'ServiceEntry', 'selecting', {
    hosts: ['selecting.example'],
    resolution: 'STATIC',
    ports: [{ name: 'http', number: 80, protocol: 'HTTP' }],
    workloadSelector: { labels: { app: 'web' } },
  }),
  named('networking.istio.io/v1', 'ServiceEntry', 'named', {
    hosts: ['named.example'],
    resolution: 'DNS',
    addresses: ['192.0.2.100'],
    ports: [{ name: 'tcp', number: 5432, protocol: 'TCP' }],
  }),
  named(
    'networking.istio.io/v1',
    'WorkloadEntry',
    'vm',
    { address: '192.0.2.9', serviceAccount: 'vm', weight: 3, locality: 'r/z2', labels: { app: 'web' } },
    { labels: { app: 'web' } },
  ),
  named('security.istio.io/v1', 'PeerAuthentication', 'strict', { mtls: { mode: 'STRICT' } }),
  named('security.istio.io/v1', 'AuthorizationPolicy', 'deny', {
    action: 'DENY',
    selector: { matchLabels: { app: 'web' } },
    rules: [{ from: [{ source: { namespaces: ['other'] } }], to: [{ operation: { ports: ['8080'] } }] }],
  }),
  named('security.istio.io/v1', 'AuthorizationPolicy', 'layer-7', {
    action: 'ALLOW',
    rules: [{ to: [{ operation: { methods: ['GET'] } }] }],
  }),
  eastWest,
];

/** Kinds that istiod writes, or writes the status of, and where to look. */
const written: readonly (readonly [type: ResourceType, namespace?: string])[] = [
  [resources.serviceEntries, 'demo'],
  [resources.authorizationPolicies, 'demo'],
  [resources.gatewayClasses],
  [resources.gateways, 'istio-eastwest'],
  [resources.deployments, 'istio-eastwest'],
  [resources.services, 'istio-eastwest'],
  [resources.serviceAccounts, 'istio-eastwest'],
  [resources.configMaps, 'demo'],
];

describe("our istiod on the lab's API server and on a real one", { skip: withoutAssets, timeout: 120_000 }, () => {
  const started = new AsyncDisposableStack();
  let lab: Side;
  let real: Side;

  before(async () => {
    const authority = await createRoot();
    lab = await side('lab', authority);
    real = await side('real', authority);
    for (const { cluster } of [lab, real]) await build(cluster);
  });
  after(() => started.disposeAsync());

  async function side(kind: 'lab' | 'real', authority: AuthorityMaterial): Promise<Side> {
    const cluster = started.use(await startCluster({ name: 'cluster-1', kind, serviceCidr: '10.255.10.0/24' }));
    const readinessPort = kind === 'lab' ? 18_380 : 18_381;
    return { cluster, istiod: started.use(await startIstiod(cluster, { authority, readinessPort })) };
  }

  it('derives the same mesh', async () => {
    const { workloads, services, policies } = await same(meshOf);
    // So that two empty ones do not count.
    assert.deepEqual([workloads.length, services.length, policies.length], [7, 8, 2]);
  });

  it('derives the same mesh after changes', async () => {
    for (const { cluster } of [lab, real]) {
      await cluster.setPodReady('demo', 'web-1', false);
      await cluster.client.delete(resources.pods, { namespace: 'demo', name: 'web-2' }, { gracePeriodSeconds: 0 });
      await cluster.client.delete(resources.services, { namespace: 'demo', name: 'near' });
      const labels = { metadata: { labels: { app: null } } };
      await cluster.client.patch(resources.workloadEntries, { namespace: 'demo', name: 'vm' }, { type: 'merge', body: labels });
      await cluster.client.delete(resources.peerAuthentications, { namespace: 'demo', name: 'strict' });
    }
    const { workloads, services } = await same(meshOf, ({ workloads: all }) => all.length === 6);
    assert.ok(!JSON.stringify(workloads).includes('web-2'));
    assert.ok(!services.some((one) => JSON.stringify(one).includes('near.demo')));
  });

  it('leaves the same objects behind, owned field by field by the same managers', async () => {
    const objects = await same(objectsOf);
    const kinds = new Set(objects.map(({ kind }) => kind));
    assert.deepEqual([...kinds].sort(), [...new Set(written.map(([type]) => type.kind))].sort());
  });

  /** What both sides come to agree on. */
  async function same<T>(of: (side: Side) => Promise<T>, is: (value: T) => boolean = () => true): Promise<T> {
    // No event tells that there is no more to come.
    const until = performance.now() + 15_000;
    for (;;) {
      const [left, right] = await Promise.all([of(lab), of(real)]);
      try {
        assert.deepEqual(left, right);
        if (is(right)) return right;
        assert.ok(performance.now() < until, 'the same, but not as expected');
      } catch (error) {
        if (performance.now() > until) throw error;
      }
      await sleep(100);
    }
  }
});

/** Makes all objects, each when what the one before it caused is there: addresses are given in the order of creation. */
async function build(cluster: TestCluster): Promise<void> {
  for (const object of mesh) {
    await cluster.create(object);
    if (object.kind !== 'ServiceEntry' || object.metadata.name === 'named') continue;
    await cluster.until(
      resources.serviceEntries,
      object.metadata,
      ({ status }) => ((status as { addresses?: readonly unknown[] } | undefined)?.addresses ?? []).length === 2,
    );
  }
  const pod = { namespace: 'demo', labels: { app: 'web', version: 'v1' }, annotations: { 'ambient.istio.io/redirection': 'enabled' } };
  await cluster.createPod({ ...pod, name: 'web-1', ip: '10.10.0.1' });
  await cluster.createPod({ ...pod, name: 'web-2', ip: '10.10.0.2', serviceAccount: 'other', annotations: {} });
  await cluster.createPod({ ...pod, name: 'pending' });
  const ref = { namespace: 'istio-eastwest', name: 'istio-eastwest' };
  await cluster.until(resources.deployments, ref, () => true);
  const ingress = { status: { loadBalancer: { ingress: [{ ip: '172.18.201.1' }] } } };
  await cluster.until(resources.services, ref, () => true);
  await cluster.client.patch(resources.services, ref, { type: 'merge', body: ingress }, { subresource: 'status' });
  const replicas = { status: { replicas: 1, readyReplicas: 1, availableReplicas: 1 } };
  await cluster.client.patch(resources.deployments, ref, { type: 'merge', body: replicas }, { subresource: 'status' });
  await cluster.until(resources.gateways, ref, ({ status }) =>
    (status?.conditions ?? []).some(({ type, status: is }) => type === 'Programmed' && is === 'True'),
  );
}

interface DerivedMesh {
  readonly workloads: readonly object[];
  readonly services: readonly object[];
  readonly policies: readonly object[];
}

/** Of the namespace demo alone: the servers have Services of their own in others. */
async function meshOf({ istiod }: Side): Promise<DerivedMesh> {
  const response = await fetch(`http://127.0.0.1:${istiod.listening.monitoringPort}/debug/ambientz`);
  const all = (await response.json()) as Record<'workloads' | 'services' | 'policies', { namespace?: string }[]>;
  const ours = (objects: { namespace?: string }[]): object[] =>
    objects.filter(({ namespace }) => namespace === 'demo').sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)));
  return { workloads: ours(all.workloads), services: ours(all.services), policies: ours(all.policies) };
}

/** Without what no two servers have in common. */
async function objectsOf({ cluster }: Side): Promise<readonly KubeObject[]> {
  const all: KubeObject[] = [];
  for (const [type, namespace] of written) {
    const { items } = await cluster.client.list(type, { namespace });
    all.push(...items.filter(({ metadata }) => metadata.name !== 'kube-root-ca.crt'));
  }
  const text = JSON.stringify(all, withoutChance);
  // Field sets name owners by their uid.
  return JSON.parse(text.replaceAll(/k:\{\\"uid\\":\\"[-0-9a-f]+\\"\}/g, 'k:uid')) as KubeObject[];
}

const orderOf = ({ manager, operation, subresource }: { manager?: string; operation?: string; subresource?: string }): string =>
  [manager, operation, subresource].join();

const byChance = new Set([
  'uid',
  'resourceVersion',
  'creationTimestamp',
  'lastTransitionTime',
  'time',
  'clusterIP',
  'clusterIPs',
  'nodePort',
  'healthCheckNodePort',
]);

function withoutChance(key: string, value: unknown): unknown {
  // Ordered by time, in whole seconds.
  if (key === 'managedFields') return (value as object[]).toSorted((a, b) => orderOf(a).localeCompare(orderOf(b)));
  return byChance.has(key) ? undefined : value;
}
