import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';

import type { ConfigMap } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import { addressText } from '../../src/mesh/index.ts';
import { createRoot, issueIntermediate, verifyAuthority, writeAuthority } from '../../src/pki/index.ts';
import type { ClientTls } from '../../src/xds/index.ts';
import { Proxy, requestCertificate, startCluster, startIstiod, type TestCluster, type TestIstiod } from './cluster.ts';

/** Each case has a cluster of its own; all of it goes after the case, the last started first. */
let started = new AsyncDisposableStack();
afterEach(async () => {
  const all = started;
  started = new AsyncDisposableStack();
  await all.disposeAsync();
});

const identity = 'spiffe://cluster.local/ns/istio-system/sa/ztunnel';
const cluster = async (options: { crds?: boolean } = {}): Promise<TestCluster> =>
  started.use(await startCluster({ name: 'cluster-1', port: 8443, serviceCidr: '10.255.10.0/24', ...options }));
const run = async (of: TestCluster, options: Parameters<typeof startIstiod>[1] = {}): Promise<TestIstiod> =>
  started.use(await startIstiod(of, { readinessPort: 18_280, ...options }));

/** How a node's proxy reaches an istiod that signs with these roots. */
async function proxyAccess(of: TestCluster, istiod: TestIstiod, roots: string): Promise<{ url: string; tls: ClientTls; token: string }> {
  const pod = await of.createPod({ namespace: 'istio-system', name: `ztunnel-${istiod.listening.tlsPort}`, serviceAccount: 'ztunnel' });
  const tls = { roots, serverName: 'istiod.istio-system.svc' };
  return { url: `https://127.0.0.1:${istiod.listening.tlsPort}`, tls, token: await of.token(pod) };
}

const entry = (name: string) => ({
  apiVersion: 'networking.istio.io/v1',
  kind: 'ServiceEntry',
  metadata: { name, namespace: 'default' },
  spec: { hosts: [`${name}.example`], resolution: 'STATIC', ports: [{ name: 'http', number: 80 }] },
});
const vipsOf = (proxy: Proxy, name: string): string[] =>
  (proxy.services.get(`default/${name}.example`)?.addresses ?? []).map(({ address }) => addressText(address));
const rootsOf = ({ data }: ConfigMap): string => data?.['root-cert.pem'] ?? '';
const rootRef = { namespace: 'default', name: 'istio-ca-root-cert' };

