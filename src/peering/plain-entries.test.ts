import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { create } from '@bufbuild/protobuf';

import { FederatedServiceSchema, type FederatedService } from '../api/gen/isthmus/peering_pb.js';
import { PortListSchema, WorkloadSchema, type Workload } from '../api/gen/istio/workload_pb.js';
import type { ServiceEntry, WorkloadEntry } from '../api/kubernetes.ts';
import { source } from '../collections/index.ts';
import { matches } from '../mesh/index.ts';
import { ClusterObjects, namespace, node, pod, service, type PodOptions } from './cluster.fixture.ts';
import { deriveEntries, peerKey, type DesiredEntries } from './desired-entries.ts';
import type { PeerSite } from './entries.ts';
import { entryPortName } from './entry-names.ts';
import { deriveExports } from './exports.ts';

/** A cluster with entries in its services' namespaces, and what peers say to it. */
class Plain {
  readonly objects = new ClusterObjects();
  readonly entries: DesiredEntries;
  readonly #peers = source<PeerSite>(this.objects.graph, { name: 'peers' });
  readonly #services = source<FederatedService>(this.objects.graph, { name: 'peerServices' });
  readonly #workloads = source<Workload>(this.objects.graph, { name: 'peerWorkloads' });

  constructor(serviceRanges: readonly string[] = []) {
    const site = { clusterId: 'cluster-1', trustDomain: 'cluster.local', clusterDomain: 'cluster.local', rootNamespace: 'istio-system' };
    const options = { ...site, placement: 'serviceNamespace', serviceRanges } as const;
    const exports = deriveExports(this.objects.graph, this.objects, options);
    const peers = { peers: this.#peers, services: this.#services, workloads: this.#workloads };
    this.entries = deriveEntries(this.objects.graph, exports, peers, options);
    this.objects.put(namespace('istio-system', { 'topology.istio.io/network': 'flat-network' }), namespace('demo'));
  }

  peer(clusterId: string, changed: Partial<PeerSite> = {}): void {
    const at = { network: 'flat-network', region: undefined, podRanges: [], linked: '2026-11-01T00:00:00Z' };
    this.#peers.set(clusterId, { clusterId, ...at, ...changed });
  }

  exports(clusterId: string, name: string, ports: readonly number[]): void {
    const hostname = `${name}.demo.mesh.internal`;
    const of = {
      name,
      namespace: 'demo',
      hostname,
      scope: 'global',
      ports: ports.map((number) => ({ name: 'http', number, protocol: 'HTTP' })),
    };
    this.#services.set(peerKey(clusterId, `demo/${name}`), create(FederatedServiceSchema, of));
  }

  pod(
    clusterId: string,
    name: string,
    address: readonly number[],
    services: Readonly<Record<string, Readonly<Record<number, number>>>>,
    canonicalName = '',
  ): void {
    const uid = `${clusterId}//Pod/demo/${name}`;
    const lists = Object.entries(services).map(([serving, ports]) => {
      const list = Object.entries(ports).map(([servicePort, targetPort]) => ({ servicePort: Number(servicePort), targetPort }));
      return [`demo/${serving}.demo.mesh.internal`, create(PortListSchema, { ports: list })] as const;
    });
    const of = { uid, name, namespace: 'demo', clusterId, network: 'flat-network', serviceAccount: 'default', canonicalName };
    const workload = create(WorkloadSchema, { ...of, addresses: [Uint8Array.from(address)], services: Object.fromEntries(lists) });
    this.#workloads.set(peerKey(clusterId, uid), workload);
  }

  serviceEntry(name: string): ServiceEntry | undefined {
    return this.entries.serviceEntries.get(`demo/autogen.demo.${name}`);
  }

  refusal(clusterId: string, name: string): string | undefined {
    return this.entries.refusals.get(peerKey(clusterId, `${clusterId}//Pod/demo/${name}`))?.code;
  }

  /** Where the connections to a port of a service go, as an unmodified istiod has it: address and port. */
  destinations(name: string, number: number): string[] {
    const entry = this.serviceEntry(name);
    const port = entry?.spec.ports?.find((one) => one.number === number);
    const selector = entry?.spec.workloadSelector?.labels ?? {};
    if (port === undefined) return [];
    const remote = [...this.entries.workloadEntries.values()].filter(
      (one) => one.spec.address !== undefined && matches(selector, one.metadata.labels ?? {}),
    );
    const local = [...this.objects.pods.values()].filter(({ metadata }) => matches(selector, metadata.labels ?? {}));
    return [...new Set([...remote.map((one) => remoteTarget(one, port)), ...local.map((one) => localTarget(one, port))])].sort();
  }
}

type Port = NonNullable<ServiceEntry['spec']['ports']>[number];

/** An entry's own port of that name counts, else the ServiceEntry's target port, else its number: an entry always has the port. */
function remoteTarget({ spec }: WorkloadEntry, { name, targetPort, number }: Port): string {
  return `${spec.address ?? ''}:${spec.ports?.[name] ?? targetPort ?? number}`;
}

/** A container's port of that name counts, else likewise. */
function localTarget(one: ReturnType<typeof pod>, { name, targetPort, number }: Port): string {
  const named = one.spec?.containers.flatMap(({ ports = [] }) => ports).find((port) => port.name === name);
  return `${one.status?.podIP ?? ''}:${named?.containerPort ?? targetPort ?? number}`;
}

const local = (name: string, ip: string, options: Partial<PodOptions> = {}) => pod(name, { ip, labels: { app: 'web' }, ...options });
const web = (spec: NonNullable<Parameters<typeof service>[1]> = {}) =>
  service('web', { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }], ...spec });

