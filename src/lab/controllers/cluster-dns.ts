import type { EndpointSlice, Service } from '../../api/kubernetes.ts';
import { labels } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { keyedController, type Controller, type ControllerContext } from './controller.ts';

const key = 'kube-system/kube-dns';
const metadata = { name: 'kube-dns', namespace: 'kube-system' };

const ports = [
  { name: 'dns', port: 53, protocol: 'UDP' as const },
  { name: 'dns-tcp', port: 53, protocol: 'TCP' as const },
];

/**
 * Keeps the Service that other programs know cluster DNS by. It has no selector: the server is part of the node agent and has
 * the ClusterIP as an address of its own, so that its one endpoint is that address.
 */
export function clusterDnsController(context: ControllerContext, address: string): Controller {
  const { client, caches } = context;
  const services = caches.for(resources.services);
  const slices = caches.for(resources.endpointSlices);
  const controller = keyedController(context, 'cluster-dns', async () => {
    if (services.get(key) === undefined) await services.caughtUp(await client.create(resources.services, kubeDns(address)));
    if (slices.get(key) === undefined) await slices.caughtUp(await client.create(resources.endpointSlices, kubeDnsEndpoints(address)));
  });
  controller.queue.add(key);
  for (const cache of [services, slices]) {
    cache.onChange((change) => {
      if (change.type === 'delete' && change.key === key) controller.queue.add(key);
    });
  }
  return controller;
}

function kubeDns(address: string): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      ...metadata,
      labels: { 'k8s-app': 'kube-dns', 'kubernetes.io/cluster-service': 'true', 'kubernetes.io/name': 'CoreDNS' },
    },
    spec: { type: 'ClusterIP', clusterIP: address, ports: ports.map((port) => ({ ...port, targetPort: 53 })) },
  };
}

function kubeDnsEndpoints(address: string): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { ...metadata, labels: { 'k8s-app': 'kube-dns', [labels.endpointSliceService]: metadata.name } },
    addressType: 'IPv4',
    ports,
    endpoints: [{ addresses: [address], conditions: { ready: true, serving: true, terminating: false } }],
  };
}
