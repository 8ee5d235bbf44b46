import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { gatewayApiCrds, istioCrds } from '../../src/api/crds/index.ts';
import type { KubeObject } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import { resourceTypeOf } from '../../src/cli/apply.ts';
import { cniManifests } from '../../src/cli/install/cni.ts';
import { istiodManifests } from '../../src/cli/install/istiod.ts';
import { peeringManifests } from '../../src/cli/install/peering.ts';
import { ztunnelManifests } from '../../src/cli/install/ztunnel.ts';
import { collectionPath, KubeApiError, objectPath } from '../../src/kube/index.ts';
import { startCluster, type TestCluster, type TestObject } from '../istiod/cluster.ts';
import { withoutAssets } from '../support/real-api-server.ts';

/** What a server says of an object that it is asked to create, without doing it. */
interface Verdict {
  readonly code: number;
  /** `<reason> <field>` of each cause, sorted. */
  readonly causes: readonly string[];
}

const object = (apiVersion: string, kind: string, spec: unknown, metadata: object = {}): TestObject => ({
  apiVersion,
  kind,
  metadata: { name: 'it', namespace: 'default', ...metadata },
  spec,
});
const serviceEntry = (spec: object): TestObject =>
  object('networking.istio.io/v1', 'ServiceEntry', {
    hosts: ['a.example'],
    ports: [{ name: 'http', number: 80, protocol: 'HTTP' }],
    ...spec,
  });
const workloadEntry = (spec: object): TestObject => object('networking.istio.io/v1', 'WorkloadEntry', spec);
const gateway = (spec: object): TestObject =>
  object('gateway.networking.k8s.io/v1', 'Gateway', {
    gatewayClassName: 'istio-remote',
    listeners: [{ name: 'xds-tls', port: 15012, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
    ...spec,
  });
const policy = (spec: object): TestObject => object('security.istio.io/v1', 'AuthorizationPolicy', spec);
const service = (spec: object): TestObject => object('v1', 'Service', { ports: [{ name: 'http', port: 80 }], ...spec });
const pod = (spec: object): TestObject =>
  object('v1', 'Pod', { serviceAccountName: 'default', containers: [{ name: 'app', image: 'app' }], ...spec });

/** Good and bad objects of the kinds that the mesh reads or writes. */
const objects: Readonly<Record<string, TestObject>> = {
  'a ServiceEntry': serviceEntry({ resolution: 'STATIC' }),
  'a ServiceEntry with workloadSelector and endpoints': serviceEntry({
    resolution: 'STATIC',
    workloadSelector: { labels: { a: 'b' } },
    endpoints: [{ address: '10.0.0.1' }],
  }),
  'a ServiceEntry without hosts': serviceEntry({ hosts: [] }),
  'a ServiceEntry with a wildcard in its selector': serviceEntry({ workloadSelector: { labels: { a: '*' } } }),
  'a ServiceEntry with an unknown resolution': serviceEntry({ resolution: 'MAGIC' }),
  'a ServiceEntry with a port that is none': serviceEntry({ ports: [{ name: 'http', number: 0 }] }),
  'a ServiceEntry with one port twice': serviceEntry({
    ports: [
      { name: 'http', number: 80 },
      { name: 'http', number: 80 },
    ],
  }),
  'a ServiceEntry with a CIDR and DNS': serviceEntry({ resolution: 'DNS', addresses: ['10.0.0.0/8'] }),
  'a WorkloadEntry': workloadEntry({ address: '10.0.0.1', serviceAccount: 'default', ports: { http: 8080 }, network: 'n' }),
  'a WorkloadEntry without address and network': workloadEntry({ serviceAccount: 'default' }),
  'a WorkloadEntry without address, with network': workloadEntry({ network: 'n', weight: 3 }),
  'a WorkloadEntry with a port name that is none': workloadEntry({ address: '10.0.0.1', ports: { 'a b': 80 } }),
  'a WorkloadEntry with a negative weight': workloadEntry({ address: '10.0.0.1', weight: -1 }),
  'a Gateway': gateway({}),
  'a Gateway without listeners': gateway({ listeners: [] }),
  'a Gateway with one listener twice': gateway({
    listeners: [
      { name: 'a', port: 1, protocol: 'TCP' },
      { name: 'a', port: 2, protocol: 'TCP' },
    ],
  }),
  'a Gateway with TLS for HTTP': gateway({ listeners: [{ name: 'a', port: 80, protocol: 'HTTP', tls: { mode: 'Passthrough' } }] }),
  'a Gateway with a port above all': gateway({ listeners: [{ name: 'a', port: 70000, protocol: 'TCP' }] }),
  'a Gateway with an address that is none': gateway({ addresses: [{ type: 'IPAddress', value: 'nowhere.example' }] }),
  'a Gateway with one address twice': gateway({
    addresses: [
      { type: 'IPAddress', value: '10.0.0.1' },
      { type: 'IPAddress', value: '10.0.0.1' },
    ],
  }),
  'an AuthorizationPolicy': policy({ action: 'DENY', rules: [{ to: [{ operation: { ports: ['80'] } }] }] }),
  'an AuthorizationPolicy with selector and targetRefs': policy({
    selector: { matchLabels: { a: 'b' } },
    targetRefs: [{ kind: 'Service', group: '', name: 'x' }],
  }),
  'an AuthorizationPolicy with an unknown action': policy({ action: 'MAYBE' }),
  'a PeerAuthentication': object('security.istio.io/v1', 'PeerAuthentication', { mtls: { mode: 'STRICT' } }),
  'a PeerAuthentication with ports and no selector': object('security.istio.io/v1', 'PeerAuthentication', {
    portLevelMtls: { 80: { mode: 'STRICT' } },
  }),
  'a Service': service({ selector: { app: 'web' } }),
  'a Service with two ports without names': service({ ports: [{ port: 80 }, { port: 81 }] }),
  'a Service with one port twice': service({
    ports: [
      { name: 'a', port: 80 },
      { name: 'b', port: 80 },
    ],
  }),
  'a Service with a port name that is none': service({ ports: [{ name: 'A_b', port: 80 }] }),
  'a Service with a ClusterIP out of range': service({ clusterIP: '192.0.2.1' }),
  'a Service with an unknown type': service({ type: 'Magic' }),
  'a Service without ports': service({ ports: [] }),
  'a headless Service without ports': service({ ports: [], clusterIP: 'None' }),
  'a pod': pod({}),
  'a pod without containers': pod({ containers: [] }),
  'a pod of no ServiceAccount': pod({ serviceAccountName: 'nobody' }),
  'a pod with one container twice': pod({
    containers: [
      { name: 'app', image: 'app' },
      { name: 'app', image: 'app' },
    ],
  }),
  'a pod with a volume that there is not': pod({
    containers: [{ name: 'app', image: 'app', volumeMounts: [{ name: 'none', mountPath: '/none' }] }],
  }),
  'a name that is none': { ...serviceEntry({}), metadata: { name: 'A_b', namespace: 'default' } },
  'a label that is none': { ...serviceEntry({}), metadata: { name: 'it', namespace: 'default', labels: { a: 'b c' } } },
  'a name that is too long': { ...serviceEntry({}), metadata: { name: 'a'.repeat(254), namespace: 'default' } },
  'a namespace that there is not': { ...serviceEntry({}), metadata: { name: 'it', namespace: 'nowhere' } },
  'an owner without uid': {
    ...serviceEntry({}),
    metadata: {
      name: 'it',
      namespace: 'default',
      ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'p', uid: '' }],
    },
  },
  'a spec that is a text': { ...serviceEntry({}), spec: 'text' },
};

