import assert from 'node:assert/strict';
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';

import type { Gateway, KubeObject, WorkloadEntry } from '../../src/api/kubernetes.ts';
import { resources, type ResourceType } from '../../src/api/resources.ts';
import { Informer } from '../../src/kube/index.ts';
import {
  authorityFingerprint,
  createRoot,
  issueIntermediate,
  verifyAuthority,
  writeAuthority,
  type AuthorityMaterial,
} from '../../src/pki/index.ts';
import { startCluster, startIstiod, type TestCluster, type TestIstiod, type TestObject } from '../istiod/cluster.ts';
import { createPod, globalService, link } from './objects.ts';

/** A cluster whose istiod can be stopped and started, behind a door that can be shut. */
interface Side {
  readonly number: 1 | 2;
  readonly cluster: TestCluster;
  authority: AuthorityMaterial;
  readonly door: Door;
  istiod: TestIstiod | undefined;
}

/** What a gateway is to istiod: an address that stays while istiod comes and goes. */
class Door implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  target: number | undefined;

  private constructor() {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
      if (this.target === undefined) {
        socket.destroy();
        return;
      }
      const inner = connect(this.target, '127.0.0.1');
      this.#sockets.add(inner);
      inner.on('error', () => socket.destroy()).on('close', () => socket.destroy());
      socket.on('close', () => inner.destroy());
      socket.pipe(inner).pipe(socket);
    });
  }

  static async open(): Promise<Door> {
    const door = new Door();
    door.#server.listen(0, '127.0.0.1');
    await new Promise((resolve) => door.#server.once('listening', resolve));
    return door;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  shut(): void {
    this.target = undefined;
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.shut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const root = verifyAuthority(await createRoot());
const started = new AsyncDisposableStack();
let one: Side;
let two: Side;

async function side(number: 1 | 2): Promise<Side> {
  const name = `cluster-${number}`;
  const cluster = started.use(await startCluster({ name, port: 7452 + number, serviceCidr: `10.255.${number}0.0/24` }));
  await cluster.create(
    {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'node-1' },
      spec: { podCIDR: `10.${number}0.0.0/16`, podCIDRs: [`10.${number}0.0.0/16`] },
    },
    ...['demo', 'istio-eastwest'].map((namespace): TestObject => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })),
    globalService('global-service', 5000),
  );
  for (const pod of [1, 2]) await createPod(cluster, number, pod);
  const door = started.use(await Door.open());
  const self: Side = { number, cluster, authority: await issueIntermediate(root, { cluster: name }), door, istiod: undefined };
  started.defer(() => stopIstiod(self));
  await start(self);
  return self;
}

async function start(side: Side): Promise<void> {
  side.istiod = await startIstiod(side.cluster, { authority: side.authority, readinessPort: 18_190 + side.number });
  side.door.target = side.istiod.listening.tlsPort;
}

async function stopIstiod(side: Side): Promise<void> {
  side.door.shut();
  await side.istiod?.[Symbol.asyncDispose]();
  side.istiod = undefined;
}

/** Resolves when the objects of a kind in istio-system are as wanted, and gives them. */
async function until<T extends KubeObject>(
  side: Side,
  type: ResourceType<T>,
  is: (objects: readonly T[]) => boolean,
): Promise<readonly T[]> {
  const stop = new AbortController();
  const informer = new Informer({ client: side.cluster.client, type, namespace: 'istio-system' });
  const { promise, resolve } = Promise.withResolvers<readonly T[]>();
  const look = (): void => {
    const objects = [...informer.list()];
    if (informer.hasSynced && is(objects)) resolve(objects);
  };
  informer.onChange(look);
  const running = informer.run(stop.signal);
  await informer.synced;
  look();
  const objects = await promise;
  stop.abort();
  await running;
  return objects;
}

const names = (objects: readonly KubeObject[]): string[] => objects.map(({ metadata }) => metadata.name).sort();
const entriesAre = (side: Side, wanted: readonly string[]): Promise<readonly WorkloadEntry[]> =>
  until(side, resources.workloadEntries, (entries) => names(entries).join() === [...wanted].sort().join());

async function condition(side: Side, type: string, status: string, reason?: string): Promise<Gateway> {
  const ref = { namespace: 'istio-eastwest', name: `istio-remote-peer-cluster-${3 - side.number}` };
  return await side.cluster.until(resources.gateways, ref, (gateway) =>
    (gateway.status?.conditions ?? []).some(
      (found) => found.type === type && found.status === status && (reason === undefined || found.reason === reason),
    ),
  );
}

const gatewayEntry = 'autogen.cluster-2.demo.global-service';
const flat = (pod: number): string => `autogenflat.cluster-2.demo.pod-2-${pod}.eacd81ea03fd`;
const all = [gatewayEntry, flat(1), flat(2)];
const peerConnected = 'gloo.solo.io/PeerConnected';

