import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';

import type { KubeObject } from '../../src/api/kubernetes.ts';
import { resources, type ResourceType } from '../../src/api/resources.ts';
import { sleep } from '../../src/core/index.ts';
import { createRoot, issueIntermediate, verifyAuthority } from '../../src/pki/index.ts';
import type { AuditedRequest } from '../support/api-server.ts';
import { withoutAssets } from '../support/real-api-server.ts';
import { peeringAccount } from '../support/peering-process.ts';
import { writesOf } from '../support/peering-writes.ts';
import { refusedTo } from '../support/service-account.ts';
import { UpstreamCluster } from '../support/upstream-cluster.ts';
import { withoutIstiod, type AmbientWorkload } from '../support/upstream-istiod.ts';

const executable = path.join(import.meta.dirname, '../../bin/isthmus');
const run = promisify(execFile);

const entryName = 'autogen.demo.web';
/** SHA-256 of `demo/web`. */
const hash = 'e31527df8383';
const flat = (cluster: string, pod: string): string => `autogenflat.${cluster}.demo.${pod}.${hash}`;
const globalName = 'demo/web.demo.mesh.internal';
const localName = 'demo/web.demo.svc.cluster.local';

/** Target ports by service port. */
type Ports = Readonly<Record<number, number>>;

/** What of an endpoint counts for those who reach it. */
interface Endpoint {
  readonly uid: string;
  readonly address: string;
  readonly identity: string;
  readonly network: string;
  readonly tunnel: string;
  readonly locality: string;
  readonly capacity: number;
  readonly ports: Ports;
}

