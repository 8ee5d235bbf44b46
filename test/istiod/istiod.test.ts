import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';

import { TunnelProtocol, WorkloadStatus } from '../../src/api/gen/istio/workload_pb.js';
import type { AuthorizationPolicy, Pod } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import { waitForObjects } from '../../src/kube/index.ts';
import { addressText } from '../../src/mesh/index.ts';
import { CertificateAuthority, createRoot, issueIntermediate, uriNames, verifyAuthority } from '../../src/pki/index.ts';
import type { ClientTls } from '../../src/xds/index.ts';
import { Proxy, requestCertificate, startCluster, startIstiod, type TestCluster, type TestIstiod } from './cluster.ts';

/** One cluster and one istiod for all cases; each leaves behind what it made in namespaces of its own. */
const started = new AsyncDisposableStack();
let cluster: TestCluster;
let istiod: TestIstiod;
let tls: ClientTls;
let url: string;
let ztunnel: Pod;
let token: string;

const root = await createRoot();
const authority = await issueIntermediate(verifyAuthority(root), { cluster: 'cluster-1' });

before(async () => {
  cluster = started.use(await startCluster({ name: 'cluster-1', port: 6443, serviceCidr: '10.255.10.0/24' }));
  istiod = started.use(await startIstiod(cluster, { authority }));
  url = `https://127.0.0.1:${istiod.listening.tlsPort}`;
  tls = { roots: root.roots, serverName: 'istiod.istio-system.svc' };
  ztunnel = await cluster.createPod({ namespace: 'istio-system', name: 'ztunnel-1', serviceAccount: 'ztunnel' });
  token = await cluster.token(ztunnel);
});

after(() => started.disposeAsync());

const namespace = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels },
});

