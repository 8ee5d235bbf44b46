import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { parseAllDocuments } from 'yaml';

import type { Gateway, WorkloadEntry } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import { applyObjects } from '../../src/cli/apply.ts';
import { expose } from '../../src/cli/multicluster/expose.ts';
import { link, writeLink } from '../../src/cli/multicluster/link.ts';
import { readStatus, statusTable } from '../../src/cli/multicluster/status.ts';
import { unlink } from '../../src/cli/multicluster/unlink.ts';
import { KubeClient } from '../../src/kube/index.ts';
import { createRoot, issueIntermediate, publicKeySha256, verifyAuthority } from '../../src/pki/index.ts';
import { startApiServer, type ApiServer } from '../support/api-server.ts';
import { installWithHelm, makeNamespace } from '../support/helm-installed-istio.ts';

const namespace = 'istio-eastwest';

describe('linking clusters with an Istio that others installed', () => {
  const servers: ApiServer[] = [];
  const fingerprints = new Map<string, string>();
  let a: KubeClient;
  let b: KubeClient;
  let printed: string[] = [];
  const print = (line: string): void => void printed.push(line);

  before(async () => {
    servers.push(await startApiServer({ name: 'east' }), await startApiServer({ name: 'west' }));
    [a, b] = servers.map(({ kubeconfig: path }) => KubeClient.fromKubeconfig({ path })) as [KubeClient, KubeClient];
    const root = verifyAuthority(await createRoot());
    for (const [client, clusterId] of [
      [a, 'east-1'],
      [b, 'west-1'],
    ] as const) {
      const authority = await issueIntermediate(root, { cluster: clusterId });
      fingerprints.set(clusterId, publicKeySha256(verifyAuthority(authority).certificate));
      await installWithHelm(client, { clusterId, network: 'flat', authority, podRange: '10.0.0.0/16' });
      await makeNamespace(client, namespace);
    }
  });
  beforeEach(async () => {
    printed = [];
    for (const client of [a, b]) {
      for (const { metadata } of (await client.list(resources.gateways)).items) await client.delete(resources.gateways, metadata);
    }
  });
  after(async () => {
    a[Symbol.dispose]();
    b[Symbol.dispose]();
    for (const server of servers) await server[Symbol.asyncDispose]();
  });

  const remotes = async (client: KubeClient): Promise<readonly Gateway[]> =>
    (await client.list(resources.gateways)).items.filter(({ spec }) => spec.gatewayClassName === 'istio-remote');

  async function exposeAt(client: KubeClient, address: string): Promise<void> {
    await expose({ client, namespace, generate: false, wait: false, print });
    await program(client, address);
  }

  test('the namespace of the gateway is made when that is asked for', async () => {
    const missing = { client: a, namespace: 'new-gateways', generate: false, wait: false, print };
    await assert.rejects(expose(missing), { code: 'NAMESPACE_MISSING', hint: /--create-namespace/ });
    await expose({ ...missing, createNamespace: true });
    await expose({ ...missing, createNamespace: true });
    assert.deepEqual(
      printed.filter((line) => line.includes('Namespace')),
      ['east: Namespace new-gateways created'],
    );
    await a.get(resources.gateways, { name: 'istio-eastwest', namespace: 'new-gateways' });
  });

  test('both directions, with the fingerprint of the peer; again changes nothing', async () => {
    await exposeAt(a, '192.0.2.1');
    await exposeAt(b, 'west.example.com');
    const options = { clients: [a, b], namespace, timeout: 5_000, print };
    await link(options);
    const [toWest] = await remotes(a);
    const [toEast] = await remotes(b);
    assert.deepEqual(toWest?.spec.addresses, [{ type: 'Hostname', value: 'west.example.com' }]);
    assert.deepEqual(toEast?.spec.addresses, [{ type: 'IPAddress', value: '192.0.2.1' }]);
    assert.equal(toWest.metadata.annotations?.['isthmus.dev/peer-ca-sha256'], fingerprints.get('west-1'));
    assert.deepEqual(toWest.metadata.labels, { 'topology.istio.io/cluster': 'west-1', 'topology.istio.io/network': 'flat' });
    await link(options);
    assert.deepEqual(await remotes(a), [toWest]);
    assert.deepEqual(await remotes(b), [toEast]);
  });

  test('waits for the address of a gateway that is not programmed yet', async () => {
    await exposeAt(a, '192.0.2.1');
    await expose({ client: b, namespace, generate: false, wait: false, print });
    await applyObjects(b, [peeringDeployment]);
    const linking = link({ clients: [a, b], namespace, timeout: 10_000, print });
    await program(b, '192.0.2.2');
    await linking;
    assert.deepEqual((await remotes(a))[0]?.spec.addresses, [{ type: 'IPAddress', value: '192.0.2.2' }]);
    await b.delete(resources.deployments, peeringDeployment.metadata);
  });

  test('a cluster where nothing peers is told at once, and one that is not exposed', async () => {
    await exposeAt(a, '192.0.2.1');
    await assert.rejects(link({ clients: [a, b], namespace, timeout: 60_000, print }), { code: 'LINK_NOT_EXPOSED' });
    await expose({ client: b, namespace, generate: false, wait: false, print });
    await assert.rejects(link({ clients: [a, b], namespace, timeout: 60_000, print }), { code: 'PEERING_NOT_INSTALLED' });
    assert.deepEqual(await remotes(a), []);
  });

  test('one direction, straight to an address, as YAML and as a dry run', async () => {
    const options = { clients: [a], peers: [b], namespace, timeout: 1_000, print, addresses: new Map([['west-1', '[2001:db8::1]:31512']]) };
    await link({ ...options, dryRun: true });
    await link({ ...options, generate: true });
    assert.deepEqual(await remotes(a), []);
    await link(options);
    const [made] = await remotes(a);
    assert.deepEqual(made?.spec.addresses, [{ type: 'IPAddress', value: '2001:db8::1' }]);
    assert.equal(made.spec.listeners[0]?.port, 31512);
    assert.deepEqual(await remotes(b), []);
    const [, yaml = ''] = printed;
    const generated = parseAllDocuments(yaml)[0]?.toJS() as Gateway;
    assert.deepEqual(generated.spec.addresses, made.spec.addresses);
    assert.deepEqual(generated.metadata.annotations, made.metadata.annotations);
  });

  test('an address that is none is refused before anything is written', async () => {
    for (const address of ['a:b:c', 'host:0', 'host:70000', '']) {
      const linking = link({ clients: [a], peers: [b], namespace, timeout: 1_000, print, addresses: new Map([['west-1', address]]) });
      await assert.rejects(linking, { code: 'ISTHMUS_USAGE' }, address);
    }
    assert.deepEqual(await remotes(a), []);
  });

  test('one id in two clusters is refused', async () => {
    await exposeAt(a, '192.0.2.1');
    await assert.rejects(link({ clients: [a, a], namespace, timeout: 1_000, print }), { code: 'LINK_DUPLICATE_CLUSTER' });
  });

  test('unlink takes the link to a cluster that is gone, wherever it is, and leaves all others', async () => {
    const peer = { network: 'flat', trustDomain: 'cluster.local', address: '192.0.2.3', caSha256: undefined };
    await makeNamespace(a, 'elsewhere');
    await writeLink({ client: a, namespace, peer: { ...peer, clusterId: 'gone-1' }, print });
    await writeLink({ client: a, namespace: 'elsewhere', peer: { ...peer, clusterId: 'gone-1' }, print });
    await writeLink({ client: a, namespace, peer: { ...peer, clusterId: 'west-1' }, print });
    await a.create(resources.gateways, anotherNetworksGateway);
    await unlink({ client: a, peers: ['gone-1'], timeout: 5_000, dryRun: true, print });
    assert.equal((await remotes(a)).length, 4);
    await unlink({ client: a, peers: ['gone-1'], timeout: 5_000, dryRun: false, print });
    assert.deepEqual((await remotes(a)).map(({ metadata }) => metadata.name).sort(), ['istio-remote-peer-west-1', 'network-2']);
    await unlink({ client: a, peers: ['gone-1'], timeout: 5_000, dryRun: false, print });
    assert.equal(printed.at(-1), 'east: no link to gone-1');
  });

  test('unlink waits until what came over the link is gone', async () => {
    const selection = { name: 'autogenflat.gone-1.demo.web-1.eacd81ea03fd', namespace: 'istio-system' };
    await a.create(resources.workloadEntries, entryOf('gone-1', selection));
    const options = { client: a, peers: ['gone-1'], dryRun: false, print };
    await assert.rejects(unlink({ ...options, timeout: 60_000 }), { code: 'UNLINK_ENTRIES_LEFT' }, 'nobody would remove it');
    await applyObjects(a, [peeringDeployment]);
    await assert.rejects(unlink({ ...options, timeout: 100 }), { code: 'UNLINK_ENTRIES_LEFT' });
    const waiting = unlink({ ...options, timeout: 20_000 });
    await a.delete(resources.workloadEntries, selection);
    await waiting;
    await a.delete(resources.deployments, peeringDeployment.metadata);
  });

  test('status shows links, conditions and what came over them', async () => {
    const peer = { network: 'flat', trustDomain: 'cluster.local', address: '192.0.2.3', caSha256: undefined };
    await writeLink({ client: a, namespace, peer: { ...peer, clusterId: 'west-1' }, print });
    const pod = { name: 'autogenflat.west-1.demo.web-1.eacd81ea03fd', namespace: 'istio-system' };
    const gateway = { name: 'autogen.west-1.demo.web', namespace: 'istio-system' };
    await a.create(resources.workloadEntries, entryOf('west-1', pod));
    await a.create(resources.workloadEntries, { ...entryOf('west-1', gateway), spec: { network: 'flat', weight: 1 } });
    const body = {
      status: { conditions: [condition('gloo.solo.io/PeerConnected', 'True'), condition('isthmus.dev/ResourcesAccepted', 'False')] },
    };
    await a.patch(resources.gateways, { name: 'istio-remote-peer-west-1', namespace }, { type: 'merge', body }, { subresource: 'status' });
    const now = Date.parse('2026-11-24T00:01:30Z');
    assert.equal(
      statusTable(await readStatus([a, b], {}), now),
      [
        'CLUSTER   PEER     ADDRESS           CONNECTED   SYNCED    SERVICES   ENDPOINTS   REFUSED   SINCE',
        'east-1    west-1   192.0.2.3:15012   True        Unknown   1          1           3         90s',
        'west-1    <none>',
        '',
      ].join('\n'),
    );
    for (const ref of [pod, gateway]) await a.delete(resources.workloadEntries, ref);
  });
});

