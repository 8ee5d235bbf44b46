import type { EndpointSlice, Namespace, Service } from '../../api/kubernetes.ts';
import { labels } from '../../api/names.ts';

/** What cluster DNS knows of one Service. */
export interface DnsService {
  readonly namespace: string;
  readonly name: string;
  /** Target of a CNAME, for type ExternalName. */
  readonly externalName: string | undefined;
  /** Empty for a headless service. */
  readonly clusterAddresses: readonly string[];
  readonly ports: readonly DnsPort[];
  readonly endpoints: readonly DnsEndpoint[];
}

export interface DnsPort {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
}

/** A ready endpoint. */
export interface DnsEndpoint {
  /** Its label below the service's name: the pod's host name, or its address with dashes. */
  readonly host: string;
  readonly address: string;
  readonly ports: readonly DnsPort[];
}

/** A snapshot of what names there are; made anew after changes, never changed. */
export class DnsDirectory {
  readonly #namespaces: ReadonlySet<string>;
  readonly #services = new Map<string, DnsService>();
  readonly #namesByAddress = new Map<string, readonly string[]>();

  constructor(objects: { namespaces: Iterable<Namespace>; services: Iterable<Service>; slices: Iterable<EndpointSlice> }) {
    this.#namespaces = new Set([...objects.namespaces].map(({ metadata }) => metadata.name));
    const slices = Map.groupBy(
      objects.slices,
      ({ metadata }) => `${metadata.namespace ?? ''}/${metadata.labels?.[labels.endpointSliceService] ?? ''}`,
    );
    for (const service of objects.services) {
      const { namespace = '', name } = service.metadata;
      const known = dnsService(service, slices.get(`${namespace}/${name}`) ?? []);
      this.#services.set(`${namespace}/${name}`, known);
      const below = `${name}.${namespace}.svc`;
      for (const address of known.clusterAddresses) this.#addName(address, below);
      if (known.clusterAddresses.length > 0) continue;
      for (const { address, host } of known.endpoints) this.#addName(address, `${host}.${below}`);
    }
  }

  #addName(address: string, name: string): void {
    this.#namesByAddress.set(address, [...(this.#namesByAddress.get(address) ?? []), name]);
  }

  hasNamespace(name: string): boolean {
    return this.#namespaces.has(name);
  }

  service(namespace: string, name: string): DnsService | undefined {
    return this.#services.get(`${namespace}/${name}`);
  }

  /** The names of an address, without the cluster's domain. */
  namesOf(address: string): readonly string[] {
    return this.#namesByAddress.get(address) ?? [];
  }
}

function dnsService(service: Service, slices: readonly EndpointSlice[]): DnsService {
  const { namespace = '', name } = service.metadata;
  const { clusterIP, clusterIPs, externalName, type, ports } = service.spec ?? {};
  const addresses = clusterIPs ?? (clusterIP === undefined ? [] : [clusterIP]);
  return {
    namespace,
    name,
    externalName: type === 'ExternalName' ? externalName : undefined,
    clusterAddresses: addresses.filter((address) => address !== 'None' && address !== ''),
    ports: (ports ?? []).map((port) => ({ name: port.name ?? '', protocol: (port.protocol ?? 'TCP').toLowerCase(), port: port.port })),
    endpoints: slices.flatMap(endpointsOf),
  };
}

function endpointsOf(slice: EndpointSlice): readonly DnsEndpoint[] {
  const ports = (slice.ports ?? []).flatMap(({ name, protocol, port }) =>
    port === undefined ? [] : [{ name: name ?? '', protocol: (protocol ?? 'TCP').toLowerCase(), port }],
  );
  return (slice.endpoints ?? []).flatMap(({ addresses, conditions, hostname }) => {
    const [address] = addresses;
    if (address === undefined || conditions?.ready === false) return [];
    return [{ host: hostname ?? address.replace(/[.:]/g, '-'), address, ports }];
  });
}
