import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { create, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';

import { ClusterSchema, FederatedServiceSchema } from '../api/gen/isthmus/peering_pb.js';
import { WorkloadSchema, WorkloadStatus } from '../api/gen/istio/workload_pb.js';
import { AddressRanges } from './address-ranges.ts';
import { judgePeers, type Candidate } from './judge-peers.ts';
import { isRefusal, validateCluster, validateService, validateWorkload, type KnownPeer, type PeerExpectation } from './validate.ts';

/** Fields of a message, not a whole one. */
type Init<Schema extends DescMessage> = Exclude<MessageInitShape<Schema>, { readonly $typeName: string }>;

const ranges = (...texts: string[]): AddressRanges => AddressRanges.parse(texts) ?? assert.fail(`${texts.join()} are no ranges`);
const peer: KnownPeer = {
  clusterId: 'cluster-2',
  network: 'flat-network',
  trustDomain: 'cluster.local',
  ranges: ranges('10.20.0.0/16'),
  podRanges: ['10.20.0.0/16'],
  authorities: [],
};
const own = ranges('10.10.0.0/16');

suite('a peer that lies about itself is refused', () => {
  const expected: PeerExpectation = {
    ownCluster: 'cluster-1',
    ownTrustDomain: 'cluster.local',
    cluster: 'cluster-2',
    network: 'flat-network',
    trustDomain: 'cluster.local',
  };
  const truth: Init<typeof ClusterSchema> = {
    clusterId: 'cluster-2',
    network: 'flat-network',
    trustDomain: 'cluster.local',
    podRanges: ['10.20.0.0/16'],
  };
  const judge = (lie: Init<typeof ClusterSchema>, name = 'cluster-2', changes: Partial<PeerExpectation> = {}) =>
    validateCluster(name, create(ClusterSchema, { ...truth, ...lie }), { ...expected, ...changes });

  test('the truth is not', () => {
    const known = judge({});
    assert.ok(!isRefusal(known));
    assert.equal(known.clusterId, 'cluster-2');
    assert.ok(!isRefusal(judge({}, 'cluster-2', { cluster: undefined, network: undefined, trustDomain: undefined })));
  });

  const lies: readonly [string, string, ReturnType<typeof judge>][] = [
    ['another name than id', 'PEERING_CLUSTER_ID', judge({}, 'cluster-3')],
    ['our own id', 'PEERING_CLUSTER_ID', judge({ clusterId: 'cluster-1' }, 'cluster-1', { cluster: undefined })],
    ['another id than the Gateway says', 'PEERING_CLUSTER_ID', judge({ clusterId: 'cluster-3' }, 'cluster-3')],
    ['an id that is no name', 'PEERING_CLUSTER_ID', judge({ clusterId: 'A/b' }, 'A/b', { cluster: undefined })],
    ['no network', 'PEERING_NETWORK', judge({ network: '' })],
    ['another network', 'PEERING_NETWORK', judge({ network: 'elsewhere' })],
    ['another trust domain', 'PEERING_TRUST_DOMAIN', judge({ trustDomain: 'other.local' })],
    [
      "one that is not this cluster's",
      'PEERING_TRUST_DOMAIN',
      judge({ trustDomain: 'other.local' }, 'cluster-2', { trustDomain: 'other.local' }),
    ],
    ['an authority that is no sum', 'PEERING_RESOURCE_REFUSED', judge({ caSha256: ['x'] })],
    ['ranges that are none', 'PEERING_RESOURCE_REFUSED', judge({ podRanges: ['10.20.0.0/99'] })],
  ];
  for (const [name, code, verdict] of lies) {
    test(name, () => assert.equal(isRefusal(verdict) ? verdict.code : 'believed', code));
  }
});

suite('a workload that is not of its peer is refused', () => {
  const truth: Init<typeof WorkloadSchema> = {
    uid: 'cluster-2//Pod/demo/a',
    name: 'a',
    namespace: 'demo',
    addresses: [Uint8Array.of(10, 20, 0, 12)],
    network: 'flat-network',
    clusterId: 'cluster-2',
    serviceAccount: 'default',
    status: WorkloadStatus.HEALTHY,
    services: { 'demo/global-service.demo.mesh.internal': { ports: [{ servicePort: 5000, targetPort: 5000 }] } },
  };
  const judge = (lie: Init<typeof WorkloadSchema>, name = 'cluster-2//Pod/demo/a') =>
    validateWorkload(name, create(WorkloadSchema, { ...truth, ...lie }), peer, own);

  test('the truth is not', () => assert.equal(judge({}), undefined));
  test('a peer that declares no ranges may be anywhere but here', () => {
    const vague = { ...peer, ranges: AddressRanges.none };
    assert.equal(validateWorkload('cluster-2//Pod/demo/a', create(WorkloadSchema, truth), vague, own), undefined);
    const ours = create(WorkloadSchema, { ...truth, addresses: [Uint8Array.of(10, 10, 0, 12)] });
    assert.equal(validateWorkload('cluster-2//Pod/demo/a', ours, vague, own)?.code, 'PEERING_RESOURCE_REFUSED');
  });

  const address = (...bytes: number[]) => ({ addresses: [Uint8Array.from(bytes)] });
  const lies: readonly [string, string, Init<typeof WorkloadSchema>, string?][] = [
    ['the uid of another cluster', 'PEERING_CLUSTER_ID', { uid: 'cluster-1//Pod/demo/a' }, 'cluster-1//Pod/demo/a'],
    ['another name than uid', 'PEERING_CLUSTER_ID', {}, 'cluster-2//Pod/demo/b'],
    ['another cluster', 'PEERING_CLUSTER_ID', { clusterId: 'cluster-1' }],
    ['another trust domain', 'PEERING_TRUST_DOMAIN', { trustDomain: 'other.local' }],
    ['another network', 'PEERING_NETWORK', { network: 'elsewhere' }],
    ['an address of ours', 'PEERING_RESOURCE_REFUSED', address(10, 10, 0, 1)],
    ['an address outside of its ranges', 'PEERING_RESOURCE_REFUSED', address(10, 30, 0, 1)],
    ['one address of two outside', 'PEERING_RESOURCE_REFUSED', { addresses: [Uint8Array.of(10, 20, 0, 1), Uint8Array.of(8, 8, 8, 8)] }],
    ['loopback', 'PEERING_RESOURCE_REFUSED', address(127, 0, 0, 1)],
    ['link-local: the metadata service', 'PEERING_RESOURCE_REFUSED', address(169, 254, 169, 254)],
    ['an address of five bytes', 'PEERING_RESOURCE_REFUSED', address(1, 2, 3, 4, 5)],
    ['no address', 'PEERING_RESOURCE_REFUSED', { addresses: [] }],
    ['no service account', 'PEERING_RESOURCE_REFUSED', { serviceAccount: '' }],
    ['an account that is a path', 'PEERING_RESOURCE_REFUSED', { serviceAccount: 'a/sa/b' }],
    ['not ready', 'PEERING_RESOURCE_REFUSED', { status: WorkloadStatus.UNHEALTHY }],
    ['a service of another namespace', 'PEERING_RESOURCE_REFUSED', { services: { 'prod/bank.prod.mesh.internal': { ports: [] } } }],
    ['a Kubernetes name', 'PEERING_RESOURCE_REFUSED', { services: { 'demo/bank.demo.svc.cluster.local': { ports: [] } } }],
    [
      'a port that is none',
      'PEERING_RESOURCE_REFUSED',
      { services: { 'demo/s.demo.mesh.internal': { ports: [{ servicePort: 80, targetPort: 70_000 }] } } },
    ],
  ];
  for (const [name, code, lie, resource] of lies) test(name, () => assert.equal(judge(lie, resource)?.code, code));
});

suite('a service that is not well-formed is refused', () => {
  const truth: Init<typeof FederatedServiceSchema> = {
    name: 's',
    namespace: 'demo',
    hostname: 's.demo.mesh.internal',
    scope: 'global',
    ports: [{ name: 'http', number: 80, protocol: 'HTTP' }],
    subjectAltNames: ['spiffe://cluster.local/ns/demo/sa/default'],
  };
  const judge = (lie: Init<typeof FederatedServiceSchema>, name = 'demo/s') =>
    validateService(name, create(FederatedServiceSchema, { ...truth, ...lie }), peer);

  test('the truth is not', () => assert.equal(judge({}), undefined));
  const lies: readonly [string, Init<typeof FederatedServiceSchema>, string?][] = [
    ['another name than inside', {}, 'demo/t'],
    ['no name', { name: '' }, 'demo/'],
    ['a name with a dot', { name: 's.t' }, 'demo/s.t'],
    ['a hostname of another', { hostname: 'bank.prod.mesh.internal' }],
    ['no port', { ports: [] }],
    ['a port beyond', { ports: [{ name: 'http', number: 65_536 }] }],
    [
      'a port twice',
      {
        ports: [
          { name: 'a', number: 80 },
          { name: 'b', number: 80 },
        ],
      },
    ],
    ['an unnamed port', { ports: [{ name: '', number: 80 }] }],
    ['an unknown scope', { scope: 'galaxy' }],
    ['an identity of another namespace', { subjectAltNames: ['spiffe://cluster.local/ns/prod/sa/bank'] }],
    ['an identity of another trust domain', { subjectAltNames: ['spiffe://evil.local/ns/demo/sa/default'] }],
  ];
  for (const [name, lie, resource] of lies) test(name, () => assert.equal(judge(lie, resource)?.code, 'PEERING_RESOURCE_REFUSED'));
});

suite('peers in conflict', () => {
  const candidate = (key: string, created: string, clusterId: string, range: string, network = 'flat-network'): Candidate => ({
    key,
    created,
    peer: { clusterId, network, trustDomain: 'cluster.local', ranges: ranges(range), podRanges: [range], authorities: [] },
  });
  const codes = (candidates: readonly Candidate[]) =>
    Object.fromEntries([...judgePeers(candidates, own)].map(([key, refusal]) => [key, refusal?.code]));

  test('the one linked first is kept', () => {
    const list = [
      candidate('late', '2026-02-01', 'b', '10.20.128.0/17'),
      candidate('early', '2026-01-01', 'a', '10.20.0.0/16'),
      candidate('twice', '2026-03-01', 'a', '10.21.0.0/16'),
      candidate('ours', '2026-01-01', 'c', '10.0.0.0/8'),
      candidate('apart', '2026-04-01', 'd', '10.20.0.0/16', 'another-network'),
    ];
    const expected = {
      early: undefined,
      late: 'PEERING_RANGE_OVERLAP',
      twice: 'PEERING_DUPLICATE',
      ours: 'PEERING_RANGE_OVERLAP',
      apart: undefined,
    };
    assert.deepEqual(codes(list), expected);
    assert.deepEqual(codes([...list].reverse()), expected);
  });

  test('two ranges overlap exactly when they share an address', () => {
    const cidr = fc.tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 24, max: 32 }));
    fc.assert(
      fc.property(cidr, cidr, ([a, aBits], [b, bBits]) => {
        const covers = (base: number, bits: number, at: number) => at >> (32 - bits) === base >> (32 - bits);
        const shared = Array.from({ length: 256 }, (_, at) => at).some((at) => covers(a, aBits, at) && covers(b, bBits, at));
        assert.equal(ranges(`10.0.0.${a}/${aBits}`).overlap(ranges(`10.0.0.${b}/${bBits}`)) !== undefined, shared);
      }),
    );
    assert.equal(ranges('fd00::/8').overlap(ranges('0.0.0.0/0')), undefined);
  });
});