describe('istiod through its life', () => {
  it('makes a root of its own without cacerts, and has the same one after a restart', async () => {
    const on = await cluster();
    const first = await startIstiod(on, { readinessPort: 18_280 });
    const roots = rootsOf(await on.until(resources.configMaps, rootRef, (one) => rootsOf(one) !== ''));
    const access = await proxyAccess(on, first, roots);
    assert.equal((await requestCertificate({ ...access, identity })).at(-1), roots);
    await first[Symbol.asyncDispose]();
    const second = await run(on);
    assert.equal((await requestCertificate({ ...(await proxyAccess(on, second, roots)), identity })).at(-1), roots);
  });

  it('gives no virtual address twice, and takes none back, over a restart', async () => {
    const on = await cluster();
    const root = await createRoot();
    const first = await startIstiod(on, { authority: root, readinessPort: 18_280 });
    const before = new Proxy(await proxyAccess(on, first, root.roots));
    await on.create(entry('a'), entry('b'));
    await before.until('addresses', () => vipsOf(before, 'a').length === 2 && vipsOf(before, 'b').length === 2);
    const given = [...vipsOf(before, 'a'), ...vipsOf(before, 'b')];
    await before[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    const second = await run(on, { authority: root });
    const proxy = started.use(new Proxy(await proxyAccess(on, second, root.roots)));
    await on.create(entry('c'));
    await proxy.until('an address for the new one', () => vipsOf(proxy, 'c').length === 2);
    assert.deepEqual([...vipsOf(proxy, 'a'), ...vipsOf(proxy, 'b')], given);
    assert.equal(new Set([...given, ...vipsOf(proxy, 'c')]).size, 6);
  });

  it('serves on while the API server is gone, and catches up when it is back', async () => {
    const on = await cluster();
    const root = await createRoot();
    const istiod = await run(on, { authority: root });
    const proxy = started.use(new Proxy(await proxyAccess(on, istiod, root.roots)));
    await on.create(entry('a'));
    await proxy.until('addresses', () => vipsOf(proxy, 'a').length === 2);
    await on.stopApiServer();
    const late = started.use(new Proxy({ url: `http://127.0.0.1:${istiod.listening.plaintextPort}`, tls: { roots: root.roots } }));
    await late.until('the mesh, without an API server', () => late.state === 'synced' && vipsOf(late, 'a').length === 2);
    assert.equal(proxy.state, 'synced');
    assert.equal(vipsOf(proxy, 'a').length, 2);
    await on.startApiServer();
    await on.create(entry('b'));
    await on.client.delete(resources.serviceEntries, { namespace: 'default', name: 'a' });
    await proxy.until('what changed', () => vipsOf(proxy, 'b').length === 2 && !proxy.services.has('default/a.example'));
  });

  it('is ready without CRDs, and reads their kinds as soon as they are there', async () => {
    const on = await cluster({ crds: false });
    const root = await createRoot();
    const istiod = await run(on, { authority: root });
    const proxy = started.use(new Proxy(await proxyAccess(on, istiod, root.roots)));
    await proxy.until('served', () => proxy.state === 'synced');
    await on.installCrds();
    await on.create(entry('a'));
    await proxy.until('the entry', () => vipsOf(proxy, 'a').length === 2);
    await on.until(resources.gatewayClasses, { name: 'istio-eastwest' }, () => true);
  });

  it('signs with the new authority when its files change, shows it and spreads its roots', async () => {
    const on = await cluster();
    const oldRoot = await createRoot();
    const istiod = await run(on, { authority: oldRoot });
    await on.until(resources.configMaps, rootRef, (one) => rootsOf(one) === oldRoot.roots);
    const access = await proxyAccess(on, istiod, oldRoot.roots);
    // As in a rotation: both roots are believed, the new one signs.
    const newRoot = await createRoot();
    const intermediate = await issueIntermediate(verifyAuthority(newRoot), { cluster: 'cluster-1' });
    const both = `${newRoot.roots}${oldRoot.roots}`;
    await writeAuthority(istiod.authorityDirectory, { ...intermediate, roots: both });
    await on.until(resources.configMaps, rootRef, (one) => rootsOf(one) === both);
    const onlyNew = { ...access.tls, roots: newRoot.roots };
    const proxy = started.use(new Proxy({ ...access, tls: onlyNew }));
    await proxy.until('shown a certificate of the new root', () => proxy.state === 'synced');
    assert.equal((await requestCertificate({ ...access, tls: onlyNew, identity })).at(-1), both);
  });

  it('has one leader among several, and another when that one ends', async () => {
    const on = await cluster();
    const root = await createRoot();
    const first = await startIstiod(on, { authority: root, readinessPort: 18_280, env: { POD_NAME: 'istiod-a' } });
    const lease = { namespace: 'istio-system', name: 'istio-leader' };
    await on.until(resources.leases, lease, ({ spec }) => spec?.holderIdentity === 'istiod-a');
    await run(on, { authority: root, readinessPort: 18_281, env: { POD_NAME: 'istiod-b' } });
    await first[Symbol.asyncDispose]();
    await on.until(resources.leases, lease, ({ spec }) => spec?.holderIdentity === 'istiod-b');
    await on.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'later' } });
    await on.until(resources.configMaps, { ...rootRef, namespace: 'later' }, (one) => rootsOf(one) === root.roots);
  });
});
