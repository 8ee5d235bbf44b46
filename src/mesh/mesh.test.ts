import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import {
  LoadBalancing_HealthPolicy,
  LoadBalancing_Mode,
  LoadBalancing_Scope,
  NetworkMode,
  TunnelProtocol,
  WorkloadStatus,
} from '../api/gen/istio/workload_pb.js';
import { addressText } from './addresses.ts';
import { testMesh, type TestObject } from './testing.ts';

type Fields = Record<string, unknown>;

const root: TestObject = { kind: 'Namespace', metadata: { name: 'istio-system', labels: { 'topology.istio.io/network': 'flat' } } };

function pod(
  name: string,
  extra: { ip?: string; ready?: boolean; labels?: Record<string, string>; metadata?: Fields; spec?: Fields; status?: Fields } = {},
): TestObject {
  const { ip = '10.10.0.9', ready = true, labels = { app: 'web' } } = extra;
  return {
    kind: 'Pod',
    metadata: { name, namespace: 'demo', uid: `uid-${name}`, labels, ...extra.metadata },
    spec: {
      nodeName: 'n1',
      serviceAccountName: 'sa',
      containers: [{ name: 'c', ports: [{ name: 'web', containerPort: 8080 }] }],
      ...extra.spec,
    },
    status: { phase: 'Running', podIPs: [{ ip }], conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }], ...extra.status },
  };
}

function service(name: string, spec: Fields = {}, metadata: Fields = {}): TestObject {
  const ports = [{ name: 'http', port: 80, targetPort: 'web', protocol: 'TCP' }];
  return {
    kind: 'Service',
    metadata: { name, namespace: 'demo', creationTimestamp: '2026-01-01T00:00:00Z', ...metadata },
    spec: { clusterIPs: ['10.255.10.7'], selector: { app: 'web' }, ports, ...spec },
  };
}

const globalLabels = { 'solo.io/parent-service': 'global-service', 'solo.io/parent-service-namespace': 'demo' };

/** What peering writes for a global service, and for a pod of cluster-2. */
function globalEntry(
  namespace = 'istio-system',
  ports: readonly Fields[] = [{ name: 'http', number: 5000, protocol: 'HTTP' }],
): TestObject {
  return {
    kind: 'ServiceEntry',
    metadata: { name: 'autogen.demo.global-service', namespace, labels: globalLabels },
    spec: {
      hosts: ['global-service.demo.mesh.internal'],
      resolution: 'STATIC',
      ports,
      workloadSelector: { labels: { 'isthmus.dev/federated-service': 'eacd81ea03fd' } },
    },
    status: { addresses: [{ host: 'global-service.demo.mesh.internal', value: '240.240.0.1' }] },
  };
}

function peerEntry(namespace = 'istio-system', spec: Fields = { ports: { http: 5000 } }): TestObject {
  return {
    kind: 'WorkloadEntry',
    metadata: {
      name: 'autogenflat.cluster-2.demo.global-service-x.eacd81ea03fd',
      namespace,
      labels: { ...globalLabels, 'isthmus.dev/federated-service': 'eacd81ea03fd', 'topology.istio.io/cluster': 'cluster-2', app: 'web' },
      annotations: { 'ambient.istio.io/redirection': 'enabled' },
    },
    spec: { address: '10.20.0.2', network: 'flat', serviceAccount: 'default', ...spec },
  };
}

const globalService = (metadata: Fields = {}): TestObject =>
  service(
    'global-service',
    { ports: [{ name: 'http', port: 5000, targetPort: 'web', protocol: 'TCP' }] },
    { labels: { 'solo.io/service-scope': 'global' }, ...metadata },
  );

const globalKey = 'demo/global-service.demo.mesh.internal';
const peerUid = 'cluster-1/networking.istio.io/WorkloadEntry/istio-system/autogenflat.cluster-2.demo.global-service-x.eacd81ea03fd';

