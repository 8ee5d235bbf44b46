import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { TunnelProtocol } from '../../src/api/gen/istio/workload_pb.js';
import type { WorkloadEntry } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import { addressText } from '../../src/mesh/index.ts';
import { createRoot, issueIntermediate, verifyAuthority } from '../../src/pki/index.ts';
import { Proxy, startCluster, startIstiod, type TestCluster, type TestIstiod, type TestObject } from './cluster.ts';

interface Side {
  readonly cluster: TestCluster;
  readonly istiod: TestIstiod;
  readonly proxy: Proxy;
}

const root = await createRoot();
const globalKey = 'demo/global-service.demo.mesh.internal';
/** Stopped in the other order, also when starting failed half-way. */
const started = new AsyncDisposableStack();
let one: Side;
let two: Side;

/** A cluster as the guide has it, with pods but without kubelets: what a node would report is written by hand. */
async function side(number: 1 | 2): Promise<Side> {
  const name = `cluster-${number}`;
  const cluster = started.use(await startCluster({ name, port: 7442 + number, serviceCidr: `10.255.${number}0.0/24` }));
  const authority = await issueIntermediate(verifyAuthority(root), { cluster: name });
  const istiod = started.use(await startIstiod(cluster, { authority, readinessPort: 18_180 + number }));
  await cluster.create(
    {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'node-1' },
      spec: { podCIDR: `10.${number}0.0.0/16`, podCIDRs: [`10.${number}0.0.0/16`] },
    },
    ...['demo', 'istio-eastwest'].map((namespace): TestObject => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'global-service', namespace: 'demo', labels: { app: 'global-service', 'solo.io/service-scope': 'global' } },
      spec: { selector: { app: 'global-service' }, ports: [{ name: 'http', port: 5000 }] },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'local-service', namespace: 'demo' },
      spec: { selector: { app: 'global-service' }, ports: [{ name: 'http', port: 5000 }] },
    },
  );
  for (const pod of [1, 2]) await podOf(cluster, number, pod);
  const ztunnel = await cluster.createPod({ namespace: 'istio-system', name: 'ztunnel-1', serviceAccount: 'ztunnel' });
  const proxy = started.use(
    new Proxy({
      url: `https://127.0.0.1:${istiod.listening.tlsPort}`,
      tls: { roots: root.roots, serverName: 'istiod.istio-system.svc' },
      token: await cluster.token(ztunnel),
    }),
  );
  return { cluster, istiod, proxy };
}

async function podOf(cluster: TestCluster, number: 1 | 2, pod: number): Promise<void> {
  await cluster.createPod({
    namespace: 'demo',
    name: `global-service-v${number}-${pod}`,
    ip: `10.${number}0.0.1${pod}`,
    labels: { app: 'global-service', version: `v${number}` },
    annotations: { 'ambient.istio.io/redirection': 'enabled' },
  });
}

