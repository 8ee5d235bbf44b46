import type { TestCluster, TestObject } from '../istiod/cluster.ts';

/** A global Service of the namespace demo. */
export function globalService(name: string, port = 5000): TestObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'demo', labels: { 'solo.io/service-scope': 'global' } },
    spec: { selector: { app: 'global-service' }, ports: [{ name: 'http', port, targetPort: 5000 }] },
  };
}

/** A ready pod of it. */
export async function createPod(cluster: TestCluster, number: 1 | 2, pod: number): Promise<void> {
  await cluster.createPod({
    namespace: 'demo',
    name: `pod-${number}-${pod}`,
    ip: `10.${number}0.0.1${pod}`,
    labels: { app: 'global-service' },
    annotations: { 'ambient.istio.io/redirection': 'enabled' },
  });
}

/** Links a cluster to a peer whose wire is at a port of this machine. */
export async function link(cluster: TestCluster, peer: string, port: number): Promise<void> {
  await cluster.create({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      name: `istio-remote-peer-${peer}`,
      namespace: 'istio-eastwest',
      labels: { 'topology.istio.io/cluster': peer, 'topology.istio.io/network': 'flat-network' },
      annotations: { 'gateway.istio.io/trust-domain': 'cluster.local' },
    },
    spec: {
      gatewayClassName: 'istio-remote',
      addresses: [{ type: 'IPAddress', value: '127.0.0.1' }],
      listeners: [{ name: 'xds-tls', port, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
    },
  });
}
