import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';

import type { Gateway, KubeObject } from '../../src/api/kubernetes.ts';
import { typeUrls } from '../../src/api/names.ts';
import { resources, type ResourceType } from '../../src/api/resources.ts';
import { version } from '../../src/api/version.ts';
import { createLogger } from '../../src/core/index.ts';
import { Informer } from '../../src/kube/index.ts';
import { authorityFingerprint, createRoot, issueIntermediate, verifyAuthority, type AuthorityMaterial } from '../../src/pki/index.ts';
import { XdsClient } from '../../src/xds/index.ts';
import { startCluster, type TestCluster, type TestObject } from '../istiod/cluster.ts';
import { tokenOf } from '../support/service-account.ts';
import { certificateService } from './certificate-service.ts';
import { createPod, globalService, link } from './objects.ts';
import { Replica, ServiceAddress } from './replica.ts';

process.env['ISTHMUS_LOG'] ??= 'silent';
const log = createLogger('test');

/** A cluster with an istiod's certificate service, and replicas of `isthmus peering` behind one address. */
interface Side {
  readonly number: 1 | 2;
  readonly cluster: TestCluster;
  readonly material: AuthorityMaterial;
  readonly authorityPort: number;
  readonly address: ServiceAddress;
  readonly replicas: Replica[];
}

const root = verifyAuthority(await createRoot());
const started = new AsyncDisposableStack();
let one: Side;
let two: Side;

async function side(number: 1 | 2): Promise<Side> {
  const name = `cluster-${number}`;
  const cluster = started.use(await startCluster({ name, serviceCidr: `10.255.${number}0.0/24` }));
  await cluster.create(
    {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'node-1' },
      spec: { podCIDR: `10.${number}0.0.0/16`, podCIDRs: [`10.${number}0.0.0/16`] },
    },
    ...['demo', 'istio-eastwest'].map((namespace): TestObject => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })),
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'isthmus-peering', namespace: 'istio-system' } },
    globalService('global-service'),
  );
  await createPod(cluster, number, 1);
  const material = await issueIntermediate(root, { cluster: name });
  const authority = started.use(await certificateService(cluster, material));
  const address = started.use(await ServiceAddress.open());
  const self: Side = { number, cluster, material, authorityPort: authority.port, address, replicas: [] };
  await mkdir(path.join(cluster.stateDir, 'secrets'));
  await writeFile(path.join(cluster.stateDir, 'secrets', 'root-cert.pem'), root.material.roots);
  const token = await tokenOf(cluster.client, { namespace: 'istio-system', name: 'isthmus-peering' }, 'istio-ca');
  await writeFile(path.join(cluster.stateDir, 'secrets', 'istio-token'), token);
  return self;
}

async function startReplica(side: Side, name: string, env: NodeJS.ProcessEnv = {}): Promise<Replica> {
  const secrets = path.join(side.cluster.stateDir, 'secrets');
  const replica = started.use(
    new Replica({
      name,
      args: [
        ...['--kubeconfig', side.cluster.kubeconfig, '--cluster-id', side.cluster.name],
        ...['--listen', '127.0.0.1:0', '--monitoring', '127.0.0.1:0', '--readiness', '127.0.0.1:0'],
      ],
      env: {
        CA_ADDRESS: `127.0.0.1:${side.authorityPort}`,
        CA_ROOT_CA: path.join(secrets, 'root-cert.pem'),
        ALT_CA_HOSTNAME: 'istiod.istio-system.svc',
        AUTH_TOKEN: path.join(secrets, 'istio-token'),
        TERMINATION_DRAIN_DURATION_SECONDS: '0',
        ...env,
      },
    }),
  );
  side.replicas.push(replica);
  const port = await replica.port('port');
  side.address.targets = [...side.address.targets, port];
  return replica;
}