describe('global services', () => {
  it("give a peer's pod the namespace, identity and cluster that are its own", () => {
    const { mesh, apply } = testMesh();
    apply(root, globalEntry(), peerEntry());
    const workload = mesh.workloads.get(peerUid);
    assert.ok(workload);
    assert.equal(workload.namespace, 'demo');
    assert.equal(workload.serviceAccount, 'default');
    assert.equal(workload.clusterId, 'cluster-2');
    assert.equal(workload.name, 'autogenflat.cluster-2.demo.global-service-x.eacd81ea03fd');
    assert.equal(workload.workloadName, workload.name);
    assert.equal(workload.tunnelProtocol, TunnelProtocol.HBONE);
    assert.deepEqual(
      workload.services[globalKey]?.ports.map(({ servicePort, targetPort }) => [servicePort, targetPort]),
      [[5000, 5000]],
    );
    const { service } = mesh.services.get(globalKey) ?? {};
    assert.equal(service?.namespace, 'demo');
    assert.deepEqual(
      service.addresses.map(({ network, address }) => `${network}/${addressText(address)}`),
      ['flat/240.240.0.1'],
    );
  });

  it('do not let a label outside the root namespace grant an identity', () => {
    const { mesh, apply } = testMesh();
    apply(root, globalEntry('evil'), peerEntry('evil'), globalService(), pod('web-1'));
    const workload = mesh.workloads.get(peerUid.replace('istio-system', 'evil'));
    assert.equal(workload?.namespace, 'evil');
    assert.equal(workload.clusterId, 'cluster-1');
    assert.equal(mesh.services.get(globalKey), undefined);
    assert.deepEqual(Object.keys(mesh.workloads.get('cluster-1//Pod/demo/web-1')?.services ?? {}), [
      'demo/global-service.demo.svc.cluster.local',
    ]);
  });

  it('take in the local pods of the Service, to the ports that it has here', () => {
    const { mesh, apply } = testMesh();
    const ports = [
      { name: 'http', number: 5000 },
      { name: 'only-there', number: 6000 },
    ];
    apply(root, globalEntry('istio-system', ports), globalService(), service('local-service'), pod('web-1'));
    const { services = {} } = mesh.workloads.get('cluster-1//Pod/demo/web-1') ?? {};
    assert.deepEqual(Object.keys(services), [
      globalKey,
      'demo/global-service.demo.svc.cluster.local',
      'demo/local-service.demo.svc.cluster.local',
    ]);
    assert.deepEqual(
      services[globalKey]?.ports.map(({ servicePort, targetPort }) => [servicePort, targetPort]),
      [[5000, 8080]],
    );
  });

  it('leave out local pods as long as the scope label is not on the Service or its namespace', () => {
    const { mesh, apply } = testMesh();
    const has = (): boolean => globalKey in (mesh.workloads.get('cluster-1//Pod/demo/web-1')?.services ?? {});
    apply(root, globalEntry(), globalService({ labels: {} }), pod('web-1'));
    assert.equal(has(), false);
    apply({ kind: 'Namespace', metadata: { name: 'demo', labels: { 'solo.io/service-scope': 'global' } } });
    assert.equal(has(), true);
    apply(globalService({ labels: { 'solo.io/service-scope': 'cluster' } }));
    assert.equal(has(), false);
  });

  it("keep a peer's pod out of local Services, and out of ports that the peer does not name", () => {
    const { mesh, apply } = testMesh();
    const two = [
      { name: 'http', number: 5000 },
      { name: 'other', number: 6000 },
    ];
    apply(root, globalEntry('istio-system', two), peerEntry(), {
      ...service('in-root'),
      metadata: { name: 'in-root', namespace: 'istio-system' },
    });
    const { services = {} } = mesh.workloads.get(peerUid) ?? {};
    assert.deepEqual(Object.keys(services), [globalKey]);
    assert.deepEqual(
      services[globalKey]?.ports.map(({ servicePort }) => servicePort),
      [5000],
    );
    // No port of the service's own to fall back to: else proxies would take endpoints that do not list it.
    assert.deepEqual(
      mesh.services.get(globalKey)?.service.ports.map(({ servicePort, targetPort }) => [servicePort, targetPort]),
      [
        [5000, 0],
        [6000, 0],
      ],
    );
  });
});

