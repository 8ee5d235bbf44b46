import type { Gateway, Namespace, Node, Pod, Service, ServiceEntry, WorkloadEntry } from '../api/kubernetes.ts';
import { source, Graph, type Source } from '../collections/index.ts';

/** Objects of a cluster for tests, as its API server would have them. */
export class ClusterObjects {
  readonly graph = new Graph({
    onFailure: ({ collection, key, error }) => {
      throw new Error(`${collection} ${key}`, { cause: error });
    },
  });
  readonly namespaces = source<Namespace>(this.graph, { name: 'namespaces' });
  readonly nodes = source<Node>(this.graph, { name: 'nodes' });
  readonly pods = source<Pod>(this.graph, { name: 'pods' });
  readonly services = source<Service>(this.graph, { name: 'services' });
  readonly gateways = source<Gateway>(this.graph, { name: 'gateways' });
  readonly serviceEntries = source<ServiceEntry>(this.graph, { name: 'serviceEntries' });
  readonly workloadEntries = source<WorkloadEntry>(this.graph, { name: 'workloadEntries' });

  put(...objects: (Namespace | Node | Pod | Service | Gateway)[]): void {
    this.graph.batch(() => {
      for (const object of objects) {
        const { namespace, name } = object.metadata;
        this.#sourceOf(object.kind).set(namespace === undefined ? name : `${namespace}/${name}`, object);
      }
    });
  }

  remove(kind: string, key: string): void {
    this.#sourceOf(kind).delete(key);
  }

  #sourceOf(kind: string): Source<object> {
    const sources: Readonly<Record<string, unknown>> = {
      Namespace: this.namespaces,
      Node: this.nodes,
      Pod: this.pods,
      Service: this.services,
      Gateway: this.gateways,
    };
    // The kind says which objects the source holds.
    return sources[kind] as Source<object>;
  }
}

export function namespace(name: string, labels: Record<string, string> = {}): Namespace {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

export function node(name: string, podCIDR: string, labels: Record<string, string> = {}): Node {
  return { apiVersion: 'v1', kind: 'Node', metadata: { name, labels }, spec: { podCIDR, podCIDRs: [podCIDR] } };
}

export interface PodOptions {
  readonly ip: string;
  readonly namespace?: string;
  readonly labels?: Record<string, string>;
  readonly ready?: boolean;
  readonly captured?: boolean;
  readonly hostNetwork?: boolean;
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly serviceAccountName?: string;
  readonly nodeName?: string;
}

export function pod(name: string, options: PodOptions): Pod {
  const { ip, ready = true, captured = true, serviceAccountName = 'default', nodeName = 'node-1' } = options;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: options.namespace ?? 'demo',
      uid: `uid-${name}`,
      labels: options.labels ?? { app: 'global-service' },
      ...(captured && { annotations: { 'ambient.istio.io/redirection': 'enabled' } }),
    },
    spec: {
      serviceAccountName,
      nodeName,
      ...(options.hostNetwork === true && { hostNetwork: true }),
      containers: [{ name: 'app', ports: [...(options.ports ?? [])] }],
    },
    status: { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
  };
}

export function service(
  name: string,
  spec: NonNullable<Service['spec']> = {},
  labels?: Record<string, string>,
  inNamespace = 'demo',
): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      namespace: inNamespace,
      labels: labels ?? { 'solo.io/service-scope': 'global' },
      creationTimestamp: '2026-11-01T00:00:00Z',
    },
    spec: { clusterIP: '10.255.10.9', selector: { app: name }, ports: [{ name: 'http', port: 5000 }], ...spec },
  };
}

export interface GatewayOptions {
  readonly cluster: string;
  readonly address: string;
  readonly port: number;
  readonly network?: string;
  readonly pin?: string;
  readonly region?: string;
}

/** As `isthmus multicluster link` writes it. */
export function remoteGateway(options: GatewayOptions): Gateway {
  const { cluster, address, port, network = 'flat-network', pin, region } = options;
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      name: `istio-remote-peer-${cluster}`,
      namespace: 'istio-eastwest',
      uid: `uid-${cluster}`,
      creationTimestamp: '2026-11-01T00:00:00Z',
      labels: {
        'topology.istio.io/cluster': cluster,
        'topology.istio.io/network': network,
        ...(region !== undefined && { 'topology.kubernetes.io/region': region }),
      },
      annotations: { 'gateway.istio.io/trust-domain': 'cluster.local', ...(pin !== undefined && { 'isthmus.dev/peer-ca-sha256': pin }) },
    },
    spec: {
      gatewayClassName: 'istio-remote',
      addresses: [{ type: 'IPAddress', value: address }],
      listeners: [{ name: 'xds-tls', port, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
    },
  };
}