suite('what an unmodified istiod makes of the entries', () => {
  test('target ports differ between clusters, and a container port of the same name as the Service port does not count', () => {
    const plain = new Plain();
    plain.objects.put(web(), local('a', '10.10.0.1', { ports: [{ name: 'http', containerPort: 1234 }] }));
    plain.peer('cluster-2');
    plain.exports('cluster-2', 'web', [80]);
    plain.pod('cluster-2', 'b', [10, 20, 0, 1], { web: { 80: 9090 } });
    assert.deepEqual(plain.destinations('web', 80), ['10.10.0.1:8080', '10.20.0.1:9090']);
  });

  test('a port that is renamed changes no entry', () => {
    const plain = new Plain();
    plain.objects.put(web(), local('a', '10.10.0.1'));
    plain.peer('cluster-2');
    plain.exports('cluster-2', 'web', [80]);
    plain.pod('cluster-2', 'b', [10, 20, 0, 1], { web: { 80: 9090 } });
    const changes: string[] = [];
    const stops = [plain.entries.serviceEntries, plain.entries.workloadEntries].map((entries) => {
      let isFirst = true;
      return entries.subscribe((changed) => {
        if (!isFirst) for (const { key } of changed) changes.push(key);
        isFirst = false;
      });
    });
    plain.objects.put(web({ ports: [{ name: 'http-web', port: 80, targetPort: 8080 }] }));
    assert.deepEqual(changes, []);
    for (const stop of stops) stop();
    assert.ok(entryPortName('demo', 'web', 1).length > 15, 'no container port is called so');
    assert.ok(entryPortName('n'.repeat(63), 's'.repeat(63), 65_535).length <= 62);
  });

  test('a named target port is that of the ready pods; where they do not agree, most of them count and it is told', () => {
    const plain = new Plain();
    plain.objects.put(web({ ports: [{ name: 'http', port: 80, targetPort: 'web' }] }));
    const on = (name: string, last: number, containerPort: number, ready = true): void =>
      plain.objects.put(local(name, `10.10.0.${last}`, { ready, ports: [{ name: 'web', containerPort }] }));
    on('a', 1, 8080, false);
    assert.deepEqual(
      plain.serviceEntry('web')?.spec.ports?.map(({ targetPort }) => targetPort),
      [8080],
    );
    on('b', 2, 9090);
    assert.deepEqual(
      plain.serviceEntry('web')?.spec.ports?.map(({ targetPort }) => targetPort),
      [9090],
    );
    assert.equal(plain.entries.findings.get('demo/web'), undefined);
    on('c', 3, 7070);
    on('d', 4, 7070);
    assert.deepEqual(
      plain.serviceEntry('web')?.spec.ports?.map(({ targetPort }) => targetPort),
      [7070],
    );
    assert.deepEqual(plain.entries.findings.get('demo/web')?.findings, [
      {
        code: 'PEERING_TARGET_PORTS',
        message: 'port 80 goes to the port named web, which is 7070 or 9090 in its pods: the global name reaches all of them on 7070',
      },
    ]);
  });

  test('a named target port that no pod has is not a port of the service', () => {
    const plain = new Plain();
    plain.objects.put(
      web({
        ports: [
          { name: 'http', port: 80, targetPort: 8080 },
          { name: 'other', port: 81, targetPort: 'nowhere' },
        ],
      }),
      local('a', '10.10.0.1'),
    );
    assert.deepEqual(plain.destinations('web', 80), ['10.10.0.1:8080']);
    assert.deepEqual(plain.destinations('web', 81), []);
    assert.equal(plain.entries.findings.get('demo/web')?.findings[0]?.code, 'PEERING_TARGET_PORTS');
  });

  test('no endpoint gets connections on a port that it does not have', () => {
    const plain = new Plain();
    plain.objects.put(web(), local('a', '10.10.0.1'));
    plain.peer('cluster-2');
    plain.exports('cluster-2', 'web', [80, 90]);
    plain.pod('cluster-2', 'b', [10, 20, 0, 1], { web: { 80: 9080, 90: 9090 } });
    plain.pod('cluster-2', 'lacks-80', [10, 20, 0, 2], { web: { 90: 9090 } });
    plain.peer('cluster-3');
    plain.exports('cluster-3', 'web', [90]);
    plain.pod('cluster-3', 'c', [10, 30, 0, 1], { web: { 90: 9090 } });
    assert.deepEqual(plain.destinations('web', 80), ['10.10.0.1:8080', '10.20.0.1:9080']);
    assert.deepEqual(plain.destinations('web', 90), []);
    assert.deepEqual(plain.entries.globals.get('demo/web')?.conflicts, [
      'cluster-3 has only port 90, so its endpoints are left out',
      'port 90 is not in this cluster, so the global name lacks it',
    ]);
  });

  test('two Services that select the same pods do not get the ports of each other', () => {
    const plain = new Plain();
    const admin = service('admin', { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 9000 }] });
    plain.objects.put(web(), admin, local('a', '10.10.0.1'));
    plain.peer('cluster-2');
    for (const name of ['web', 'admin']) plain.exports('cluster-2', name, [80]);
    plain.pod('cluster-2', 'b', [10, 20, 0, 1], { web: { 80: 8081 }, admin: { 80: 9001 } });
    assert.deepEqual(plain.destinations('web', 80), ['10.10.0.1:8080', '10.20.0.1:8081']);
    assert.deepEqual(plain.destinations('admin', 80), ['10.10.0.1:9000', '10.20.0.1:9001']);
  });

  test('a pod is no endpoint of another Service because of the labels that its entry has to carry', () => {
    const plain = new Plain();
    const narrow = service('narrow', { selector: { app: 'web', tier: 'front' }, ports: [{ name: 'http', port: 80, targetPort: 80 }] });
    plain.objects.put(web(), narrow, local('a', '10.10.0.1', { labels: { app: 'web', tier: 'front' } }));
    plain.peer('cluster-2');
    for (const name of ['web', 'narrow']) plain.exports('cluster-2', name, [80]);
    plain.pod('cluster-2', 'both', [10, 20, 0, 1], { web: { 80: 81 }, narrow: { 80: 82 } });
    plain.pod('cluster-2', 'narrow-alone', [10, 20, 0, 2], { narrow: { 80: 82 } });
    assert.deepEqual(plain.destinations('web', 80), ['10.10.0.1:8080', '10.20.0.1:81']);
    assert.deepEqual(plain.destinations('narrow', 80), ['10.10.0.1:80', '10.20.0.1:82']);
    assert.equal(plain.refusal('cluster-2', 'narrow-alone'), 'PEERING_SELECTOR');
  });

  test('nor because of the canonical name that its cluster gives it, be its service here or not', () => {
    const plain = new Plain();
    const byName = service('admin', { selector: { 'service.istio.io/canonical-name': 'admin' }, ports: [{ name: 'http', port: 80 }] });
    plain.objects.put(web(), byName, local('a', '10.10.0.1'));
    plain.peer('cluster-2');
    for (const name of ['web', 'elsewhere', 'admin']) plain.exports('cluster-2', name, [80]);
    plain.pod('cluster-2', 'b', [10, 20, 0, 1], { web: { 80: 81 } }, 'admin');
    plain.pod('cluster-2', 'c', [10, 20, 0, 2], { elsewhere: { 80: 82 } }, 'admin');
    plain.pod('cluster-2', 'd', [10, 20, 0, 3], { admin: { 80: 83 } }, 'admin');
    plain.pod('cluster-2', 'e', [10, 20, 0, 4], { web: { 80: 84 } }, 'web');
    assert.deepEqual(plain.destinations('admin', 80), ['10.20.0.3:83']);
    assert.deepEqual(plain.destinations('web', 80), ['10.10.0.1:8080', '10.20.0.4:84']);
    for (const name of ['b', 'c']) assert.equal(plain.refusal('cluster-2', name), 'PEERING_SELECTOR');
  });

  test('a selector by a label that entries cannot carry leaves the local pods out, and is told', () => {
    const plain = new Plain();
    plain.objects.put(web({ selector: { app: 'web', 'topology.istio.io/cluster': 'cluster-1' } }));
    const selector = plain.serviceEntry('web')?.spec.workloadSelector?.labels ?? {};
    assert.deepEqual(Object.keys(selector), ['isthmus.dev/federated-service']);
    assert.equal(plain.entries.findings.get('demo/web')?.findings[0]?.code, 'PEERING_SELECTOR');
  });

  test('headless, ExternalName, UDP and without selector are refused as everywhere', () => {
    const plain = new Plain();
    plain.objects.put(
      web({ clusterIP: 'None' }),
      service('udp', { ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] }),
      service('nobody', { selector: {} }),
      service('mixed', {
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP' },
          { name: 'http', port: 80 },
        ],
      }),
    );
    assert.deepEqual(
      [...plain.entries.serviceEntries.entries()].map(([key]) => key),
      ['demo/autogen.demo.mixed'],
    );
    assert.deepEqual(
      plain.serviceEntry('mixed')?.spec.ports?.map(({ number }) => number),
      [80],
    );
  });
});