describe('istiod', () => {
  it('is ready, and shows its names and its identity in one certificate', async () => {
    assert.equal((await fetch(`http://127.0.0.1:${istiod.readinessPort}/ready`)).status, 200);
    await using proxy = new Proxy({ url, tls, token });
    await proxy.until('first answers', () => proxy.state === 'synced');
  });

  it('tells a proxy of pods and Services, and of each change', async () => {
    await using proxy = new Proxy({ url, tls, token });
    await cluster.create(namespace('told'), {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: 'told' },
      spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
    });
    await cluster.createPod({
      namespace: 'told',
      name: 'web-1',
      ip: '10.10.0.7',
      labels: { app: 'web' },
      annotations: { 'ambient.istio.io/redirection': 'enabled' },
    });
    const uid = 'cluster-1//Pod/told/web-1';
    await proxy.until('the pod and its Service', () => proxy.workloads.has(uid) && proxy.services.has('told/web.told.svc.cluster.local'));
    await proxy.until('the ready pod', () => proxy.workloads.get(uid)?.status === WorkloadStatus.HEALTHY);
    const workload = proxy.workloads.get(uid);
    assert.equal(workload?.network, 'flat-network');
    assert.equal(workload.tunnelProtocol, TunnelProtocol.HBONE);
    assert.deepEqual(Object.keys(workload.services), ['told/web.told.svc.cluster.local']);
    await cluster.setPodReady('told', 'web-1', false);
    await proxy.until('the pod unready', () => proxy.workloads.get(uid)?.status === WorkloadStatus.UNHEALTHY);
    await cluster.client.delete(resources.pods, { namespace: 'told', name: 'web-1' }, { gracePeriodSeconds: 0 });
    await proxy.until('the pod gone', () => !proxy.workloads.has(uid));
    await cluster.client.delete(resources.services, { namespace: 'told', name: 'web' });
    await proxy.until('the Service gone', () => !proxy.services.has('told/web.told.svc.cluster.local'));
  });

  it('allocates virtual addresses, and keeps them', async () => {
    await using proxy = new Proxy({ url, tls, token });
    await cluster.create(namespace('vips'), {
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: { name: 'e', namespace: 'vips' },
      spec: { hosts: ['vips.example'], resolution: 'STATIC', ports: [{ name: 'http', number: 80, protocol: 'HTTP' }] },
    });
    const addresses = (): string[] => (proxy.services.get('vips/vips.example')?.addresses ?? []).map(({ address }) => addressText(address));
    await proxy.until('addresses', () => addresses().length === 2);
    assert.match(addresses().join(' '), /^240\.240\.0\.\d+ 2001:2::\w+$/);
    const given = addresses();
    await cluster.client.patch(
      resources.serviceEntries,
      { namespace: 'vips', name: 'e' },
      { type: 'merge', body: { metadata: { labels: { a: 'b' } } } },
    );
    await cluster.until(resources.serviceEntries, { namespace: 'vips', name: 'e' }, ({ metadata }) => metadata.labels?.['a'] === 'b');
    assert.deepEqual(addresses(), given);
  });

  it('tells of policies, and of the workloads that they select', async () => {
    await using proxy = new Proxy({ url, tls, token });
    await cluster.create(namespace('policed'), {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'deny', namespace: 'policed' },
      spec: { action: 'DENY', selector: { matchLabels: { app: 'web' } }, rules: [{ to: [{ operation: { ports: ['9999'] } }] }] },
    });
    await cluster.createPod({ namespace: 'policed', name: 'p', ip: '10.10.0.8', labels: { app: 'web' } });
    const listed = (): readonly string[] => proxy.workloads.get('cluster-1//Pod/policed/p')?.authorizationPolicies ?? [];
    await proxy.until('the policy', () => listed().includes('policed/deny') && proxy.policies.has('policed/deny'));
    const ref = { namespace: 'policed', name: 'deny' };
    const reason = (one: AuthorizationPolicy): string | undefined =>
      one.status?.conditions?.find(({ type }) => type === 'ZtunnelAccepted')?.reason;
    await cluster.until(resources.authorizationPolicies, ref, (one) => reason(one) === 'Accepted');
    const methods = { spec: { rules: [{ to: [{ operation: { methods: ['GET'] } }] }] } };
    await cluster.client.patch(resources.authorizationPolicies, ref, { type: 'merge', body: methods });
    await cluster.until(resources.authorizationPolicies, ref, (one) => reason(one) === 'UnsupportedValue');
    await proxy.until('denied whole', () => proxy.policies.get('policed/deny')?.rules[0]?.clauses.length === 0);
    await cluster.client.delete(resources.authorizationPolicies, { namespace: 'policed', name: 'deny' });
    await proxy.until('no policy', () => listed().length === 0 && !proxy.policies.has('policed/deny'));
  });

  it('tells of an object that it cannot use in an Event about it', async () => {
    await cluster.create(namespace('broken'), {
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: { name: 'e', namespace: 'broken' },
      spec: { hosts: ['e.example'], addresses: ['nonsense'], resolution: 'STATIC', ports: [{ name: 'http', number: 80 }] },
    });
    const what = 'the Event';
    const [event] = await waitForObjects(
      { client: cluster.client, type: resources.events, namespace: 'broken', what, timeout: 10_000 },
      (all) => all.length > 0,
    );
    assert.equal(event?.reason, 'MESH_ADDRESS_INVALID');
    assert.equal(event.involvedObject.name, 'e');
  });

  it('distributes the roots, and repairs them', async () => {
    await cluster.create(namespace('rooted'));
    const ref = { name: 'istio-ca-root-cert', namespace: 'rooted' };
    const right = (one: { data?: Record<string, string> }): boolean => one.data?.['root-cert.pem'] === root.roots;
    await cluster.until(resources.configMaps, ref, right);
    await cluster.client.patch(resources.configMaps, ref, { type: 'merge', body: { data: { 'root-cert.pem': 'wrong' } } });
    await cluster.until(resources.configMaps, ref, right);
    await cluster.client.delete(resources.configMaps, ref);
    await cluster.until(resources.configMaps, ref, right);
  });
});