/** Resolves when the objects of a kind in a namespace are as wanted, and gives them. */
async function until<T extends KubeObject>(
  side: Side,
  type: ResourceType<T>,
  is: (objects: readonly T[]) => boolean,
  namespace = 'demo',
): Promise<readonly T[]> {
  const stop = new AbortController();
  const informer = new Informer({ client: side.cluster.client, type, namespace });
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
const entriesAre = (side: Side, is: (names: readonly string[]) => boolean): Promise<readonly KubeObject[]> =>
  until(side, resources.workloadEntries, (entries) => is(names(entries)));
const hasPod = (pod: string) => (all: readonly string[]) => all.some((name) => name.includes(pod));

const gatewayOf = (side: Side): Promise<Gateway> => {
  const name = `istio-remote-peer-cluster-${3 - side.number}`;
  return side.cluster.client.get(resources.gateways, { namespace: 'istio-eastwest', name });
};

const leaderOf = (side: Side): Replica => {
  const leaders = side.replicas.filter((replica) => !replica.hasEnded && replica.isLeading);
  assert.equal(leaders.length, 1, leaders.map(({ name }) => name).join());
  return leaders[0] as Replica;
};

describe('isthmus peering', { timeout: 120_000 }, () => {
  before(async () => {
    [one, two] = await Promise.all([side(1), side(2)]);
  });
  after(() => started.disposeAsync());

  it('is ready with the certificate of its cluster, and gives its exports to peers alone', async () => {
    const replica = await startReplica(one, 'one-a');
    const { status, text } = await replica.get('readiness', '/readyz');
    assert.deepEqual([status, text], [200, 'ready\n']);
    assert.equal((await replica.get('readiness', '/healthz')).status, 200);
    const certificate = await replica.says('certificate of an authority');
    assert.equal(certificate['authority'], authorityFingerprint(verifyAuthority(one.material)));
    // A caller without a certificate does not even get a stream.
    const stop = new AbortController();
    const url = `https://127.0.0.1:${await replica.port('port')}`;
    const refused = Promise.withResolvers<unknown>();
    const client = new XdsClient({
      url,
      tls: () => ({ roots: root.material.roots, verifyServer: () => undefined }),
      node: { id: 'nobody' },
      subscriptions: [
        {
          typeUrl: typeUrls.federatedService,
          handle: () => {
            refused.reject(new Error('it was told'));
            return undefined;
          },
        },
      ],
      onState: (state) => {
        if (state.kind === 'disconnected') refused.resolve(state.error);
      },
      log,
    });
    const running = client.run(stop.signal);
    assert.ok(await refused.promise);
    stop.abort();
    await running;
  });

  it('brings the services of each cluster into the other, in their own namespace', async () => {
    await startReplica(one, 'one-b');
    await Promise.all([startReplica(two, 'two-a'), startReplica(two, 'two-b')]);
    await Promise.all([link(one.cluster, 'cluster-2', two.address.port), link(two.cluster, 'cluster-1', one.address.port)]);
    for (const [here, there] of [
      [one, two],
      [two, one],
    ] as const) {
      await entriesAre(here, hasPod(`pod-${there.number}-1`));
      const [entry] = await until(here, resources.serviceEntries, ({ length }) => length === 1);
      assert.equal(entry?.metadata.name, 'autogen.demo.global-service');
      assert.deepEqual(entry.spec.workloadSelector?.labels, { app: 'global-service' });
    }
  });

  it('writes with one replica of two, while both know their peer', async () => {
    for (const here of [one, two]) {
      const leader = leaderOf(here);
      const [standby] = here.replicas.filter((replica) => replica !== leader);
      assert.ok(standby);
      await standby.says('peered');
      const peer = `cluster-${3 - here.number}`;
      assert.equal(await leader.metric('isthmus_peering_leading'), 1);
      assert.equal(await standby.metric('isthmus_peering_leading'), 0);
      for (const replica of [leader, standby]) {
        assert.equal(await replica.metric(`isthmus_peering_connected{peer="${peer}"}`), 1);
        assert.equal(await replica.metric(`isthmus_peering_imported{peer="${peer}",kind="workload"}`), 1);
      }
      const { text } = await standby.get('monitoring', '/metrics');
      assert.doesNotMatch(text, /^isthmus_peering_writes_total\{/m);
      const created = await leader.metric(`isthmus_peering_writes_total{peer="${peer}",kind="WorkloadEntry",result="created"}`);
      assert.equal(created, 2);
    }
  });

  it('says on the Gateway that it is peered, once', async () => {
    await until(one, resources.gateways, ([gateway]) => isPeered(gateway), 'istio-eastwest');
    const { metadata } = await gatewayOf(one);
    assert.equal(metadata.annotations?.['isthmus.dev/peer-ca-sha256'], authorityFingerprint(verifyAuthority(two.material)));
    const events = await until(one, resources.events, (all) => all.some(({ reason }) => reason === 'Peered'), 'istio-eastwest');
    assert.deepEqual(
      events.filter(({ reason }) => reason === 'Peered').map(({ count }) => count),
      [1],
    );
  });

  it('shows how far behind it is, and what it heard', async () => {
    const leader = leaderOf(one);
    const peer = '{peer="cluster-2"}';
    await createPod(two.cluster, 2, 2);
    await entriesAre(one, hasPod('pod-2-2'));
    // The answer to the write, which the entry may have been seen before, is a moment away.
    while ((await leader.metric(`isthmus_peering_behind_seconds${peer}`)) !== 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await leader.metric(`isthmus_peering_queue_length${peer}`), 0);
    const heard = await leader.metric(`isthmus_peering_last_message_seconds${peer}`);
    assert.ok(heard !== undefined && heard < 10, `${heard}`);
    assert.equal(await leader.metric('isthmus_peering_exported{kind="service"}'), 1);
    assert.equal(await leader.metric('isthmus_peering_exported{kind="workload"}'), 1);
    assert.equal(await leader.metric(`isthmus_build_info{version="${version}",cluster="cluster-1"}`), 1);
  });

  it('a new leader whose link is down removes nothing, and puts nothing back', async () => {
    const leader = leaderOf(one);
    const standby = one.replicas.find((replica) => replica !== leader);
    assert.ok(standby);
    const before = names(await until(one, resources.workloadEntries, ({ length }) => length > 0));
    // The peer is away altogether, and the standby comes to lead.
    const { targets } = two.address;
    two.address.targets = [];
    two.address.cut();
    await standby.says('peer in trouble');
    assert.notEqual(await standby.metric('isthmus_peering_behind_seconds{peer="cluster-2"}'), 0);
    await leader.end('SIGKILL');
    await standby.says('leading');
    await until(one, resources.gateways, ([gateway]) => !isPeered(gateway), 'istio-eastwest');
    assert.deepEqual(names((await one.cluster.client.list(resources.workloadEntries, { namespace: 'demo' })).items), before);
    await two.cluster.client.delete(resources.pods, { namespace: 'demo', name: 'pod-2-2' });
    two.address.targets = targets;
    await entriesAre(one, (all) => !hasPod('pod-2-2')(all) && hasPod('pod-2-1')(all));
    assert.equal(await standby.metric('isthmus_peering_reconnects_total{peer="cluster-2"}'), 1);
  });

  it('says why it is not ready, and is once istiod signs', async () => {
    const name = 'two-late';
    const tokenFile = path.join(two.cluster.stateDir, 'secrets', 'late-token');
    const replica = started.use(
      new Replica({
        name,
        args: [
          ...['--kubeconfig', two.cluster.kubeconfig, '--cluster-id', two.cluster.name],
          ...['--listen', '127.0.0.1:0', '--monitoring', '127.0.0.1:0', '--readiness', '127.0.0.1:0'],
        ],
        env: {
          CA_ADDRESS: `127.0.0.1:${two.authorityPort}`,
          CA_ROOT_CA: path.join(two.cluster.stateDir, 'secrets', 'root-cert.pem'),
          ALT_CA_HOSTNAME: 'istiod.istio-system.svc',
          AUTH_TOKEN: tokenFile,
          TERMINATION_DRAIN_DURATION_SECONDS: '0',
        },
      }),
    );
    const { readiness } = await replica.says('probes answered');
    await replica.says('no certificate from istiod');
    const page = `http://127.0.0.1:${Number(readiness)}`;
    const answer = await fetch(`${page}/readyz`);
    assert.equal(answer.status, 503);
    assert.match(await answer.text(), /AUTH_TOKEN.*late-token/);
    assert.equal((await fetch(`${page}/healthz`)).status, 200);
    await writeFile(tokenFile, await tokenOf(two.cluster.client, { namespace: 'istio-system', name: 'isthmus-peering' }, 'istio-ca'));
    await replica.says('ready');
    assert.equal((await fetch(`${page}/readyz`)).status, 200);
  });
});

function isPeered(gateway: Gateway | undefined): boolean {
  const conditions = gateway?.status?.conditions ?? [];
  return ['gloo.solo.io/PeerConnected', 'gloo.solo.io/PeeringSucceeded'].every((type) =>
    conditions.some((condition) => condition.type === type && condition.status === 'True'),
  );
}
