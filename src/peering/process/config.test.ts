import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { IsthmusError } from '../../core/index.ts';
import { peeringProcessConfig, type PeeringProcessFlags } from './config.ts';

suite('configuration of the peering process', () => {
  test('needs the cluster id alone', () => {
    const config = peeringProcessConfig({ CLUSTER_ID: 'cluster-1' });
    const { clusterId, network, trustDomain, namespace, serviceAccount, podRanges, createNamespaces, authority } = config;
    assert.deepEqual(
      [clusterId, network, trustDomain, namespace, serviceAccount],
      ['cluster-1', undefined, 'cluster.local', 'istio-system', 'isthmus-peering'],
    );
    assert.deepEqual([podRanges, createNamespaces], [undefined, false]);
    assert.deepEqual(authority, {
      url: 'https://istiod.istio-system.svc:15012',
      roots: '/var/run/secrets/istio/root-cert.pem',
      alternativeName: undefined,
      token: '/var/run/secrets/tokens/istio-token',
    });
    const { peering, monitoring, readiness } = config.listen;
    assert.deepEqual([peering.port, monitoring.port, readiness.port], [15012, 15014, 8080]);
    assert.deepEqual([config.leaseMs, config.renewDeadlineMs, config.retryMs, config.drainMs], [3000, 2000, 500, 3000]);
  });

  test('flags count before the environment', () => {
    const env = {
      CLUSTER_ID: 'a',
      NETWORK: 'n',
      POD_CIDRS: '10.1.0.0/16',
      CREATE_NAMESPACES: 'true',
      LEASE_DURATION: '9s',
      CA_ADDRESS: '127.0.0.1:1',
    };
    const flags = { clusterId: 'b', network: 'm', podCidrs: '10.2.0.0/16, fd00::/64', lease: '6s', listen: '127.0.0.1:4' };
    const config = peeringProcessConfig(env, flags);
    assert.deepEqual(
      [config.clusterId, config.network, config.leaseMs, config.renewDeadlineMs, config.retryMs],
      ['b', 'm', 6000, 4000, 1000],
    );
    assert.deepEqual([config.podRanges, config.createNamespaces], [['10.2.0.0/16', 'fd00::/64'], true]);
    assert.deepEqual([config.listen.peering, config.authority.url], [{ host: '127.0.0.1', port: 4 }, 'https://127.0.0.1:1']);
  });

  test('peers and writes', () => {
    const config = peeringProcessConfig({ CLUSTER_ID: 'a' });
    assert.deepEqual([config.linkedPeersOnly, config.peerLeaseMs, config.writeRate], [false, 3_600_000, { perSecond: 200, burst: 400 }]);
    const env = { CLUSTER_ID: 'a', LINKED_PEERS_ONLY: 'false', PEER_LEASE: '10m', KUBE_API_QPS: '50', KUBE_API_BURST: '90' };
    const other = peeringProcessConfig(env, { linkedPeersOnly: true, peerLease: '2h' });
    assert.deepEqual([other.linkedPeersOnly, other.peerLeaseMs, other.writeRate], [true, 7_200_000, { perSecond: 50, burst: 90 }]);
  });

  const wrong: readonly (readonly [env: NodeJS.ProcessEnv, flags: PeeringProcessFlags, message: RegExp])[] = [
    [{ CLUSTER_ID: '' }, {}, /^CLUSTER_ID, --cluster-id: missing/],
    [{ POD_CIDRS: '10.0.0.0' }, {}, /^POD_CIDRS, --pod-cidrs: "10\.0\.0\.0" is not a range/],
    [{}, { podCidrs: '10.0.0.0/33' }, /"10\.0\.0\.0\/33" is not a range/],
    [{ SERVICE_CIDRS: 'x/8' }, {}, /^SERVICE_CIDRS/],
    [{ CREATE_NAMESPACES: 'yes' }, {}, /"yes" is neither true nor false/],
    [{ CA_ADDRESS: 'istiod.istio-system.svc' }, {}, /^CA_ADDRESS: .* is not an address like/],
    [{ CA_ADDRESS: 'http://istiod.istio-system.svc:15010' }, {}, /^CA_ADDRESS/],
    [{ LEASE_DURATION: '3' }, {}, /"3" is not a time like 3s/],
    [{}, { lease: '3s', renewDeadline: '3s' }, /has to be less than the lease/],
    [{ LINKED_PEERS_ONLY: 'on' }, {}, /^LINKED_PEERS_ONLY: "on" is neither true nor false/],
    [{}, { peerLease: '1d' }, /--peer-lease: "1d" is not a time like 3s/],
    [{ KUBE_API_QPS: '0' }, {}, /^KUBE_API_QPS: "0" is not a whole number/],
    [{ TERMINATION_DRAIN_DURATION_SECONDS: '-1' }, {}, /"-1" is not a number of seconds/],
    [{}, { listen: '15012' }, /--listen: "15012" is not an address/],
  ];
  for (const [env, flags, message] of wrong) {
    test(`refuses ${JSON.stringify({ ...env, ...flags })}`, () => {
      assert.throws(
        () => peeringProcessConfig({ CLUSTER_ID: 'cluster-1', ...env }, flags),
        (error) => error instanceof IsthmusError && message.test(error.message),
      );
    });
  }
});