suite('an address is not that of its peer', () => {
  const plain = (serviceRanges: readonly string[] = []): Plain => {
    const one = new Plain(serviceRanges);
    for (const clusterId of ['cluster-2', 'cluster-3', 'cluster-4']) one.exports(clusterId, 'web', [80]);
    one.peer('cluster-2', { podRanges: ['10.20.0.0/16'] });
    one.peer('cluster-3', { linked: '2026-11-02T00:00:00Z' });
    one.peer('cluster-4', { linked: '2026-11-03T00:00:00Z' });
    return one;
  };
  const claims = (one: Plain, clusterId: string, ...address: number[]): string | undefined => {
    one.pod(clusterId, 'x', address, { web: { 80: 80 } });
    const entries = [...one.entries.workloadEntries.entries()].filter(([key]) => key.includes(`autogenflat.${clusterId}.`));
    assert.equal(entries.length, one.refusal(clusterId, 'x') === undefined ? 1 : 0);
    return one.refusal(clusterId, 'x');
  };

  test('when it is that of a Service or a node here, or in our service range', () => {
    const one = plain(['10.255.10.0/24']);
    const at = { type: 'InternalIP', address: '172.18.0.2' };
    one.objects.put(web({ clusterIP: '10.99.0.7' }), { ...node('n', '10.10.0.0/16'), status: { addresses: [at] } });
    assert.equal(claims(one, 'cluster-3', 10, 99, 0, 7), 'PEERING_ADDRESS_TAKEN');
    assert.equal(claims(one, 'cluster-3', 172, 18, 0, 2), 'PEERING_ADDRESS_TAKEN');
    assert.equal(claims(one, 'cluster-3', 10, 255, 10, 77), 'PEERING_ADDRESS_TAKEN');
    assert.equal(claims(one, 'cluster-3', 10, 99, 0, 8), undefined);
    one.objects.put(web({ clusterIP: '10.99.0.8' }));
    assert.equal(one.refusal('cluster-3', 'x'), 'PEERING_ADDRESS_TAKEN');
  });

  test('when another peer declares it', () => {
    const one = plain();
    assert.equal(claims(one, 'cluster-2', 10, 20, 0, 1), undefined);
    assert.equal(claims(one, 'cluster-3', 10, 20, 0, 2), 'PEERING_ADDRESS_TAKEN');
    one.peer('cluster-2', { podRanges: ['10.20.0.0/16'], network: 'another' });
    assert.equal(one.refusal('cluster-3', 'x'), undefined);
  });

  test('when a workload of a peer that was linked earlier has it', () => {
    const one = plain();
    assert.equal(claims(one, 'cluster-4', 10, 77, 0, 1), undefined);
    assert.equal(claims(one, 'cluster-3', 10, 77, 0, 1), undefined);
    assert.equal(one.refusal('cluster-4', 'x'), 'PEERING_ADDRESS_TAKEN');
    one.pod('cluster-3', 'x', [10, 77, 0, 2], { web: { 80: 80 } });
    assert.equal(one.refusal('cluster-4', 'x'), undefined);
  });
});