describe('callers of istiod', () => {
  const refused = (call: Promise<unknown>): Promise<void> => assert.rejects(call, /unauthenticated|permission_denied/i);

  it('without a token, or with one for another audience, get nothing', async () => {
    const identity = 'spiffe://cluster.local/ns/istio-system/sa/ztunnel';
    await refused(requestCertificate({ url, tls, identity }));
    await refused(requestCertificate({ url, tls, identity, token: 'nonsense' }));
    await refused(requestCertificate({ url, tls, identity, token: await cluster.token(ztunnel, 'https://kubernetes.default.svc') }));
    await using nobody = new Proxy({ url, tls });
    await nobody.until('refused', () => nobody.state === 'disconnected');
    assert.equal(nobody.workloads.size, 0);
  });

  it('get a certificate of their own identity, whole chain included', async () => {
    const identity = 'spiffe://cluster.local/ns/istio-system/sa/ztunnel';
    const [leaf = '', intermediate = '', roots] = await requestCertificate({ url, tls, identity, token });
    const certificate = new X509Certificate(leaf);
    assert.deepEqual(uriNames(certificate), [identity]);
    assert.ok(certificate.verify(new X509Certificate(intermediate).publicKey));
    assert.equal(roots, root.roots);
  });

  it('may stand in for the pods of their own node, and for nobody else', async () => {
    await cluster.create(namespace('stand'));
    await using proxy = new Proxy({ url, tls, token });
    await cluster.createPod({ namespace: 'stand', name: 'here', serviceAccount: 'here', ip: '10.10.0.21' });
    await cluster.createPod({ namespace: 'stand', name: 'there', node: 'node-2', serviceAccount: 'there', ip: '10.10.0.22' });
    const ask = (account: string, as = token, domain = 'cluster.local') =>
      requestCertificate({ url, tls, identity: `spiffe://${domain}/ns/stand/sa/${account}`, impersonate: true, token: as });
    await proxy.until('the pods known', () => proxy.workloads.has('cluster-1//Pod/stand/there'));
    const chain = await ask('here');
    assert.deepEqual(uriNames(new X509Certificate(chain[0] ?? '')), ['spiffe://cluster.local/ns/stand/sa/here']);
    await refused(ask('there'));
    await refused(ask('nobody'));
    await refused(ask('here', token, 'other.domain'));
    const pod = await cluster.createPod({ namespace: 'stand', name: 'rogue', serviceAccount: 'rogue' });
    const rogue = await cluster.token(pod);
    await requestCertificate({ url, tls, identity: 'spiffe://cluster.local/ns/stand/sa/rogue', token: rogue });
    await refused(ask('here', rogue));
  });

  it('may not speak for another account than their own', async () => {
    const pod = await cluster.createPod({ namespace: 'default', name: 'liar', serviceAccount: 'liar' });
    await using liar = new Proxy({ url, tls, token: await cluster.token(pod) });
    await liar.until('refused', () => liar.state === 'disconnected');
    await using honest = new Proxy({ url, tls, token: await cluster.token(pod), namespace: 'default', serviceAccount: 'liar' });
    await honest.until('served', () => honest.state === 'synced');
  });

  it('from another cluster under the same root get neither the mesh nor a certificate', async () => {
    const other = await issueIntermediate(verifyAuthority(root), { cluster: 'cluster-2' });
    const peer = await (
      await CertificateAuthority.create({ material: other })
    ).issueServing({
      dnsNames: [],
      uris: ['spiffe://cluster.local/ns/istio-system/sa/istiod'],
    });
    const asPeer = { ...tls, certificate: peer.chain, key: peer.key };
    await refused(requestCertificate({ url, tls: asPeer, identity: 'spiffe://cluster.local/ns/istio-system/sa/istiod' }));
    await using proxy = new Proxy({ url, tls: asPeer, serviceAccount: 'istiod' });
    await proxy.until('refused', () => proxy.state === 'disconnected');
    assert.equal(proxy.workloads.size, 0);

    // This cluster's own authority is no secret: a peer may send its certificate along and still is a peer.
    const leaf = peer.chain.slice(0, peer.chain.indexOf('-----END CERTIFICATE-----') + 26);
    const disguised = { ...asPeer, certificate: `${leaf}${authority.certificate}${other.certificate}` };
    await refused(requestCertificate({ url, tls: disguised, identity: 'spiffe://cluster.local/ns/istio-system/sa/istiod' }));
    await using another = new Proxy({ url, tls: disguised, serviceAccount: 'istiod' });
    await another.until('refused', () => another.state === 'disconnected');
    assert.equal(another.workloads.size, 0);
  });
});

