import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { toJson } from '@bufbuild/protobuf';

import { AuthorizationSchema } from '../api/gen/istio/authorization_pb.js';
import { ServiceSchema, WorkloadSchema } from '../api/gen/istio/workload_pb.js';
import { addressText } from './addresses.ts';
import { testMesh, type TestObject } from './testing.ts';

/** The objects in the cluster when upstream's istiod gave the answers of the capture. */
const objects: readonly TestObject[] = [
  { kind: 'Namespace', metadata: { name: 'istio-system', labels: { 'topology.istio.io/network': 'flat-network' } } },
  { kind: 'Namespace', metadata: { name: 'demo' } },
  {
    kind: 'Node',
    metadata: { name: 'node-1', labels: { 'topology.kubernetes.io/region': 'r1', 'topology.kubernetes.io/zone': 'z1' } },
  },
  pod('demo', 'sleep-1', '10.10.0.2', 'sleep', { app: 'sleep' }),
  pod('istio-system', 'ztunnel-1', '172.18.0.2', 'ztunnel', { app: 'ztunnel' }),
  service('demo', 'local-svc', '10.96.156.138', { app: 'sleep' }, [
    { name: 'http', port: 80, targetPort: 8000, protocol: 'TCP' },
    { name: 'tcp', port: 9000, targetPort: 9000, protocol: 'TCP' },
  ]),
  service('demo', 'headless', 'None', { app: 'sleep' }, [{ name: 'http', port: 80, targetPort: 80, protocol: 'TCP' }]),
  service('demo', 'empty', '10.96.235.150', { app: 'nobody' }, [{ name: 'http', port: 80, targetPort: 80, protocol: 'TCP' }]),
  service('default', 'kubernetes', '10.96.0.1', undefined, [{ name: 'https', port: 443, targetPort: 6443, protocol: 'TCP' }]),
  {
    kind: 'EndpointSlice',
    metadata: { name: 'kubernetes', namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['192.0.2.2'], conditions: { ready: true } }],
    ports: [{ name: 'https', port: 6443, protocol: 'TCP' }],
  },
  {
    kind: 'ServiceEntry',
    metadata: { name: 'autogen.demo.global-service', namespace: 'demo' },
    spec: {
      hosts: ['global-service.demo.mesh.internal'],
      resolution: 'STATIC',
      ports: [{ name: 'http', number: 5000, protocol: 'HTTP' }],
      workloadSelector: { labels: { app: 'global-service' } },
    },
    status: {
      addresses: [
        { value: '240.240.0.1', host: 'global-service.demo.mesh.internal' },
        { value: '2001:2::1', host: 'global-service.demo.mesh.internal' },
      ],
    },
  },
  {
    kind: 'WorkloadEntry',
    metadata: { name: 'autogen.cluster-2.demo.global-service', namespace: 'demo', labels: { app: 'global-service' } },
    spec: { network: 'flat-network', weight: 2 },
  },
  {
    kind: 'WorkloadEntry',
    metadata: {
      name: 'autogenflat.cluster-2.demo.global-service-x.eacd81ea03fd',
      namespace: 'demo',
      labels: { app: 'global-service' },
      annotations: { 'ambient.istio.io/redirection': 'enabled' },
    },
    spec: { address: '10.20.0.2', network: 'flat-network', serviceAccount: 'default', ports: { http: 5000 } },
  },
  { kind: 'PeerAuthentication', metadata: { name: 'default', namespace: 'istio-system' }, spec: { mtls: { mode: 'STRICT' } } },
  {
    kind: 'AuthorizationPolicy',
    metadata: { name: 'deny-path', namespace: 'demo' },
    spec: {
      action: 'DENY',
      selector: { matchLabels: { app: 'sleep' } },
      rules: [
        {
          from: [{ source: { namespaces: ['bad'], notPrincipals: ['cluster.local/ns/x/sa/*'] } }],
          to: [{ operation: { paths: ['/secret'], ports: ['9999'] } }],
        },
        {
          from: [{ source: { ipBlocks: ['10.99.0.0/16'] } }],
          when: [
            { key: 'source.namespace', values: ['evil'] },
            { key: 'destination.port', notValues: ['80'] },
          ],
        },
      ],
    },
  },
];

function pod(namespace: string, name: string, ip: string, serviceAccountName: string, labels: Record<string, string>): TestObject {
  return {
    kind: 'Pod',
    metadata: { name, namespace, labels, annotations: { 'ambient.istio.io/redirection': 'enabled' } },
    spec: {
      nodeName: 'node-1',
      serviceAccountName,
      containers: [{ name: 'app' }],
    },
    status: { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions: [{ type: 'Ready', status: 'True' }] },
  };
}

function service(
  namespace: string,
  name: string,
  clusterIP: string,
  selector: Record<string, string> | undefined,
  ports: readonly object[],
): TestObject {
  return {
    kind: 'Service',
    metadata: { name, namespace },
    spec: { type: 'ClusterIP', clusterIP, clusterIPs: [clusterIP], ipFamilies: ['IPv4'], ports, ...(selector && { selector }) },
  };
}

type Json = Record<string, unknown>;

test("the mesh of the capture's objects is what upstream's istiod answered", async () => {
  const text = await readFile(new URL('../../test/fixtures/captures/ambientz.json', import.meta.url), 'utf8');
  const capture = JSON.parse(text) as { workloads: Json[]; services: Json[]; policies: Json[] };
  const { mesh, apply, failures } = testMesh();
  apply(...objects);
  assert.deepEqual(failures, []);
  const byUid = (all: Json[]): Map<unknown, Json> => new Map(all.map((one) => [one['uid'], one]));
  assert.deepEqual(
    byUid([...mesh.workloads.values()].map((one) => withAddressText(toJson(WorkloadSchema, one) as Json))),
    byUid(capture.workloads),
  );
  const byHost = (all: Json[]): Map<unknown, Json> => new Map(all.map((one) => [one['hostname'], one]));
  assert.deepEqual(
    byHost([...mesh.services.values()].map((one) => withAddressText(toJson(ServiceSchema, one.service) as Json))),
    byHost(capture.services),
  );
  const byName = (all: Json[]): Map<unknown, Json> => new Map(all.map((one) => [one['name'], one]));
  assert.deepEqual(
    byName([...mesh.authorizations.values()].map((one) => toJson(AuthorizationSchema, one) as Json)),
    byName(capture.policies.map(withOurFieldNames)),
  );
});

/** The debug page shows the bytes of the text of an address, not those of the address. */
function withAddressText(resource: Json): Json {
  const text = (base64: string): string => Buffer.from(addressText(Buffer.from(base64, 'base64'))).toString('base64');
  const addresses = resource['addresses'] as readonly (string | { address: string })[] | undefined;
  if (addresses === undefined) return resource;
  return { ...resource, addresses: addresses.map((one) => (typeof one === 'string' ? text(one) : { ...one, address: text(one.address) })) };
}

/** Upstream's names of the three levels of a policy are groups, rules and matches; the field numbers are the same. */
function withOurFieldNames(policy: Json): Json {
  const { groups, ...rest } = policy as { groups: { rules: object[] }[] } & Json;
  return { ...rest, rules: groups.map(({ rules }) => ({ clauses: rules })) };
}