/** Versions of all entries: what nobody wrote keeps its version. */
async function versions(side: Side): Promise<Record<string, string | undefined>> {
  const entries = [
    ...(await side.cluster.client.list(resources.workloadEntries, { namespace: 'istio-system' })).items,
    ...(await side.cluster.client.list(resources.serviceEntries, { namespace: 'istio-system' })).items,
  ];
  return Object.fromEntries(entries.map(({ metadata }) => [metadata.name, metadata.resourceVersion]));
}

/** What istiod wrote since its start, by its own count. */
async function writes({ istiod }: Side): Promise<Record<string, number>> {
  const response = await fetch(`http://127.0.0.1:${istiod?.listening.monitoringPort ?? 0}/metrics`);
  const lines = (await response.text()).matchAll(/^isthmus_peering_writes_total\{peer="cluster-2",kind="(\w+)",result="(\w+)"\} (\d+)/gm);
  return Object.fromEntries([...lines].map(([, kind = '', result = '', count]) => [`${kind} ${result}`, Number(count)]));
}

before(async () => {
  [one, two] = await Promise.all([side(1), side(2)]);
  await Promise.all([link(one.cluster, 'cluster-2', two.door.port), link(two.cluster, 'cluster-1', one.door.port)]);
  await entriesAre(one, all);
});

after(() => started.disposeAsync());