describe("a real API server's verdict", { skip: withoutAssets, timeout: 120_000 }, () => {
  const started = new AsyncDisposableStack();
  let real: TestCluster;
  let lab: TestCluster;
  before(async () => {
    real = started.use(await startCluster({ name: 'real', kind: 'real', serviceCidr: '10.255.10.0/24' }));
    lab = started.use(await startCluster({ name: 'lab', kind: 'lab', serviceCidr: '10.255.10.0/24' }));
    for (const cluster of [real, lab]) {
      await cluster.client.apply(resources.serviceAccounts, { metadata: { name: 'default', namespace: 'default' } });
    }
  });
  after(() => started.disposeAsync());

  it('of our CRDs: each is served, with its schema', async () => {
    const { items } = await real.client.list(resources.customResourceDefinitions);
    const conditions = new Map(
      items.map(({ metadata, status }) => [metadata.name, (status?.conditions ?? []).map(({ type, status: is }) => `${type} ${is}`)]),
    );
    for (const { metadata } of [...istioCrds(), ...gatewayApiCrds()]) {
      const found = conditions.get(metadata.name) ?? [];
      for (const wanted of ['Established True', 'NamesAccepted True'])
        assert.ok(found.includes(wanted), `${metadata.name}: ${found.join()}`);
      assert.ok(!found.includes('NonStructuralSchema True'), metadata.name);
    }
  });

  it('of our manifests: each is taken, with every field known', async () => {
    const options = { clusterId: 'cluster-1', network: 'flat-network', trustDomain: 'cluster.local', image: 'isthmus:test' };
    const manifests: readonly KubeObject[] = [
      ...istiodManifests(options),
      ...cniManifests(options),
      ...ztunnelManifests(options),
      ...peeringManifests({ ...options, namespace: 'istio-system', createNamespaces: true }),
    ];
    for (const manifest of manifests) {
      await real.client.request({
        method: 'PATCH',
        path: `${objectPath(resourceTypeOf(manifest), manifest.metadata)}?dryRun=All&fieldValidation=Strict&fieldManager=test`,
        contentType: 'application/apply-patch+yaml',
        body: manifest,
      });
    }
  });

  for (const [name, given] of Object.entries(objects)) {
    it(`of ${name} is the lab's, too`, async () => {
      assert.deepEqual(await verdict(lab, given), await verdict(real, given));
    });
  }
});

async function verdict({ client }: TestCluster, given: TestObject): Promise<Verdict> {
  const path = `${collectionPath(resourceTypeOf(given), given.metadata.namespace)}?dryRun=All`;
  try {
    await client.request({ method: 'POST', path, body: given });
    return { code: 201, causes: [] };
  } catch (error) {
    if (!(error instanceof KubeApiError)) throw error;
    const { details } = error.status;
    return { code: error.httpCode, causes: (details?.causes ?? []).map(({ reason = '', field = '' }) => `${reason} ${field}`).sort() };
  }
}