describe(
  'unmodified istiods in two clusters, with isthmus peering beside them',
  { skip: withoutAssets || withoutIstiod, timeout: 240_000 },
  () => {
    const started = new AsyncDisposableStack();
    let one: UpstreamCluster;
    let two: UpstreamCluster;

    before(async () => {
      const root = verifyAuthority(await createRoot());
      const [here, there] = [
        await issueIntermediate(root, { cluster: 'cluster-1' }),
        await issueIntermediate(root, { cluster: 'cluster-2' }),
      ];
      one = started.use(
        await UpstreamCluster.start({
          name: 'cluster-1',
          serviceCidr: '10.255.10.0/24',
          podRange: '10.10.0.0/16',
          region: 'r1',
          zone: 'z1',
          authority: here,
        }),
      );
      two = started.use(
        await UpstreamCluster.start({
          name: 'cluster-2',
          serviceCidr: '10.255.20.0/24',
          podRange: '10.20.0.0/16',
          region: 'r2',
          zone: 'z2',
          authority: there,
        }),
      );
      // Target ports differ: a number here, a name there, which two pods have on different ports.
      await one.cluster.create(service({ http: 8000, grpc: 9000 }));
      await two.cluster.create(service({ http: 'web', grpc: 9001 }));
      await one.createPod({ name: 'web-1', ip: '10.10.0.11', labels: { app: 'web' }, serviceAccount: 'web' });
      await two.createPod({ name: 'web-1', ip: '10.20.0.11', labels: { app: 'web' }, serviceAccount: 'web', ports: { web: 8080 } });
      await two.createPod({ name: 'web-2', ip: '10.20.0.12', labels: { app: 'web' }, serviceAccount: 'other', ports: { web: 8081 } });
    });
    after(() => started.disposeAsync());

    const inOne: readonly Endpoint[] = [endpoint('cluster-1//Pod/demo/web-1', '10.10.0.11', 'web', 'r1/z1', { 80: 8000, 90: 9000 })];
    const imported = (pod: string): string => `cluster-1/networking.istio.io/WorkloadEntry/demo/${flat('cluster-2', pod)}`;
    const ofTwo: readonly Endpoint[] = [
      endpoint(imported('web-1'), '10.20.0.11', 'web', 'r2/z2', { 80: 8080, 90: 9001 }),
      endpoint(imported('web-2'), '10.20.0.12', 'other', 'r2/z2', { 80: 8081, 90: 9001 }),
    ];
    const locallyInTwo: readonly Endpoint[] = [
      endpoint('cluster-2//Pod/demo/web-1', '10.20.0.11', 'web', 'r2/z2', { 80: 8080, 90: 9001 }),
      endpoint('cluster-2//Pod/demo/web-2', '10.20.0.12', 'other', 'r2/z2', { 80: 8081, 90: 9001 }),
    ];
    // A ServiceEntry has one target port for all pods; of two that are named the same, the Event says which one it is.
    const inTwo: readonly Endpoint[] = [
      endpoint('cluster-2//Pod/demo/web-1', '10.20.0.11', 'web', 'r2/z2', { 80: 8080, 90: 9001 }),
      endpoint('cluster-2//Pod/demo/web-2', '10.20.0.12', 'other', 'r2/z2', { 80: 8080, 90: 9001 }),
    ];
    const ofOne: readonly Endpoint[] = [
      endpoint(`cluster-2/networking.istio.io/WorkloadEntry/demo/${flat('cluster-1', 'web-1')}`, '10.10.0.11', 'web', 'r1/z1', {
        80: 8000,
        90: 9000,
      }),
    ];

    it('are linked by the command', async () => {
      const addresses = `cluster-1=127.0.0.1:${one.peering.port},cluster-2=127.0.0.1:${two.peering.port}`;
      const { stdout } = await isthmus('multicluster', 'link', '--contexts', 'cluster-1,cluster-2', '--address', addresses);
      assert.match(stdout, /istio-remote-peer-cluster-2 applied/);
      for (const { cluster } of [one, two]) {
        const peer = cluster.name === 'cluster-1' ? 'cluster-2' : 'cluster-1';
        await cluster.until(resources.gateways, { namespace: 'istio-eastwest', name: `istio-remote-peer-${peer}` }, ({ status }) =>
          (status?.conditions ?? []).some(({ type, status: is }) => type === 'gloo.solo.io/PeeringSucceeded' && is === 'True'),
        );
      }
    });

    it('derive the global service with the pods of both', async () => {
      await derives(one, globalName, [...inOne, ...ofTwo]);
      await derives(two, globalName, [...inTwo, ...ofOne]);
      for (const { istiod } of [one, two]) {
        const { services } = await istiod.ambientz();
        const found = services.find(({ hostname }) => hostname === 'web.demo.mesh.internal');
        assert.equal(found?.namespace, 'demo');
        const addresses = (found.addresses as readonly { address: string; network: string }[]).map(
          ({ network, address }) => `${network} ${addressOf(address)}`,
        );
        assert.equal(addresses.length, 2);
        assert.match(addresses[0] ?? '', /^flat-network 240\.240\.\d+\.\d+$/);
        assert.match(addresses[1] ?? '', /^flat-network 2001:0?2:/);
      }
    });

    it('keep the local name local', async () => {
      await derives(one, localName, inOne);
      await derives(two, localName, locallyInTwo);
    });

    it('are told where the pods of a cluster do not agree on a target port', async () => {
      const { items } = await two.cluster.client.list(resources.events, { namespace: 'demo' });
      const told = items.filter(({ reason }) => reason === 'PEERING_TARGET_PORTS').map(({ message }) => message ?? '');
      assert.equal(told.length, 1);
      assert.match(told[0] ?? '', /port 80 .*8080/);
    });

    it('have a gateway entry without an address, which nothing selects', async () => {
      const { workloads } = await one.istiod.ambientz();
      const gateway = workloads.find(({ name }) => name === 'autogen.cluster-2.demo.web');
      assert.equal(gateway?.network, 'flat-network');
      assert.deepEqual([gateway.addresses ?? [], Object.keys(gateway.services ?? {})], [[], []]);
    });

    it('lose a pod that is not ready, and have it back', async () => {
      await two.cluster.setPodReady('demo', 'web-2', false);
      await derives(one, globalName, [...inOne, ...ofTwo.slice(0, 1)]);
      await two.cluster.setPodReady('demo', 'web-2', true);
      await derives(one, globalName, [...inOne, ...ofTwo]);
    });

    it('write status of a ServiceEntry without having us write', async () => {
      const ref = { namespace: 'demo', name: entryName };
      const { metadata, status } = await one.cluster.until(
        resources.serviceEntries,
        ref,
        ({ status: is }) => ((is as { addresses?: unknown[] } | undefined)?.addresses ?? []).length === 2,
      );
      assert.notEqual(status, undefined);
      const before = (await writesOf(one.cluster.server, ['serviceentries'])).length;
      assert.ok(before > 0);
      const conditions = [{ type: 'example.com/Seen', status: 'True', reason: 'Test', message: '' }];
      await one.cluster.client.patch(
        resources.serviceEntries,
        ref,
        { type: 'merge', body: { status: { conditions } } },
        { subresource: 'status' },
      );
      await roundTrip('after-status');
      assert.equal((await writesOf(one.cluster.server, ['serviceentries'])).length, before);
      const { metadata: now } = await one.cluster.client.get(resources.serviceEntries, ref);
      assert.equal(now.generation, metadata.generation);
    });

    it('see nothing of a restart of the importing process', async () => {
      const before = await versions(one);
      assert.equal(before.size, 4, 'a ServiceEntry, a gateway entry, two pods');
      await one.peering.stop();
      assert.deepEqual(await versions(one), before);
      const written = (await entryWrites()).length;
      await one.peering.start();
      await one.cluster.until(
        resources.leases,
        { namespace: 'istio-system', name: 'isthmus-peering-leader' },
        ({ spec }) => spec?.holderIdentity === one.peering.identity,
      );
      // What it does once it writes again comes after all that it would have corrected.
      await roundTrip('after-restart');
      assert.deepEqual(await versions(one), before);
      // A write that changes nothing is one, too.
      const since = (await entryWrites()).slice(written).map(({ objectRef }) => objectRef?.name ?? '');
      assert.deepEqual([...new Set(since)], [flat('cluster-2', 'after-restart')]);
    });

    it('let the local name reach the other cluster without PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES=false, which check tells', async () => {
      const contexts = ['multicluster', 'check', '--contexts', 'cluster-1,cluster-2', '-o', 'json'];
      const told = async (): Promise<boolean> => (await isthmus(...contexts)).stdout.includes('CHECK_LOCAL_NAME_SPREADS');
      assert.equal(await told(), false);
      await one.restartIstiod({ PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES: undefined });
      await derives(one, globalName, [...inOne, ...ofTwo]);
      const { workloads } = await one.istiod.ambientz();
      const spread = workloads.filter(({ services = {} }) => localName in services).map(({ uid }) => uid);
      assert.deepEqual(spread.sort(), [...inOne, ...ofTwo].map(({ uid }) => uid).sort());
      const body = [{ op: 'replace', path: '/spec/template/spec/containers/0/env', value: [{ name: 'CLUSTER_ID', value: 'cluster-1' }] }];
      await one.cluster.client.patch(resources.deployments, { namespace: 'istio-system', name: 'istiod' }, { type: 'json', body });
      assert.equal(await told(), true);
      await one.restartIstiod({});
      await derives(one, localName, inOne);
    });

    it('forget the pods of a cluster whose Service is not global any more', async () => {
      await setScope(two, null);
      await derives(one, globalName, inOne);
      // It has the name as a consumer now, and its own pods are not behind it.
      await derives(two, globalName, ofOne);
      await derives(two, localName, locallyInTwo);
      await setScope(one, null);
      for (const each of [one, two]) {
        await derives(each, globalName, []);
        const { services } = await each.istiod.ambientz();
        assert.ok(!services.some(({ hostname }) => hostname === 'web.demo.mesh.internal'));
        assert.deepEqual(await versions(each), new Map());
      }
      assert.deepEqual(
        [await refusedTo(one.cluster.server, peeringAccount), await refusedTo(two.cluster.server, peeringAccount)],
        [[], []],
      );
    });

    async function entryWrites(): Promise<readonly AuditedRequest[]> {
      return await writesOf(one.cluster.server, ['serviceentries', 'workloadentries']);
    }

    /** A change in the other cluster that comes through all of it, and is taken back. */
    async function roundTrip(name: string): Promise<void> {
      await two.createPod({ name, ip: '10.20.0.99', labels: { app: 'web' }, serviceAccount: 'web', ports: { web: 8080 } });
      const more = endpoint(imported(name), '10.20.0.99', 'web', 'r2/z2', { 80: 8080, 90: 9001 });
      await derives(one, globalName, [...inOne, ...ofTwo, more]);
      await two.cluster.client.delete(resources.pods, { name, namespace: 'demo' }, { gracePeriodSeconds: 0 });
      await derives(one, globalName, [...inOne, ...ofTwo]);
    }

    async function isthmus(...args: string[]): Promise<{ stdout: string }> {
      const env = { ...process.env, KUBECONFIG: `${one.cluster.kubeconfig}:${two.cluster.kubeconfig}` };
      try {
        return await run(executable, args, { env });
      } catch (error) {
        // `check` says by its exit code what it found.
        const { stdout, stderr } = error as { stdout?: string; stderr?: string };
        if (args[1] === 'check' && stdout !== undefined && stdout !== '') return { stdout };
        throw new Error(stderr ?? String(error), { cause: error });
      }
    }
  },
);

