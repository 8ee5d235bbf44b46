import type { ClusterState } from './watched-cluster.ts';

/** A port of a Service in one cluster. */
export interface ExportedPort {
  readonly name: string;
  readonly number: number;
  /** Istio's protocol, from the port's name; undefined when the name says none. */
  readonly protocol: string | undefined;
  /** The port of the pods, when the Service says a number. */
  readonly target: number | undefined;
}

/** A pod that a Service has among its ready endpoints. */
export interface ExportedPod {
  readonly name: string;
  readonly address: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  /** A ztunnel stands before it. */
  readonly isCaptured: boolean;
  /** Of its node: `region/zone`. */
  readonly locality: string | undefined;
  /** Port of the Service to port of the pod. */
  readonly targetPorts: ReadonlyMap<number, number>;
}

/** A Service that a cluster shares with the others. */
export interface ExportedService {
  readonly namespace: string;
  readonly name: string;
  readonly scope: string;
  readonly selector: Readonly<Record<string, string>>;
  readonly ports: readonly ExportedPort[];
  readonly pods: readonly ExportedPod[];
}

const scopeLabel = 'solo.io/service-scope';
const protocols = new Map([
  ['http', 'HTTP'],
  ['http2', 'HTTP2'],
  ['grpc', 'GRPC'],
  ['https', 'HTTPS'],
  ['tls', 'TLS'],
  ['tcp', 'TCP'],
]);

/**
 * What a cluster exports, by its API server alone: its Services with the label (or with a namespace that has it), and of those the endpoints
 * that the cluster's own EndpointSlices call ready. Knows nothing of the product.
 */
export function exportedServices(state: ClusterState): readonly ExportedService[] {
  return state.services.flatMap((service): ExportedService[] => {
    const { name, namespace = '', labels = {} } = service.metadata;
    const inherited = state.namespaces.find(({ metadata }) => metadata.name === namespace)?.metadata.labels?.[scopeLabel];
    const scope = labels[scopeLabel] ?? inherited;
    if ((scope !== 'global' && scope !== 'global-only') || service.metadata.deletionTimestamp !== undefined) return [];
    const ports = (service.spec?.ports ?? []).map((port): ExportedPort => {
      const given = port.name ?? `port-${String(port.port)}`;
      const { targetPort = port.port } = port;
      const target = typeof targetPort === 'number' ? targetPort : undefined;
      return { name: given, number: port.port, protocol: protocols.get(given.split('-')[0] ?? ''), target };
    });
    const selector = service.spec?.selector ?? {};
    return [{ namespace, name, scope, selector, ports, pods: readyPods(state, namespace, name, ports) }];
  });
}

function readyPods(state: ClusterState, namespace: string, service: string, ports: readonly ExportedPort[]): readonly ExportedPod[] {
  const slices = state.endpointSlices.filter(
    ({ metadata }) => metadata.namespace === namespace && metadata.labels?.['kubernetes.io/service-name'] === service,
  );
  const targets = new Map<string, Map<number, number>>();
  for (const slice of slices) {
    for (const { conditions, targetRef } of slice.endpoints ?? []) {
      if (conditions?.ready !== true || targetRef?.kind !== 'Pod' || targetRef.name === undefined) continue;
      const ofPod = targets.get(targetRef.name) ?? new Map<number, number>();
      targets.set(targetRef.name, ofPod);
      for (const { name, number } of ports) {
        const target = slice.ports?.find((port) => port.name === name)?.port;
        if (target !== undefined) ofPod.set(number, target);
      }
    }
  }
  return [...targets].flatMap(([name, targetPorts]): ExportedPod[] => {
    const pod = state.pods.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
    // The slice follows the pod a moment later: gone is what either calls gone.
    const isReady = pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
    if (pod === undefined || !isReady || pod.metadata.deletionTimestamp !== undefined) return [];
    const node = state.nodes.find(({ metadata }) => metadata.name === pod.spec?.nodeName)?.metadata.labels ?? {};
    const places = [node['topology.kubernetes.io/region'], node['topology.kubernetes.io/zone']].filter((place) => place !== undefined);
    return [
      {
        name,
        address: pod.status?.podIP ?? '',
        serviceAccount: pod.spec?.serviceAccountName ?? '',
        labels: pod.metadata.labels ?? {},
        isCaptured: pod.metadata.annotations?.['ambient.istio.io/redirection'] === 'enabled',
        locality: places.length === 0 ? undefined : places.join('/'),
        targetPorts,
      },
    ];
  });
}
