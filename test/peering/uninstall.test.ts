import assert from 'node:assert/strict';
import { test } from 'node:test';

import { resources } from '../../src/api/resources.ts';
import { uninstallPeering } from '../../src/cli/install/uninstall-peering.ts';
import { startCluster } from '../istiod/cluster.ts';

test("takes links and gateways of ours away, and leaves Istio's own", async () => {
  await using cluster = await startCluster({ name: 'cluster-1', serviceCidr: '10.255.10.0/24' });
  const gateway = (name: string, gatewayClassName: string, listeners: readonly object[]) => ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name, namespace: 'default', labels: { 'topology.istio.io/network': 'other' } },
    spec: { gatewayClassName, addresses: [{ type: 'IPAddress', value: '192.0.2.1' }], listeners: [...listeners] },
  });
  const hbone = { name: 'cross-network', port: 15_008, protocol: 'HBONE', tls: { mode: 'Passthrough' } };
  const xdsTls = { name: 'xds-tls', port: 15_012, protocol: 'TLS', tls: { mode: 'Passthrough' } };
  await cluster.create(
    gateway('istio-remote-peer-cluster-2', 'istio-remote', [xdsTls]),
    gateway('by-hand', 'istio-remote', [hbone, xdsTls]),
    gateway('istio-eastwest', 'istio-eastwest', [hbone, xdsTls]),
    gateway('another-network', 'istio-remote', [hbone]),
    gateway('istio-eastwestgateway', 'istio-east-west', [hbone]),
  );
  await uninstallPeering({ client: cluster.client, progress: () => undefined, timeout: 10_000 });
  const { items } = await cluster.client.list(resources.gateways);
  assert.deepEqual(items.map(({ metadata }) => metadata.name).sort(), ['another-network', 'istio-eastwestgateway']);
});
