import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';

import type { ConfigMap, KubeObject, Pod } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import { isConflict, isExpired, KubeApiError, KubeClient, type WatchEvent } from '../../src/kube/index.ts';
import { startApiServer, type ApiServer } from '../support/api-server.ts';
import { withoutAssets } from '../support/real-api-server.ts';

const namespace = 'default';
const configMap = (name: string, data: Record<string, string>, labels?: Record<string, string>): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace, ...(labels && { labels }) },
  data,
});
const hasStatus =
  (code: number) =>
  (error: unknown): boolean =>
    error instanceof KubeApiError && error.httpCode === code;

describe('our client, with a real API server', { skip: withoutAssets, timeout: 120_000 }, () => {
  const started = new AsyncDisposableStack();
  let server: ApiServer;
  let client: KubeClient;
  let kubeconfig: string;
  before(async () => {
    server = started.use(await startApiServer({ kind: 'real' }));
    ({ kubeconfig } = server);
    client = started.use(KubeClient.fromKubeconfig({ path: kubeconfig }));
  });
  after(() => started.disposeAsync());

  /** The first events of a watch; ends it. */
  async function watched(count: number, options: { resourceVersion: string; metadataOnly?: boolean }) {
    const stop = new AbortController();
    const events: WatchEvent<ConfigMap>[] = [];
    const of = { ...options, namespace, labelSelector: 'watched=yes', signal: stop.signal };
    for await (const event of client.watch(resources.configMaps, of)) {
      events.push(event);
      if (events.length === count) break;
    }
    stop.abort();
    return events;
  }

  it('lists in pages, and metadata alone', async () => {
    const names = Array.from({ length: 1100 }, (_, index) => `many-${String(index).padStart(4, '0')}`);
    for (let from = 0; from < names.length; from += 50) {
      const some = names.slice(from, from + 50);
      await Promise.all(some.map((name) => client.create(resources.configMaps, configMap(name, { value: name }, { many: 'yes' }))));
    }
    const of = { namespace, labelSelector: 'many=yes' };
    const { items } = await client.list(resources.configMaps, of);
    assert.deepEqual(items.map(({ metadata }) => metadata.name).sort(), names);
    assert.deepEqual(items[0]?.data, { value: items[0]?.metadata.name });
    const { items: bare } = await client.list(resources.configMaps, { ...of, metadataOnly: true });
    assert.equal(bare.length, names.length);
    assert.ok(bare.every((one) => one.data === undefined && one.kind === 'ConfigMap'));
  });

  it('watches from a version on', async () => {
    const { resourceVersion } = await client.list(resources.configMaps, { namespace, labelSelector: 'watched=yes' });
    const made = await client.create(resources.configMaps, configMap('watched', { value: '1' }, { watched: 'yes' }));
    await client.apply(resources.configMaps, configMap('watched', { value: '2' }, { watched: 'yes' }));
    await client.create(resources.configMaps, configMap('other', {}));
    await client.delete(resources.configMaps, { name: 'watched', namespace });
    const events = await watched(3, { resourceVersion });
    assert.deepEqual(
      events.map(({ type, object }) => [type, object.metadata.uid]),
      ['ADDED', 'MODIFIED', 'DELETED'].map((type) => [type, made.metadata.uid]),
    );
    const [first] = await watched(1, { resourceVersion, metadataOnly: true });
    assert.equal(first?.object.metadata.name, 'watched');
    assert.equal(first.object.data, undefined);
  });

  it('is told of a version that is too old', async () => {
    const { resourceVersion } = await client.list(resources.configMaps, { namespace });
    await client.create(resources.configMaps, configMap('since', {}, { watched: 'yes' }));
    const [since] = await watched(1, { resourceVersion });
    assert.equal(since?.object.metadata.name, 'since');
    // After a start it knows nothing of the changes before it.
    await server.stop();
    await server.start();
    await assert.rejects(watched(1, { resourceVersion: '1' }), isExpired);
  });

  it('applies what it wants and no more', async () => {
    const apply = (fieldManager: string, data: Record<string, string>, force: boolean): Promise<ConfigMap> =>
      client.apply(resources.configMaps, configMap('applied', data), { fieldManager, force });
    await apply('one', { shared: '1', own: '1' }, false);
    await assert.rejects(apply('two', { shared: '2' }, false), (error) => isConflict(error) && /conflict with "one"/.test(String(error)));
    await apply('two', { shared: '2', other: '2' }, true);
    const { data, metadata } = await apply('one', {}, false);
    assert.deepEqual(data, { shared: '2', other: '2' }, 'what one wanted alone is gone, what two took over stays');
    const again = await apply('two', { shared: '2', other: '2' }, true);
    assert.equal(again.metadata.resourceVersion, metadata.resourceVersion, 'the same once more changes nothing');
  });

  it('writes status apart from the object', async () => {
    await client.create(resources.serviceAccounts, { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace } });
    const ref = { name: 'with-status', namespace };
    const pod: Pod = { apiVersion: 'v1', kind: 'Pod', metadata: ref, spec: { containers: [{ name: 'app', image: 'app' }] } };
    await client.create(resources.pods, pod);
    const body = { status: { phase: 'Running', podIP: '10.1.2.3', podIPs: [{ ip: '10.1.2.3' }] } };
    assert.equal((await client.patch(resources.pods, ref, { type: 'merge', body })).status?.phase, 'Pending');
    const written = await client.patch(resources.pods, ref, { type: 'merge', body }, { subresource: 'status' });
    assert.deepEqual([written.status?.phase, written.status?.podIP], ['Running', '10.1.2.3']);
  });

  it('knows all kinds of patches', async () => {
    const ref = { name: 'patched', namespace };
    const ports = [{ name: 'a', port: 1 }];
    await client.create(resources.services, { apiVersion: 'v1', kind: 'Service', metadata: ref, spec: { ports } } as KubeObject);
    const patch = async (type: 'merge' | 'json' | 'strategic', body: unknown): Promise<(string | undefined)[]> =>
      ((await client.patch(resources.services, ref, { type, body })).spec?.ports ?? []).map(({ name }) => name);
    assert.deepEqual(
      (await patch('strategic', { spec: { ports: [{ name: 'b', port: 2 }] } })).sort(),
      ['a', 'b'],
      'lists are merged by key',
    );
    assert.deepEqual(await patch('merge', { spec: { ports: [{ name: 'c', port: 3 }] } }), ['c'], 'lists are replaced');
    assert.deepEqual(await patch('json', [{ op: 'replace', path: '/spec/ports/0/name', value: 'd' }]), ['d']);
    await assert.rejects(patch('json', [{ op: 'test', path: '/spec/ports/0/name', value: 'no' }]), hasStatus(422));
  });

  it('deletes only the incarnation that it means', async () => {
    const { metadata } = await client.create(resources.configMaps, configMap('again', {}));
    await assert.rejects(client.delete(resources.configMaps, metadata, { uid: '00000000-0000-0000-0000-000000000000' }), isConflict);
    assert.equal(await client.delete(resources.configMaps, metadata, { uid: metadata.uid ?? '' }), true);
    assert.equal(await client.delete(resources.configMaps, metadata), false);
  });

  it('leads within five seconds after the leader was killed', async () => {
    const elector = async (identity: string) => {
      const child = spawn(process.execPath, [new URL('elector.ts', import.meta.url).pathname, kubeconfig, identity], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const lines = createInterface({ input: child.stdout });
      started.defer(() => void child.kill('SIGKILL'));
      const leads = once(lines, 'line');
      await once(child, 'spawn');
      return { child, leads };
    };
    const first = await elector('first');
    await first.leads;
    const second = await elector('second');
    // The second one waits as soon as it has seen the Lease, which nobody can see: it is given one term.
    await once(AbortSignal.timeout(3_000), 'abort');
    const holder = async (): Promise<string> =>
      (await client.get(resources.leases, { namespace, name: 'elected' })).spec?.holderIdentity ?? '';
    assert.equal(await holder(), 'first');
    const killed = performance.now();
    first.child.kill('SIGKILL');
    await second.leads;
    const took = performance.now() - killed;
    assert.equal(await holder(), 'second');
    assert.ok(took < 5_000, `took over after ${Math.round(took)} ms`);
  });
});
