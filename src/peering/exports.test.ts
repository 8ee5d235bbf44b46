import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { WorkloadStatus } from '../api/gen/istio/workload_pb.js';
import type { Service } from '../api/kubernetes.ts';
import { ClusterObjects, namespace, node, pod, service } from './cluster.fixture.ts';
import { deriveExports, type Exports } from './exports.ts';

const options = { clusterId: 'cluster-1', trustDomain: 'cluster.local', clusterDomain: 'cluster.local', rootNamespace: 'istio-system' };

function cluster(): { objects: ClusterObjects; exports: Exports } {
  const objects = new ClusterObjects();
  const exports = deriveExports(objects.graph, objects, options);
  objects.put(
    namespace('istio-system', { 'topology.istio.io/network': 'flat-network' }),
    namespace('demo'),
    node('node-1', '10.10.0.0/24', { 'topology.kubernetes.io/region': 'r1', 'topology.kubernetes.io/zone': 'z1' }),
    node('node-2', '10.10.1.0/24'),
  );
  return { objects, exports };
}

suite('what a cluster exports', () => {
  test('is the labelled Service and its ready pods', () => {
    const { objects, exports } = cluster();
    objects.put(
      service('global-service', { ports: [{ name: 'http', port: 80, targetPort: 'web', appProtocol: 'http' }] }),
      service('local-service', {}, {}),
      pod('ready', { ip: '10.10.0.17', ports: [{ name: 'web', containerPort: 5000 }], serviceAccountName: 'hello' }),
      pod('unready', { ip: '10.10.0.18', ready: false }),
      pod('other', { ip: '10.10.0.19', labels: { app: 'local-service' } }),
      pod('elsewhere', { ip: '10.10.0.20', namespace: 'default' }),
      pod('of-the-host', { ip: '172.18.0.2', hostNetwork: true }),
    );
    assert.deepEqual(
      [...exports.services.entries()].map(([key]) => key),
      ['demo/global-service'],
    );
    const exported = exports.services.get('demo/global-service');
    assert.equal(exported?.hostname, 'global-service.demo.mesh.internal');
    assert.equal(exported.scope, 'global');
    assert.deepEqual(
      exported.ports.map(({ name, number, protocol }) => ({ name, number, protocol })),
      [{ name: 'http', number: 80, protocol: 'HTTP' }],
    );
    assert.deepEqual(exported.subjectAltNames, ['spiffe://cluster.local/ns/demo/sa/hello']);
    const [workload, ...others] = exports.workloads.values();
    assert.deepEqual(others, []);
    assert.equal(workload?.uid, 'cluster-1//Pod/demo/ready');
    assert.equal(workload.network, 'flat-network');
    assert.equal(workload.status, WorkloadStatus.HEALTHY);
    assert.deepEqual([workload.locality?.region, workload.locality?.zone], ['r1', 'z1']);
    assert.deepEqual(
      Object.entries(workload.services).map(([key, { ports }]) => [key, ports.map((port) => [port.servicePort, port.targetPort])]),
      [['demo/global-service.demo.mesh.internal', [[80, 5000]]]],
    );
  });

  test('follows labels, readiness and deletion', () => {
    const { objects, exports } = cluster();
    objects.put(service('global-service'), pod('a', { ip: '10.10.0.17' }));
    assert.equal(exports.workloads.size, 1);
    objects.put(pod('a', { ip: '10.10.0.17', ready: false }));
    assert.deepEqual([exports.services.size, exports.workloads.size], [1, 0]);
    assert.deepEqual(exports.services.get('demo/global-service')?.subjectAltNames, []);
    objects.put(pod('a', { ip: '10.10.0.17' }));
    objects.put(service('global-service', {}, {}));
    assert.deepEqual([exports.services.size, exports.workloads.size], [0, 0]);
    objects.put(namespace('demo', { 'solo.io/service-scope': 'global' }));
    assert.deepEqual([exports.services.size, exports.workloads.size], [1, 1]);
    objects.put(service('global-service', {}, { 'solo.io/service-scope': 'cluster' }));
    assert.deepEqual([exports.services.size, exports.workloads.size], [0, 0]);
    objects.put(service('global-service'));
    objects.remove('Service', 'demo/global-service');
    assert.deepEqual([exports.services.size, exports.workloads.size], [0, 0]);
  });

  test('says where the cluster is, from its nodes', () => {
    const { objects, exports } = cluster();
    assert.deepEqual(exports.site.get('istio-system'), { network: 'flat-network', podRanges: ['10.10.0.0/24', '10.10.1.0/24'] });
    objects.remove('Node', 'node-2');
    assert.deepEqual(exports.site.get('istio-system')?.podRanges, ['10.10.0.0/24']);
  });

  const refused: readonly [string, NonNullable<Service['spec']>, RegExp][] = [
    ['ExternalName', { type: 'ExternalName', externalName: 'example.org' }, /ExternalName/],
    ['headless', { clusterIP: 'None' }, /headless/],
    ['without selector', { selector: {} }, /selector/],
    ['UDP only', { ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] }, /no TCP port/],
  ];
  for (const [name, spec, reason] of refused) {
    test(`is never a Service that is ${name}`, () => {
      const { objects, exports } = cluster();
      objects.put(service('global-service', spec), pod('a', { ip: '10.10.0.17' }));
      assert.deepEqual([exports.services.size, exports.workloads.size], [0, 0]);
      assert.match(exports.refusals.get('demo/global-service')?.message ?? '', reason);
    });
  }

  test('is the TCP ports of a Service that also has others', () => {
    const { objects, exports } = cluster();
    const ports = [
      { name: 'udp', port: 53, protocol: 'UDP' },
      { name: 'tcp', port: 53, protocol: 'TCP' },
    ] as const;
    objects.put(service('global-service', { ports: [...ports] }), pod('a', { ip: '10.10.0.17' }));
    assert.deepEqual(
      exports.services.get('demo/global-service')?.ports.map(({ name, number }) => [name, number]),
      [['tcp', 53]],
    );
    assert.match(exports.refusals.get('demo/global-service')?.message ?? '', /53\/UDP/);
    const [workload] = exports.workloads.values();
    assert.equal(Object.values(workload?.services ?? {})[0]?.ports.length, 1);
  });
});
