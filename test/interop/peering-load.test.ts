import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import type { WorkloadEntry } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import { waitForObjects } from '../../src/kube/index.ts';
import { createRoot, issueIntermediate, verifyAuthority } from '../../src/pki/index.ts';
import type { AuditedRequest } from '../support/api-server.ts';
import { withoutAssets } from '../support/real-api-server.ts';
import { writesOf } from '../support/peering-writes.ts';
import { UpstreamCluster } from '../support/upstream-cluster.ts';
import { withoutIstiod } from '../support/upstream-istiod.ts';

const pods = 1_000;
const changesOfEach = 10;
const names = Array.from({ length: pods }, (_, index) => `web-${index}`);

describe('ten thousand changes of pods, beside unmodified istiods', { skip: withoutAssets || withoutIstiod, timeout: 540_000 }, () => {
  const started = new AsyncDisposableStack();
  let importing: UpstreamCluster;
  let exporting: UpstreamCluster;

  before(async () => {
    const root = verifyAuthority(await createRoot());
    const start = async (index: 1 | 2): Promise<UpstreamCluster> => {
      const name = `cluster-${index}`;
      const authority = await issueIntermediate(root, { cluster: name });
      const of = { name, serviceCidr: `10.255.${index}0.0/24`, podRange: `10.${index}0.0.0/16`, region: `r${index}`, zone: 'z' };
      return started.use(await UpstreamCluster.start({ ...of, authority }));
    };
    importing = await start(1);
    exporting = await start(2);
    await exporting.cluster.create({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: 'demo', labels: { 'solo.io/service-scope': 'global' } },
      spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
    });
    await inParallel(names, async (name, index) => {
      await exporting.createPod({ name, ip: `10.20.${1 + (index >> 8)}.${index & 255}`, labels: { app: 'web' }, serviceAccount: 'web' });
    });
  });
  after(() => started.disposeAsync());

  it('import a thousand pods over a link from a file', async (t) => {
    const from = performance.now();
    await importing.cluster.create({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'istio-remote-peer-cluster-2', namespace: 'istio-eastwest', labels: { 'topology.istio.io/cluster': 'cluster-2' } },
      spec: {
        gatewayClassName: 'istio-remote',
        addresses: [{ type: 'IPAddress', value: '127.0.0.1' }],
        listeners: [{ name: 'xds-tls', port: exporting.peering.port, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
      },
    });
    await entriesOf(names);
    const took = performance.now() - from;
    t.diagnostic(`${pods} pods imported in ${seconds(took)}; importing process ${await memory()}`);
    assert.equal((await entryWrites()).length, pods + 2, 'one for each, the gateway entry and the ServiceEntry');
  });

  it('cost ten thousand writes at most', async (t) => {
    const before = (await entryWrites()).length;
    const from = performance.now();
    for (let change = 1; change <= changesOfEach; change++) {
      // Not ready at first, ready at last.
      await inParallel(names, (name) => exporting.cluster.setPodReady('demo', name, change % 2 === 0));
      t.diagnostic(`after ${change * pods} changes, ${seconds(performance.now() - from)}: importing process ${await memory()}`);
    }
    const changed = performance.now();
    await exporting.createPod({ name: 'last', ip: '10.20.9.9', labels: { app: 'web' }, serviceAccount: 'web' });
    await entriesOf([...names, 'last']);
    const caughtUp = performance.now();
    const writes = (await entryWrites()).slice(before);
    t.diagnostic(
      `${pods * changesOfEach} changes in ${seconds(changed - from)}, the last one seen ${seconds(caughtUp - changed)} later: ` +
        `${writes.length} writes; importing process ${await memory()}`,
    );
    assert.ok(writes.length <= pods * changesOfEach + 1, `${writes.length} writes`);
    // Some at least came through: it did not only see the end.
    assert.ok(writes.length >= pods, `${writes.length} writes`);
    const failed = writes.filter(({ responseStatus }) => (responseStatus?.code ?? 0) >= 400);
    // On a busy machine a term of the leader may end in the midst of its 16 writes. They are broken off, and asked for again in the next
    // term; a deletion may have been done by then.
    const brokenOff = ({ verb, responseStatus }: AuditedRequest): boolean =>
      responseStatus?.message?.endsWith('context canceled') === true || (verb === 'delete' && responseStatus?.code === 404);
    t.diagnostic(`${failed.length} of the writes failed`);
    assert.deepEqual(failed.filter((write) => !brokenOff(write)).slice(0, 3), []);
    assert.ok(failed.length <= writes.length / 100, `${failed.length} writes failed`);
    const { workloads } = await importing.istiod.ambientz();
    assert.equal(workloads.filter(({ services = {} }) => 'demo/web.demo.mesh.internal' in services).length, pods + 1);
  });

  /** Resolves when there is an entry for each of these pods, and for no other. */
  async function entriesOf(expected: readonly string[]): Promise<void> {
    const { client } = importing.cluster;
    const isThere = (entries: readonly WorkloadEntry[]): boolean => {
      const flat = entries.filter(({ metadata }) => metadata.name.startsWith('autogenflat.'));
      if (flat.length !== expected.length) return false;
      const found = new Set(flat.map(({ metadata }) => metadata.name.split('.')[3]));
      return expected.every((name) => found.has(name));
    };
    await waitForObjects(
      { client, type: resources.workloadEntries, namespace: 'demo', what: `${expected.length} entries`, timeout: 120_000 },
      isThere,
    );
  }

  async function entryWrites(): Promise<readonly AuditedRequest[]> {
    return await writesOf(importing.cluster.server, ['workloadentries', 'serviceentries']);
  }

  async function memory(): Promise<string> {
    const { now, most } = await importing.peering.memory();
    return `${now} MiB, at most ${most} MiB`;
  }
});

/** At most 32 at the same time. */
async function inParallel<T>(items: readonly T[], work: (item: T, index: number) => Promise<unknown>): Promise<void> {
  const left = items.entries();
  const worker = async (): Promise<void> => {
    for (const [index, item] of left) await work(item, index);
  };
  await Promise.all(Array.from({ length: 32 }, worker));
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