const peeringLabels = { app: 'isthmus-peering' };
const peeringDeployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'isthmus-peering', namespace: 'istio-system', labels: peeringLabels },
  spec: {
    selector: { matchLabels: peeringLabels },
    template: { metadata: { labels: peeringLabels }, spec: { containers: [{ name: 'peering', image: 'x' }] } },
  },
};

/** What Istio itself uses the class for: the gateway of another network. */
const anotherNetworksGateway: Gateway = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name: 'network-2', namespace, labels: { 'topology.istio.io/network': 'network-2' } },
  spec: {
    gatewayClassName: 'istio-remote',
    addresses: [{ type: 'IPAddress', value: '192.0.2.9' }],
    listeners: [{ name: 'cross-network', port: 15008, protocol: 'HBONE', tls: { mode: 'Passthrough' } }],
  },
};

function entryOf(peer: string, metadata: { readonly name: string; readonly namespace: string }): WorkloadEntry {
  const labels = { 'isthmus.dev/peer': peer, 'solo.io/parent-service': 'web', 'solo.io/parent-service-namespace': 'demo' };
  return { apiVersion: 'networking.istio.io/v1', kind: 'WorkloadEntry', metadata: { ...metadata, labels }, spec: { address: '10.10.0.9' } };
}

function condition(type: string, status: string) {
  return { type, status, reason: 'Said', message: '3 refused, such as demo/web', lastTransitionTime: '2026-11-24T00:00:00Z' };
}

async function program(client: KubeClient, address: string): Promise<void> {
  const type = /^[\d.]+$/.test(address) ? 'IPAddress' : 'Hostname';
  const conditions = [{ ...condition('Programmed', 'True'), reason: 'Programmed' }];
  const body = { status: { conditions, addresses: [{ type, value: address }] } };
  await client.patch(resources.gateways, { name: 'istio-eastwest', namespace }, { type: 'merge', body }, { subresource: 'status' });
}
