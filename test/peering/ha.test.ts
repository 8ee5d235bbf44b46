import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';

import type { WorkloadEntry } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import { Informer } from '../../src/kube/index.ts';
import { createRoot, issueIntermediate, verifyAuthority } from '../../src/pki/index.ts';
import { startCluster, type TestCluster, type TestObject } from '../istiod/cluster.ts';
import type { AuditedRequest } from '../support/api-server.ts';
import { tokenOf } from '../support/service-account.ts';
import { certificateService } from './certificate-service.ts';
import { Replica, ServiceAddress } from './replica.ts';

process.env['ISTHMUS_LOG'] ??= 'silent';
const trustDomain = 'cluster.local';
const istioNamespace = 'istio-system';

/** A cluster with Istio's certificate service, and two replicas of `isthmus peering` behind one address. */
class Side {
  readonly number: 1 | 2;
  readonly cluster: TestCluster;
  readonly address: ServiceAddress;
  readonly replicas = new Map<string, Replica>();
  readonly #authorityPort: number;

  private constructor(number: 1 | 2, cluster: TestCluster, address: ServiceAddress, authorityPort: number) {
    this.number = number;
    this.cluster = cluster;
    this.address = address;
    this.#authorityPort = authorityPort;
  }

  static async start(number: 1 | 2): Promise<Side> {
    const name = `cluster-${number}`;
    const cluster = started.use(await startCluster({ name, serviceCidr: `10.255.${number}0.0/24` }));
    const range = `10.${number}0.0.0/16`;
    await cluster.create(
      { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1' }, spec: { podCIDR: range, podCIDRs: [range] } },
      ...['demo', 'istio-eastwest'].map((name): TestObject => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })),
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'global-service', namespace: 'demo', labels: { 'solo.io/service-scope': 'global' } },
        spec: { selector: { app: 'global-service' }, ports: [{ name: 'http', port: 5000, targetPort: 5000 }] },
      },
      ...['isthmus-peering', 'a', 'b'].map((name): TestObject => ({
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name, namespace: istioNamespace },
      })),
      // Of accounts of their own, so that the audit log tells them apart. What the manifests permit is another test's.
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: 'replicas' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
        subjects: ['a', 'b'].map((name) => ({ kind: 'ServiceAccount', name, namespace: istioNamespace })),
      },
    );
    const authority = started.use(await certificateService(cluster, await issueIntermediate(root, { cluster: cluster.name })));
    const side = new Side(number, cluster, started.use(await ServiceAddress.open()), authority.port);
    await mkdir(side.#file(''));
    await writeFile(side.#file('root-cert.pem'), root.material.roots);
    const token = await tokenOf(cluster.client, { namespace: istioNamespace, name: 'isthmus-peering' }, 'istio-ca');
    await writeFile(side.#file('istio-token'), token);
    for (const name of ['a', 'b']) {
      const { server, ca = '' } = cluster.client.transport.config;
      const kubeconfig = {
        apiVersion: 'v1',
        kind: 'Config',
        'current-context': 'c',
        contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
        clusters: [{ name: 'c', cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
        users: [{ name: 'u', user: { token: await tokenOf(cluster.client, { namespace: istioNamespace, name }) } }],
      };
      await writeFile(side.#file(`${name}.kubeconfig`), JSON.stringify(kubeconfig), { mode: 0o600 });
    }
    await Promise.all(['a', 'b'].map((name) => side.startReplica(name)));
    return side;
  }

  /** Resolves when it is ready. */
  async startReplica(name: string): Promise<Replica> {
    const replica = new Replica({
      name,
      args: [
        ...['--kubeconfig', this.#file(`${name}.kubeconfig`), '--cluster-id', this.cluster.name],
        ...['--listen', '127.0.0.1:0', '--monitoring', '127.0.0.1:0', '--readiness', '127.0.0.1:0'],
      ],
      env: {
        CA_ADDRESS: `127.0.0.1:${this.#authorityPort}`,
        CA_ROOT_CA: this.#file('root-cert.pem'),
        ALT_CA_HOSTNAME: 'istiod.istio-system.svc',
        AUTH_TOKEN: this.#file('istio-token'),
        TERMINATION_DRAIN_DURATION_SECONDS: '0',
      },
    });
    this.replicas.set(name, replica);
    await replica.says('ready');
    this.address.targets = await Promise.all([...this.replicas.values()].map((one) => one.port('port')));
    return replica;
  }

  /** The replica that the Lease names, and the other one. Resolves when there is one that says so itself. */
  async roles(): Promise<{ readonly leader: Replica; readonly standby: Replica }> {
    const ref = { namespace: istioNamespace, name: 'isthmus-peering-leader' };
    const { spec } = await this.cluster.until(resources.leases, ref, (lease) => this.replicas.has(lease.spec?.holderIdentity ?? ''));
    const leader = this.replicas.get(spec?.holderIdentity ?? '');
    const standby = [...this.replicas.values()].find((one) => one !== leader);
    assert.ok(leader !== undefined && standby !== undefined);
    await leader.says('leading');
    return { leader, standby };
  }

  async createPod(pod: number): Promise<void> {
    await this.cluster.createPod({
      namespace: 'demo',
      name: `pod-${pod}`,
      ip: `10.${this.number}0.0.${pod}`,
      labels: { app: 'global-service' },
      annotations: { 'ambient.istio.io/redirection': 'enabled' },
    });
  }

  async deletePod(pod: number): Promise<void> {
    await this.cluster.client.delete(resources.pods, { namespace: 'demo', name: `pod-${pod}` }, { gracePeriodSeconds: 0 });
  }

  /** Resolves when a replica has finished its first round with the peer: it says so itself, whether it leads or not. */
  async peered(): Promise<void> {
    await Promise.all([...this.replicas.values()].map((one) => one.says('peered')));
  }

  #file(name: string): string {
    return path.join(this.cluster.stateDir, 'ha', name);
  }
}

/** The WorkloadEntries of a cluster, and all that happened to them. */
class Entries implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #informer: Informer<WorkloadEntry>;
  readonly #running: Promise<void>;
  /** Names, a deleted one with a minus. */
  readonly heard: string[] = [];
  #wake = Promise.withResolvers<undefined>();

  constructor(cluster: TestCluster) {
    this.#informer = new Informer({ client: cluster.client, type: resources.workloadEntries, namespace: 'demo' });
    this.#informer.onChange((changes) => {
      for (const { type, object, old } of changes) this.heard.push(`${type === 'delete' ? '-' : ''}${(object ?? old).metadata.name}`);
      this.#wake.resolve(undefined);
      this.#wake = Promise.withResolvers<undefined>();
    });
    this.#running = this.#informer.run(this.#stop.signal);
  }

  /** Resolves when there are entries of these pods of the peer and of no others. */
  async are(...pods: readonly number[]): Promise<void> {
    const wanted = pods.map((pod) => entryOf(pod)).sort();
    const present = (): string[] =>
      [...this.#informer.list()].map(({ metadata }) => metadata.name).filter((name) => name.startsWith('autogenflat.'));
    while (present().sort().join() !== wanted.join()) await this.#wake.promise;
  }

  /** Versions of all: what nobody wrote keeps its own. */
  versions(): Record<string, string | undefined> {
    return Object.fromEntries([...this.#informer.list()].map(({ metadata }) => [metadata.name, metadata.resourceVersion]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

const entryOf = (pod: number): string => `autogenflat.cluster-2.demo.pod-${pod}.eacd81ea03fd`;

/** What the replicas of a cluster wrote, the Lease left out: `<replica> <verb> <resource>/<name>`, in the order of the answers. */
async function written(side: Side, from = 0): Promise<string[]> {
  const isWrite = ({ verb, objectRef }: AuditedRequest): boolean =>
    ['create', 'update', 'patch', 'delete'].includes(verb) && objectRef?.resource !== 'leases';
  return (await side.cluster.server.audited()).slice(from).flatMap((request) => {
    const [, replica] = /^system:serviceaccount:istio-system:([ab])$/.exec(request.user.username) ?? [];
    if (replica === undefined || !isWrite(request)) return [];
    const { resource = '', name = '', subresource } = request.objectRef ?? {};
    return [`${replica} ${request.verb} ${resource}${subresource === undefined ? '' : `/${subresource}`} ${name}`];
  });
}

const audited = async (side: Side): Promise<number> => (await side.cluster.server.audited()).length;

const root = verifyAuthority(await createRoot());
const started = new AsyncDisposableStack();
let importing: Side;
let exporting: Side;
let entries: Entries;

before(async () => {
  [importing, exporting] = await Promise.all([Side.start(1), Side.start(2)]);
  entries = started.use(new Entries(importing.cluster));
  for (const pod of [11, 12, 13]) await exporting.createPod(pod);
  await importing.cluster.create({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      name: 'istio-remote-peer-cluster-2',
      namespace: 'istio-eastwest',
      labels: { 'topology.istio.io/cluster': 'cluster-2', 'topology.istio.io/network': 'flat-network' },
      annotations: { 'gateway.istio.io/trust-domain': trustDomain },
    },
    spec: {
      gatewayClassName: 'istio-remote',
      addresses: [{ type: 'IPAddress', value: '127.0.0.1' }],
      listeners: [{ name: 'xds-tls', port: exporting.address.port, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
    },
  });
  await entries.are(11, 12, 13);
  await importing.peered();
});

after(async () => {
  for (const side of [importing, exporting]) for (const replica of side.replicas.values()) await replica[Symbol.asyncDispose]();
  await started.disposeAsync();
});

suite('two replicas', { timeout: 180_000 }, () => {
  test('only the leader has written', async () => {
    const { standby } = await importing.roles();
    assert.deepEqual(
      (await written(importing)).filter((line) => line.startsWith(`${standby.name} `)),
      [],
    );
  });

  for (const round of [1, 2, 3]) {
    test(`the leader is killed while a pod goes away: its entry is gone within five seconds (${round})`, async (t) => {
      const { leader, standby } = await importing.roles();
      const before = entries.versions();
      const from = await audited(importing);
      const killedAt = performance.now();
      await Promise.all([leader.end('SIGKILL'), exporting.deletePod(13)]);
      await standby.says('leading');
      const ledAt = performance.now();
      await entries.are(11, 12);
      const goneAt = performance.now();
      t.diagnostic(`leads after ${Math.round(ledAt - killedAt)} ms, entry gone after ${Math.round(goneAt - killedAt)} ms`);
      assert.ok(goneAt - killedAt < 5_000);
      const { [entryOf(13)]: gone, ...others } = before;
      assert.ok(gone);
      assert.deepEqual(entries.versions(), others);
      assert.deepEqual(await written(importing, from), [`${standby.name} delete workloadentries ${entryOf(13)}`]);
      await importing.startReplica(leader.name);
      await importing.peered();
      await exporting.createPod(13);
      await entries.are(11, 12, 13);
    });
  }

  test('the leader is stopped: the other leads at once', async (t) => {
    const { leader, standby } = await importing.roles();
    const from = await audited(importing);
    const stoppedAt = performance.now();
    await Promise.all([leader.end('SIGTERM'), exporting.deletePod(13)]);
    await standby.says('leading');
    const ledAt = performance.now();
    await entries.are(11, 12);
    const goneAt = performance.now();
    t.diagnostic(`leads after ${Math.round(ledAt - stoppedAt)} ms, entry gone after ${Math.round(goneAt - stoppedAt)} ms`);
    // It looks every half second, and does not wait for the Lease to end.
    assert.ok(ledAt - stoppedAt < 1_500);
    // Whoever was first has removed it; the other may have been on its way to.
    const lines = await written(importing, from);
    assert.ok(
      lines.every((line) => line.endsWith(` delete workloadentries ${entryOf(13)}`)),
      lines.join('\n'),
    );
    await importing.startReplica(leader.name);
    await importing.peered();
    await exporting.createPod(13);
    await entries.are(11, 12, 13);
  });

  test('a leader that was suspended for longer than its Lease writes nothing when it wakes', async (t) => {
    const { leader, standby } = await importing.roles();
    const from = await audited(importing);
    const seen = leader.lines.length;
    leader.pause();
    const pausedAt = performance.now();
    // What it would do, if it knew: it hears of both when it wakes.
    await exporting.deletePod(12);
    await exporting.deletePod(13);
    await standby.says('leading');
    await entries.are(11);
    t.diagnostic(`entries gone after ${Math.round(performance.now() - pausedAt)} ms`);
    await exporting.createPod(13);
    await entries.are(11, 13);
    leader.resume();
    await leader.says('leading no more', seen);
    // It has caught up with all that it missed once it has heard of what comes last.
    await exporting.createPod(14);
    await entries.are(11, 13, 14);
    const lines = await written(importing, from);
    assert.deepEqual(
      lines.filter((line) => line.startsWith(`${leader.name} `)),
      [],
    );
    await exporting.deletePod(14);
    await exporting.createPod(12);
    await entries.are(11, 12, 13);
  });

  test('the exporting replica is killed: the link comes back to the other one, and nothing is written of its entries', async (t) => {
    const [first, second] = [...exporting.replicas.values()];
    assert.ok(first !== undefined && second !== undefined);
    const before = entries.versions();
    const heard = entries.heard.length;
    const from = second.lines.length;
    const killedAt = performance.now();
    await first.end('SIGKILL');
    await second.says('peer connected', from);
    const ms = performance.now() - killedAt;
    t.diagnostic(`connected to the other after ${Math.round(ms)} ms`);
    assert.ok(ms < 1_000);
    // What comes next tells that the link is whole again.
    await exporting.createPod(15);
    await entries.are(11, 12, 13, 15);
    const { [entryOf(15)]: added, ...others } = entries.versions();
    assert.ok(added);
    assert.deepEqual(others, before);
    assert.deepEqual(entries.heard.slice(heard), [entryOf(15)]);
    await exporting.startReplica(first.name);
    await exporting.deletePod(15);
    await entries.are(11, 12, 13);
  });

  test('both are restarted: nothing is written', async () => {
    const from = await audited(importing);
    await Promise.all([...importing.replicas.values()].map((replica) => replica.end('SIGTERM')));
    await Promise.all(['a', 'b'].map((name) => importing.startReplica(name)));
    await importing.peered();
    const { leader } = await importing.roles();
    await exporting.createPod(16);
    await entries.are(11, 12, 13, 16);
    assert.deepEqual(await written(importing, from), [`${leader.name} patch workloadentries ${entryOf(16)}`]);
  });
});