/** Target ports by port name. */
function service({ http, grpc }: { http: number | string; grpc: number }): KubeObject & { readonly [field: string]: unknown } {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'demo', labels: { 'solo.io/service-scope': 'global' } },
    spec: {
      selector: { app: 'web' },
      ports: [
        { name: 'http', port: 80, targetPort: http },
        { name: 'grpc', port: 90, targetPort: grpc },
      ],
    },
  };
}

async function setScope({ cluster }: UpstreamCluster, scope: string | null): Promise<void> {
  const body = { metadata: { labels: { 'solo.io/service-scope': scope } } };
  await cluster.client.patch(resources.services, { namespace: 'demo', name: 'web' }, { type: 'merge', body });
}

function endpoint(uid: string, address: string, serviceAccount: string, locality: string, ports: Ports): Endpoint {
  const identity = `spiffe://cluster.local/ns/demo/sa/${serviceAccount}`;
  return { uid, address, identity, network: 'flat-network', tunnel: 'HBONE', locality, capacity: 1, ports };
}

/** Resolves when an istiod has exactly these endpoints behind a name; fails with the difference. */
async function derives({ istiod }: UpstreamCluster, name: string, expected: readonly Endpoint[]): Promise<void> {
  const sorted = (all: readonly Endpoint[]): Endpoint[] => [...all].sort((a, b) => a.uid.localeCompare(b.uid));
  // It has no event for what it derived.
  const until = performance.now() + 20_000;
  for (;;) {
    const { workloads } = await istiod.ambientz();
    const found = workloads.filter(({ services = {} }) => name in services).map((workload) => read(workload, name));
    try {
      assert.deepEqual(sorted(found), sorted(expected));
      return;
    } catch (error) {
      if (performance.now() > until) throw error;
    }
    await sleep(100);
  }
}