async function link(from: Side, to: Side): Promise<void> {
  await from.cluster.create({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      name: `istio-remote-peer-${to.cluster.name}`,
      namespace: 'istio-eastwest',
      labels: { 'topology.istio.io/cluster': to.cluster.name, 'topology.istio.io/network': 'flat-network' },
      annotations: { 'gateway.istio.io/service-account': 'istio-eastwest', 'gateway.istio.io/trust-domain': 'cluster.local' },
    },
    spec: {
      gatewayClassName: 'istio-remote',
      addresses: [{ type: 'IPAddress', value: '127.0.0.1' }],
      listeners: [{ name: 'xds-tls', port: to.istiod.listening.tlsPort, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
    },
  });
}

before(async () => {
  [one, two] = await Promise.all([side(1), side(2)]);
  await Promise.all([link(one, two), link(two, one)]);
});

after(() => started.disposeAsync());

/** Addresses behind a service, as a proxy sees them. */
function endpoints({ proxy }: Side, key: string): string[] {
  const behind = [...proxy.workloads.values()].filter(({ services }) => key in services);
  return behind.flatMap(({ addresses }) => addresses.map(addressText)).sort();
}

describe('two linked clusters', () => {
  const all = ['10.10.0.11', '10.10.0.12', '10.20.0.11', '10.20.0.12'];

  it('give a global service one name in both, with the pods of both behind it', async () => {
    for (const at of [one, two]) {
      await at.proxy.until('all endpoints', () => endpoints(at, globalKey).join() === all.join());
      await at.proxy.until('addresses', () => (at.proxy.services.get(globalKey)?.addresses ?? []).length === 2);
    }
  });

  it("show a peer's pod with the identity and cluster that are its own", () => {
    const workload = [...one.proxy.workloads.values()].find(({ addresses }) =>
      addresses.some((address) => addressText(address) === '10.20.0.11'),
    );
    assert.equal(workload?.name, 'autogenflat.cluster-2.demo.global-service-v2-1.eacd81ea03fd');
    assert.equal(workload.namespace, 'demo');
    assert.equal(workload.serviceAccount, 'default');
    assert.equal(workload.clusterId, 'cluster-2');
    assert.equal(workload.tunnelProtocol, TunnelProtocol.HBONE);
    assert.equal(workload.network, 'flat-network');
  });

  it("have the guide's entries, and no others", async () => {
    const { items } = await one.cluster.client.list(resources.workloadEntries, { namespace: 'istio-system' });
    const shown = items.map(({ metadata, spec }: WorkloadEntry) => `${metadata.name} ${spec.address ?? ''}`.trim()).sort();
    assert.deepEqual(shown, [
      'autogen.cluster-2.demo.global-service',
      'autogenflat.cluster-2.demo.global-service-v2-1.eacd81ea03fd 10.20.0.11',
      'autogenflat.cluster-2.demo.global-service-v2-2.eacd81ea03fd 10.20.0.12',
    ]);
    const entries = await one.cluster.client.list(resources.serviceEntries, { namespace: 'istio-system' });
    assert.deepEqual(
      entries.items.map(({ metadata, spec }) => [metadata.name, spec.hosts, spec.location, spec.resolution]),
      [['autogen.demo.global-service', ['global-service.demo.mesh.internal'], undefined, 'STATIC']],
    );
  });

  it('keep local names local', () => {
    assert.deepEqual(endpoints(one, 'demo/local-service.demo.svc.cluster.local'), ['10.10.0.11', '10.10.0.12']);
    assert.deepEqual(endpoints(one, 'demo/global-service.demo.svc.cluster.local'), ['10.10.0.11', '10.10.0.12']);
  });

  it('take out a pod that is not ready, and one that is gone, in both', async () => {
    await two.cluster.setPodReady('demo', 'global-service-v2-1', false);
    await one.proxy.until('the unready pod out', () => !endpoints(one, globalKey).includes('10.20.0.11'));
    await two.cluster.client.delete(resources.pods, { namespace: 'demo', name: 'global-service-v2-2' }, { gracePeriodSeconds: 0 });
    await one.proxy.until('only own pods', () => endpoints(one, globalKey).join() === '10.10.0.11,10.10.0.12');
    await two.cluster.setPodReady('demo', 'global-service-v2-1', true);
    await podOf(two.cluster, 2, 2);
    await one.proxy.until('all again', () => endpoints(one, globalKey).join() === all.join());
  });

  it('show the link in the status of its Gateway', async () => {
    const ref = { namespace: 'istio-eastwest', name: 'istio-remote-peer-cluster-2' };
    const wanted = ['Accepted', 'Programmed', 'gloo.solo.io/PeerConnected', 'gloo.solo.io/PeeringSucceeded'];
    await one.cluster.until(resources.gateways, ref, ({ status }) =>
      wanted.every((type) => status?.conditions?.some((condition) => condition.type === type && condition.status === 'True')),
    );
  });

  it('forget each other when the link is taken away', async () => {
    await one.cluster.client.delete(resources.gateways, { namespace: 'istio-eastwest', name: 'istio-remote-peer-cluster-2' });
    await one.proxy.until('own pods only', () => endpoints(one, globalKey).join() === '10.10.0.11,10.10.0.12');
    assert.deepEqual(endpoints(two, globalKey), all, 'the other direction stays');
  });
});