describe('pods', () => {
  const workloadOf = (...objects: TestObject[]) => {
    const { mesh, apply } = testMesh();
    apply(root, ...objects);
    return mesh.workloads.get('cluster-1//Pod/demo/p');
  };
  it('are there from their address on, and until they end', () => {
    assert.equal(workloadOf(pod('p', { status: { phase: 'Pending' } }))?.status, WorkloadStatus.HEALTHY);
    assert.equal(workloadOf(pod('p', { ready: false }))?.status, WorkloadStatus.UNHEALTHY);
    assert.equal(workloadOf(pod('p', { metadata: { deletionTimestamp: 'now' } }))?.status, WorkloadStatus.UNHEALTHY);
    for (const status of [{ podIPs: [] }, { podIPs: undefined }, { podIPs: [{ ip: 'x' }] }, { phase: 'Succeeded' }, { phase: 'Failed' }]) {
      assert.equal(workloadOf(pod('p', { status })), undefined, JSON.stringify(status));
    }
  });

  it('are named after what runs them', () => {
    const owned = (kind: string, name: string, labels: Record<string, string> = {}) =>
      workloadOf(pod('p', { labels, metadata: { generateName: 'p-', ownerReferences: [{ kind, name, controller: true }] } }));
    assert.equal(owned('ReplicaSet', 'web-5d8', { 'pod-template-hash': '5d8' })?.workloadName, 'web');
    assert.equal(owned('Job', 'report-29012345')?.workloadName, 'report');
    assert.equal(owned('StatefulSet', 'db')?.workloadName, 'db');
    assert.equal(owned('StatefulSet', 'db', { 'service.istio.io/workload-name': 'x' })?.workloadName, 'x');
    assert.equal(workloadOf(pod('p'))?.workloadName, 'p');
    assert.equal(owned('StatefulSet', 'db')?.canonicalName, 'db');
    assert.equal(owned('StatefulSet', 'db', { app: 'a', version: 'v2' })?.canonicalRevision, 'v2');
  });

  it('resolve named target ports for themselves, sidecars included', () => {
    const services = (spec: Fields) => workloadOf(service('web'), pod('p', { spec }))?.services['demo/web.demo.svc.cluster.local'];
    assert.equal(services({})?.ports[0]?.targetPort, 8080);
    assert.deepEqual(services({ containers: [{ name: 'c' }] })?.ports, []);
    const sidecar = { name: 's', restartPolicy: 'Always', ports: [{ name: 'web', containerPort: 81 }] };
    assert.equal(services({ containers: [{ name: 'c' }], initContainers: [sidecar] })?.ports[0]?.targetPort, 81);
  });

  it('belong to a Service without selector when its slice names them, uid included', () => {
    const slice = (uid: string): TestObject => ({
      kind: 'EndpointSlice',
      metadata: { name: 's', namespace: 'demo', labels: { 'kubernetes.io/service-name': 'bare' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.10.0.9'], targetRef: { kind: 'Pod', name: 'p', namespace: 'demo', uid } }],
      ports: [{ name: 'http', port: 8080 }],
    });
    const bare = service('bare', { selector: undefined });
    assert.deepEqual(Object.keys(workloadOf(bare, pod('p'), slice('uid-p'))?.services ?? {}), ['demo/bare.demo.svc.cluster.local']);
    assert.deepEqual(workloadOf(bare, pod('p'), slice('another'))?.services, {});
  });

  it('say where they run and whether the host owns their address', () => {
    const node: TestObject = { kind: 'Node', metadata: { name: 'n1', labels: { 'topology.kubernetes.io/zone': 'z' } } };
    const workload = workloadOf(node, pod('p', { spec: { hostNetwork: true } }));
    assert.equal(workload?.locality?.zone, 'z');
    assert.equal(workload.networkMode, NetworkMode.HOST_NETWORK);
    assert.equal(workloadOf(pod('p'))?.locality, undefined);
  });

  it('speak native HBONE by label', () => {
    const workload = workloadOf(pod('p', { labels: { 'networking.istio.io/tunnel': 'other,http' } }));
    assert.equal(workload?.nativeTunnel, true);
    assert.equal(workload.tunnelProtocol, TunnelProtocol.HBONE);
    assert.equal(workloadOf(pod('p'))?.tunnelProtocol, TunnelProtocol.NONE);
  });
});

describe('services', () => {
  const serviceOf = (object: TestObject, ...others: TestObject[]) => {
    const { mesh, apply } = testMesh();
    apply(root, object, ...others);
    return [...mesh.services.values()].find(({ objectName }) => objectName === object.metadata.name)?.service;
  };
  it('name the endpoints that come first', () => {
    const { REGION, ZONE, NETWORK, NODE, CLUSTER } = LoadBalancing_Scope;
    const scopes = (spec: Fields, metadata: Fields = {}, ...others: TestObject[]) =>
      serviceOf(service('s', spec, metadata), ...others)?.loadBalancing?.routingPreference;
    assert.deepEqual(scopes({ trafficDistribution: 'PreferClose' }), [NETWORK, REGION, ZONE]);
    const annotations = { 'networking.istio.io/traffic-distribution': 'preferCLUSTER' };
    assert.deepEqual(scopes({}, { annotations }), [NETWORK, CLUSTER]);
    assert.deepEqual(scopes({}, {}, { kind: 'Namespace', metadata: { name: 'demo', annotations } }), [NETWORK, CLUSTER]);
    assert.equal(scopes({ trafficDistribution: 'Any' }, { annotations }), undefined);
    assert.equal(scopes({ trafficDistribution: 'Nonsense' }), undefined);
    const local = serviceOf(
      service('s', { internalTrafficPolicy: 'Local', trafficDistribution: 'PreferClose', publishNotReadyAddresses: true }),
    );
    assert.equal(local?.loadBalancing?.mode, LoadBalancing_Mode.STRICT);
    assert.deepEqual(local.loadBalancing.routingPreference, [NODE]);
    assert.equal(local.loadBalancing.healthPolicy, LoadBalancing_HealthPolicy.ALLOW_ALL);
  });

  it('are not made of ExternalName, and have no address when headless', () => {
    assert.equal(serviceOf(service('s', { type: 'ExternalName', externalName: 'x' })), undefined);
    assert.deepEqual(serviceOf(service('s', { clusterIPs: ['None'] }))?.addresses, []);
  });

  const entry = (name: string, created: string, spec: Fields = {}, namespace = 'demo'): TestObject => ({
    kind: 'ServiceEntry',
    metadata: { name, namespace, creationTimestamp: created },
    spec: { hosts: ['s.demo.svc.cluster.local'], resolution: 'STATIC', ports: [{ name: 'http', number: 80, targetPort: 8080 }], ...spec },
  });

  it('have one owner for a hostname: a Service, else the oldest entry', () => {
    const { mesh, apply, remove } = testMesh();
    const owner = () => mesh.services.get('demo/s.demo.svc.cluster.local')?.objectName;
    const endpoints = [{ address: '192.0.2.1' }];
    apply(root, entry('younger', '2026-01-02T00:00:00Z', { endpoints }), entry('older', '2026-01-01T00:00:00Z', { endpoints }));
    assert.equal(owner(), 'older');
    assert.deepEqual(
      [...mesh.workloads.values()].map(({ name }) => name),
      ['older'],
    );
    apply(service('s', {}, { creationTimestamp: '2026-02-01T00:00:00Z' }));
    assert.equal(owner(), 's');
    assert.equal(mesh.workloads.size, 0);
    remove(service('s'));
    remove(entry('older', ''));
    assert.equal(owner(), 'younger');
    assert.deepEqual(
      [...mesh.workloads.values()].map(({ name }) => name),
      ['younger'],
    );
  });

  it('of several namespaces with one hostname are all there, one of them canonical', () => {
    const { mesh, apply } = testMesh();
    apply(root, entry('e', '2025-01-01T00:00:00Z', {}, 'elsewhere'), service('s'));
    assert.equal(mesh.services.get('elsewhere/s.demo.svc.cluster.local')?.service.canonical, false);
    assert.equal(mesh.services.get('demo/s.demo.svc.cluster.local')?.service.canonical, true);
  });

  it('are not made of an entry with an address that is none', () => {
    const { mesh, apply, failures } = testMesh();
    apply(root, entry('e', '', { addresses: ['192.0.2.1', 'nonsense'] }));
    assert.equal(mesh.services.size, 0);
    assert.match(String(failures[0]), /"nonsense" is no address/);
  });

  it('have ranges as VIPs, masked', () => {
    const [range, single] = serviceOf(entry('e', '', { addresses: ['192.0.2.77/28', '2001:db8::1/128'] }))?.addresses ?? [];
    assert.ok(range && single);
    assert.deepEqual([addressText(range.address), range.length], ['192.0.2.64', 28]);
    assert.deepEqual([addressText(single.address), single.length], ['2001:db8::1', undefined]);
  });

  it('with resolution NONE pass through', () => {
    const made = serviceOf(entry('e', '', { resolution: 'NONE' }));
    assert.equal(made?.loadBalancing?.mode, LoadBalancing_Mode.PASSTHROUGH);
  });

  it('with a DNS name are their own endpoint', () => {
    const { mesh, apply } = testMesh();
    apply(root, entry('e', '', { hosts: ['example.com'], resolution: 'DNS' }));
    const [workload] = mesh.workloads.values();
    assert.equal(workload?.hostname, 'example.com');
    assert.equal(workload.uid, 'cluster-1/networking.istio.io/ServiceEntry/demo/e/example.com');
    assert.equal(workload.services['demo/example.com']?.ports[0]?.targetPort, 8080);
  });
});

const someObjects: readonly TestObject[] = [
  root,
  { ...root, metadata: { name: 'istio-system', labels: { 'topology.istio.io/network': 'other' } } },
  { kind: 'Namespace', metadata: { name: 'demo', labels: { 'solo.io/service-scope': 'global' } } },
  { kind: 'Node', metadata: { name: 'n1', labels: { 'topology.kubernetes.io/region': 'r' } } },
  pod('a'),
  pod('a', { ready: false }),
  pod('b', { labels: { app: 'web', tier: 'x' }, ip: '10.10.0.10' }),
  service('s'),
  service('s', { selector: { app: 'web', tier: 'x' } }),
  service('s', { selector: undefined }),
  globalService(),
  globalService({ labels: {} }),
  globalEntry(),
  globalEntry('demo'),
  peerEntry(),
  peerEntry('demo'),
  {
    kind: 'EndpointSlice',
    metadata: { name: 'sl', namespace: 'demo', labels: { 'kubernetes.io/service-name': 's' } },
    addressType: 'IPv4',
    endpoints: [
      { addresses: ['192.0.2.2'] },
      { addresses: ['10.10.0.9'], targetRef: { kind: 'Pod', name: 'a', namespace: 'demo', uid: 'uid-a' } },
    ],
    ports: [{ name: 'http', port: 6443 }],
  },
  { kind: 'PeerAuthentication', metadata: { name: 'mesh', namespace: 'istio-system' }, spec: { mtls: { mode: 'STRICT' } } },
  {
    kind: 'PeerAuthentication',
    metadata: { name: 'web', namespace: 'demo' },
    spec: { selector: { matchLabels: { app: 'web' } }, portLevelMtls: { '80': { mode: 'PERMISSIVE' } } },
  },
  { kind: 'AuthorizationPolicy', metadata: { name: 'p', namespace: 'demo' }, spec: { selector: { matchLabels: { app: 'web' } } } },
  { kind: 'AuthorizationPolicy', metadata: { name: 'p', namespace: 'istio-system' }, spec: { selector: { matchLabels: { tier: 'x' } } } },
];

describe('the mesh', () => {
  it('is the same whatever the order and the way in which its objects came', () => {
    const step = fc.record({ object: fc.constantFrom(...someObjects), remove: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const lived = testMesh();
        const now = new Map<string, TestObject>();
        for (const { object, remove } of steps) {
          const key = `${object.kind}/${object.metadata.namespace ?? ''}/${object.metadata.name}`;
          if (remove) {
            lived.remove(object);
            now.delete(key);
          } else {
            lived.apply(object);
            now.set(key, object);
          }
        }
        const fresh = testMesh();
        fresh.apply(...[...now.values()].reverse());
        for (const part of ['workloads', 'services', 'authorizations'] as const) {
          const sorted = ({ mesh }: typeof lived) => [...mesh[part].entries()].sort(([a], [b]) => (a < b ? -1 : 1));
          assert.deepEqual(sorted(lived), sorted(fresh));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('re-derives only what a change concerns', () => {
    const { mesh, apply, graph } = testMesh();
    const pods = Array.from({ length: 500 }, (_, n) => pod(`p${n}`, { ip: `10.10.1.${n % 250}`, labels: { app: `a${n % 50}` } }));
    apply(root, ...pods, service('s', { selector: { app: 'a1' } }));
    let changed = 0;
    mesh.workloads.subscribe((changes) => (changed += changes.length));
    changed = 0;
    apply(service('s', { selector: { app: 'a2' } }));
    assert.equal(changed, 20, 'ten pods left the service, ten joined it');
    changed = 0;
    graph.batch(() => undefined);
    apply(service('s', { selector: { app: 'a2' } }));
    assert.equal(changed, 0);
  });
});