/** What is left out in its JSON is the default. */
function read(workload: AmbientWorkload & { readonly locality?: { region?: string; zone?: string } }, service: string): Endpoint {
  const { uid, addresses = [], trustDomain = 'cluster.local', namespace, serviceAccount = 'default', locality, capacity = 1 } = workload;
  const ports = workload.services?.[service]?.ports ?? [];
  return {
    uid,
    address: addresses.map(addressOf).join(),
    identity: `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`,
    network: workload.network ?? '',
    tunnel: workload.tunnelProtocol ?? 'NONE',
    locality: [locality?.region, locality?.zone].join('/'),
    capacity: typeof capacity === 'number' ? capacity : capacity.value,
    ports: Object.fromEntries(ports.map(({ servicePort, targetPort }) => [servicePort, targetPort])),
  };
}

/** Shown as the base64 of its text. */
function addressOf(shown: string): string {
  return Buffer.from(shown, 'base64').toString();
}

/** resourceVersions of the entries; status, which is not ours, counts as well. */
async function versions({ cluster }: UpstreamCluster): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const type of [resources.serviceEntries, resources.workloadEntries] as readonly ResourceType[]) {
    for (const { metadata } of (await cluster.client.list(type, { namespace: 'demo' })).items) {
      found.set(`${type.kind} ${metadata.name}`, metadata.resourceVersion ?? '');
    }
  }
  return found;
}
