import type { EndpointSlice, Service } from '../../api/kubernetes.ts';
import { labels } from '../../api/names.ts';

/** What the service proxy has to do, derived from Services and EndpointSlices. Pure. */

/** Where a connection ends up. */
export interface Backend {
  readonly address: string;
  readonly port: number;
}

/** One port of one Service. */
export interface ServicePortRules {
  /** `namespace/service/protocol/port`; names the chains. */
  readonly name: string;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly port: number;
  /** Addresses that pods and this node call. */
  readonly clusterAddresses: readonly string[];
  /** Addresses that everybody calls: the load balancer's and spec.externalIPs. */
  readonly externalAddresses: readonly string[];
  readonly nodePort: number | undefined;
  /** For calls to clusterAddresses. */
  readonly internalBackends: readonly Backend[];
  /** For calls to externalAddresses and the node port. */
  readonly externalBackends: readonly Backend[];
  /** Whether a client's connections go to the same backend for as long as the backends stay the same. */
  readonly clientAffinity: boolean;
}

/** The rules for everything on this node, in an order that depends on names alone. */
export function deriveRules(services: Iterable<Service>, slices: Iterable<EndpointSlice>, nodeName: string): readonly ServicePortRules[] {
  const slicesByService = Map.groupBy(
    slices,
    ({ metadata }) => `${metadata.namespace ?? ''}/${metadata.labels?.[labels.endpointSliceService] ?? ''}`,
  );
  const rules: ServicePortRules[] = [];
  for (const service of services) {
    const { namespace = '', name } = service.metadata;
    const clusterAddresses = ipv4(service.spec?.clusterIPs ?? (service.spec?.clusterIP === undefined ? [] : [service.spec.clusterIP]));
    if (clusterAddresses.length === 0) continue;
    const own = (slicesByService.get(`${namespace}/${name}`) ?? []).filter(({ addressType }) => addressType === 'IPv4');
    const externalAddresses = [...ipv4(loadBalancerAddresses(service)), ...ipv4(service.spec?.externalIPs ?? [])];
    for (const port of service.spec?.ports ?? []) {
      const protocol = protocolOf(port.protocol);
      const local = (wanted: boolean): readonly Backend[] => backends(own, port.name ?? '', protocol, wanted ? nodeName : undefined);
      const exposed = service.spec?.type === 'NodePort' || service.spec?.type === 'LoadBalancer';
      rules.push({
        name: `${namespace}/${name}/${protocol}/${String(port.port)}`,
        protocol,
        port: port.port,
        clusterAddresses,
        externalAddresses,
        nodePort: exposed && port.nodePort !== undefined && port.nodePort > 0 ? port.nodePort : undefined,
        internalBackends: local(service.spec?.internalTrafficPolicy === 'Local'),
        externalBackends: local(exposed && service.spec?.externalTrafficPolicy === 'Local'),
        clientAffinity: service.spec?.sessionAffinity === 'ClientIP',
      });
    }
  }
  return rules.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The addresses that this node has to answer for because a load balancer's status names them. */
export function loadBalancerAddresses(service: Service): readonly string[] {
  if (service.spec?.type !== 'LoadBalancer') return [];
  return (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip, ipMode }) => (ip === undefined || ipMode === 'Proxy' ? [] : [ip]));
}

function ipv4(addresses: readonly string[]): readonly string[] {
  return addresses.filter((address) => /^\d+\.\d+\.\d+\.\d+$/.test(address));
}

function protocolOf(protocol: string | undefined): 'tcp' | 'udp' | 'sctp' {
  return protocol === 'UDP' ? 'udp' : protocol === 'SCTP' ? 'sctp' : 'tcp';
}

/**
 * The ready endpoints of a port, each once. When none is ready, those that are ending but still serve: better a pod that will
 * go soon than none (KEP-1669).
 */
function backends(slices: readonly EndpointSlice[], portName: string, protocol: string, onlyNode: string | undefined): readonly Backend[] {
  const ready = new Map<string, Backend>();
  const ending = new Map<string, Backend>();
  for (const slice of slices) {
    const port = slice.ports?.find((candidate) => (candidate.name ?? '') === portName && protocolOf(candidate.protocol) === protocol)?.port;
    if (port === undefined) continue;
    for (const { addresses, conditions, nodeName } of slice.endpoints ?? []) {
      const [address] = addresses;
      if (address === undefined || (onlyNode !== undefined && nodeName !== onlyNode)) continue;
      const key = `${address}:${String(port)}`;
      // An absent condition means true for ready, and is never set for endpoints that end.
      if (conditions?.ready !== false) ready.set(key, { address, port });
      else if (conditions.terminating === true && conditions.serving === true) ending.set(key, { address, port });
    }
  }
  const chosen = ready.size > 0 ? ready : ending;
  return [...chosen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, backend]) => backend);
}