describe('the gateway controller', () => {
  const eastWest = {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      name: 'istio-eastwest',
      namespace: 'istio-eastwest',
      labels: { 'istio.io/expose-istiod': '15012', 'topology.istio.io/cluster': 'cluster-1', 'topology.istio.io/network': 'flat-network' },
    },
    spec: {
      gatewayClassName: 'istio-eastwest',
      listeners: [
        {
          name: 'cross-network',
          port: 15008,
          protocol: 'HBONE',
          tls: { mode: 'Passthrough' },
          allowedRoutes: { namespaces: { from: 'Same' } },
        },
        { name: 'xds-tls', port: 15012, protocol: 'TLS', tls: { mode: 'Passthrough' }, allowedRoutes: { namespaces: { from: 'Same' } } },
      ],
    },
  };
  const ref = { name: 'istio-eastwest', namespace: 'istio-eastwest' };
  const condition = (one: { status?: { conditions?: readonly { type: string; status: string; reason: string }[] } }, type: string) =>
    one.status?.conditions?.find((is) => is.type === type);

  it('offers its classes', async () => {
    for (const name of ['istio-eastwest', 'istio-remote']) {
      await cluster.until(resources.gatewayClasses, { name }, (one) => condition(one, 'Accepted')?.status === 'True');
    }
  });

  it('runs an east-west gateway, and says it is programmed once it has an address and a ready pod', async () => {
    await cluster.create(namespace('istio-eastwest'), eastWest);
    const service = await cluster.until(resources.services, ref, () => true);
    assert.equal(service.spec?.type, 'LoadBalancer');
    assert.deepEqual(
      service.spec.ports?.map(({ name, port }) => `${name ?? ''} ${port}`),
      ['status-port 15021', 'cross-network 15008', 'tls-xds 15012'],
    );
    assert.equal(service.metadata.labels?.['gateway.istio.io/managed'], 'istio.io-eastwest-controller');
    const deployment = await cluster.until(resources.deployments, ref, () => true);
    const [container] = deployment.spec?.template.spec?.containers ?? [];
    assert.deepEqual([container?.image, ...(container?.args ?? [])], ['isthmus:test', 'ztunnel', '--gateway']);
    const gateway = await cluster.until(resources.gateways, ref, (one) => condition(one, 'Programmed')?.reason === 'AddressNotAssigned');
    for (const owned of [service, deployment, await cluster.until(resources.serviceAccounts, ref, () => true)]) {
      assert.deepEqual(
        owned.metadata.ownerReferences?.map(({ kind, uid }) => [kind, uid]),
        [['Gateway', gateway.metadata.uid]],
      );
    }
    const ingress = { status: { loadBalancer: { ingress: [{ ip: '172.18.201.1' }] } } };
    await cluster.client.patch(resources.services, ref, { type: 'merge', body: ingress }, { subresource: 'status' });
    await cluster.until(resources.gateways, ref, (one) => condition(one, 'Programmed')?.reason === 'Pending');
    const replicas = { status: { replicas: 1, readyReplicas: 1, availableReplicas: 1 } };
    await cluster.client.patch(resources.deployments, ref, { type: 'merge', body: replicas }, { subresource: 'status' });
    const programmed = await cluster.until(resources.gateways, ref, (one) => condition(one, 'Programmed')?.status === 'True');
    assert.deepEqual(programmed.status?.addresses, [{ type: 'IPAddress', value: '172.18.201.1' }]);
    assert.deepEqual(
      programmed.status.listeners?.map(({ name, attachedRoutes }) => [name, attachedRoutes]),
      [
        ['cross-network', 0],
        ['xds-tls', 0],
      ],
    );
  });

  it('puts right what someone changed', async () => {
    await cluster.client.patch(resources.services, ref, { type: 'merge', body: { spec: { selector: { app: 'other' } } } });
    await cluster.until(
      resources.services,
      ref,
      ({ spec }) => spec?.selector?.['gateway.networking.k8s.io/gateway-name'] === 'istio-eastwest',
    );
    await cluster.client.delete(resources.deployments, ref);
    await cluster.until(resources.deployments, ref, () => true);
  });

  it('touches nothing that belongs to someone else', async () => {
    await cluster.create(namespace('taken'), {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'istio-eastwest', namespace: 'taken' },
      spec: { ports: [{ port: 80 }] },
    });
    await cluster.create({ ...eastWest, metadata: { ...eastWest.metadata, namespace: 'taken' } });
    const taken = { name: 'istio-eastwest', namespace: 'taken' };
    await cluster.until(resources.gateways, taken, (one) => condition(one, 'Programmed')?.reason === 'Invalid');
    assert.deepEqual((await cluster.client.get(resources.services, taken)).metadata.labels ?? {}, {});
  });

  it('accepts a Gateway that stands for another cluster, and shows its address', async () => {
    await cluster.create({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: {
        name: 'istio-remote-peer-cluster-2',
        namespace: 'istio-eastwest',
        labels: { 'topology.istio.io/network': 'flat-network' },
      },
      spec: {
        gatewayClassName: 'istio-remote',
        addresses: [{ type: 'IPAddress', value: '127.0.0.1' }],
        listeners: [{ name: 'xds-tls', port: 15012, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
      },
    });
    const remote = await cluster.until(
      resources.gateways,
      { name: 'istio-remote-peer-cluster-2', namespace: 'istio-eastwest' },
      (one) => condition(one, 'Programmed')?.status === 'True' && condition(one, 'gloo.solo.io/PeerConnected') !== undefined,
    );
    assert.deepEqual(remote.status?.addresses, [{ type: 'IPAddress', value: '127.0.0.1' }]);
    assert.equal(condition(remote, 'gloo.solo.io/PeerConnected')?.status, 'False');
  });
});