describe('peering on API servers', { timeout: 120_000 }, () => {
  it('records the authority that it pinned, as its own field', async () => {
    const wanted = authorityFingerprint(verifyAuthority(two.authority));
    const ref = { namespace: 'istio-eastwest', name: 'istio-remote-peer-cluster-2' };
    const gateway = await one.cluster.until(
      resources.gateways,
      ref,
      ({ metadata }) => metadata.annotations?.['isthmus.dev/peer-ca-sha256'] === wanted,
    );
    const managers = (gateway.metadata.managedFields ?? []).filter(({ manager }) => manager === 'isthmus-peering');
    assert.deepEqual(managers.map(({ operation, subresource }) => [operation, subresource ?? '']).sort(), [
      ['Apply', ''],
      ['Apply', 'status'],
    ]);
  });

  it("keeps a peer's entries while its istiod is away, and follows it when it is back", async () => {
    const before = await versions(one);
    await stopIstiod(two);
    await condition(one, peerConnected, 'False', 'PEERING_NOT_CONNECTED');
    await createPod(two.cluster, 2, 3);
    assert.deepEqual(await versions(one), before);
    await start(two);
    await entriesAre(one, [...all, flat(3)]);
    await condition(one, peerConnected, 'True');
    const afterwards = await versions(one);
    for (const [name, version] of Object.entries(before)) assert.equal(afterwards[name], version, `${name} was written again`);
    await two.cluster.client.delete(resources.pods, { namespace: 'demo', name: 'pod-2-3' }, { gracePeriodSeconds: 0 });
    await entriesAre(one, all);
  });

  it('writes nothing when it is itself restarted, with the peer there or not', async () => {
    const before = await versions(one);
    await stopIstiod(one);
    await start(one);
    // A change that is seen tells that all before it was, too.
    await createPod(two.cluster, 2, 4);
    await entriesAre(one, [...all, flat(4)]);
    await two.cluster.client.delete(resources.pods, { namespace: 'demo', name: 'pod-2-4' }, { gracePeriodSeconds: 0 });
    await entriesAre(one, all);
    assert.deepEqual(await versions(one), before);
    // Only for the pod that came and went: what was right is not even asked to be so.
    assert.deepEqual(await writes(one), { 'WorkloadEntry created': 1, 'WorkloadEntry deleted': 1 });

    await stopIstiod(two);
    await stopIstiod(one);
    await start(one);
    await condition(one, peerConnected, 'False', 'PEERING_NOT_CONNECTED');
    assert.deepEqual(await versions(one), before);
    await start(two);
    await condition(one, peerConnected, 'True');
    assert.deepEqual(await versions(one), before);
  });

  it('follows a peer whose authority is renewed while they are connected', async () => {
    const ref = { namespace: 'istio-eastwest', name: 'istio-remote-peer-cluster-2' };
    const pinned = (pins: string): Promise<Gateway> =>
      one.cluster.until(resources.gateways, ref, ({ metadata }) => metadata.annotations?.['isthmus.dev/peer-ca-sha256'] === pins);
    const old = authorityFingerprint(verifyAuthority(two.authority));
    await pinned(old);
    two.authority = await issueIntermediate(root, { cluster: 'cluster-2' });
    const renewed = authorityFingerprint(verifyAuthority(two.authority));
    await writeAuthority(path.join(two.cluster.stateDir, 'cacerts'), two.authority);
    await pinned([old, renewed].sort().join(','));
    // The next istiod knows only the new one.
    await stopIstiod(two);
    await condition(one, peerConnected, 'False');
    await start(two);
    await condition(one, peerConnected, 'True');
    await pinned(renewed);
    await entriesAre(one, all);
  });

  it('joins the ports of all clusters, and says when they disagree', async () => {
    await one.cluster.create({
      ...globalService('global-service', 5000),
      spec: {
        selector: { app: 'global-service' },
        ports: [
          { name: 'web', port: 5000, targetPort: 5000, appProtocol: 'tcp' },
          { name: 'http', port: 9000, targetPort: 9000 },
        ],
      },
    });
    const isJoined = (ports: readonly { name: string; number: number; protocol?: string }[]): boolean =>
      ports.map(({ name, number, protocol = '' }) => `${name} ${number} ${protocol}`).join() === 'web 5000 TCP,http 9000 HTTP';
    await until(one, resources.serviceEntries, ([entry]) => isJoined(entry?.spec.ports ?? []));
    // Entries name the ports as the ServiceEntry does, and only those that their cluster has.
    const entries = await until(one, resources.workloadEntries, (found) => found.some(({ spec }) => spec.ports?.['web'] !== undefined));
    assert.deepEqual(entries.find(({ metadata }) => metadata.name === flat(1))?.spec.ports, { web: 5000 });
    const service = await one.cluster.client.get(resources.services, { namespace: 'demo', name: 'global-service' });
    await one.cluster.until(
      resources.events,
      { namespace: 'demo', name: await eventName(one, service.metadata.uid, 'PEERING_PORTS_DISAGREE') },
      ({ message }) => (message ?? '').includes('port 5000'),
    );
    await one.cluster.create(globalService('global-service', 5000));
    await until(one, resources.serviceEntries, ([entry]) => entry?.spec.ports?.length === 1);
  });

  it('leaves alone what somebody else made', async () => {
    const name = 'autogen.demo.other-service';
    await one.cluster.create({
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: { name, namespace: 'istio-system' },
      spec: { hosts: ['other.example.org'], ports: [{ name: 'http', number: 80, protocol: 'HTTP' }], resolution: 'DNS' },
    });
    await two.cluster.create(globalService('other-service', 8080));
    await until(one, resources.workloadEntries, (entries) => names(entries).includes('autogen.cluster-2.demo.other-service'));
    const kept = await one.cluster.client.get(resources.serviceEntries, { name, namespace: 'istio-system' });
    assert.deepEqual(kept.spec.hosts, ['other.example.org']);
    await two.cluster.client.delete(resources.services, { namespace: 'demo', name: 'other-service' });
    await entriesAre(one, all);
    const still = await one.cluster.client.get(resources.serviceEntries, { name, namespace: 'istio-system' });
    assert.equal(still.metadata.uid, kept.metadata.uid);
    await one.cluster.client.delete(resources.serviceEntries, { name, namespace: 'istio-system' });
  });

  it('puts back what somebody changed or deleted', async () => {
    const ref = { namespace: 'istio-system', name: flat(1) };
    await one.cluster.client.patch(resources.workloadEntries, ref, { type: 'merge', body: { spec: { address: '10.66.66.66' } } });
    await one.cluster.until(resources.workloadEntries, ref, ({ spec }) => spec.address === '10.20.0.11');
    await one.cluster.client.delete(resources.workloadEntries, { namespace: 'istio-system', name: flat(2) });
    await entriesAre(one, all);
  });

  it('collects at its start what a link left that was deleted while it was away', async () => {
    await stopIstiod(one);
    await one.cluster.client.delete(resources.gateways, { namespace: 'istio-eastwest', name: 'istio-remote-peer-cluster-2' });
    await start(one);
    await entriesAre(one, []);
    // Its own service is still global.
    assert.deepEqual(names((await one.cluster.client.list(resources.serviceEntries, { namespace: 'istio-system' })).items), [
      'autogen.demo.global-service',
    ]);
    await one.cluster.client.delete(resources.services, { namespace: 'demo', name: 'global-service' });
    await until(one, resources.serviceEntries, (entries) => entries.length === 0);
  });
});

/** The name of the Event that tells of a reason; waits for it. */
async function eventName(side: Side, uid: string | undefined, reason: string): Promise<string> {
  const stop = new AbortController();
  const informer = new Informer({ client: side.cluster.client, type: resources.events, namespace: 'demo' });
  const { promise, resolve } = Promise.withResolvers<string>();
  informer.onChange(() => {
    for (const event of informer.list()) {
      if (event.involvedObject.uid === uid && event.reason === reason) resolve(event.metadata.name);
    }
  });
  const running = informer.run(stop.signal);
  const name = await promise;
  stop.abort();
  await running;
  return name;
}
