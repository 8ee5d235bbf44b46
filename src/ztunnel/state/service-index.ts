import { rangeContains } from './address.ts';
import { addressKey, serviceKey, type Service, type ServiceKey } from './model.ts';

/** Services by key, by hostname and by virtual address. */
export class ServiceIndex {
  readonly #byKey = new Map<ServiceKey, Service>();
  readonly #byHostname = new Map<string, Service[]>();
  readonly #byVip = new Map<string, Service[]>();
  readonly #withRanges = new Set<Service>();

  get size(): number {
    return this.#byKey.size;
  }

  values(): IterableIterator<Service> {
    return this.#byKey.values();
  }

  get(key: ServiceKey): Service | undefined {
    return this.#byKey.get(key);
  }

  /** All services of a hostname, whatever their namespace and visibility, in the order they arrived. */
  byHostname(hostname: string): readonly Service[] {
    return this.#byHostname.get(hostname) ?? [];
  }

  /** The service a client reaches at an address: an exact one before one by range, the client's own namespace first. */
  byVip(network: string, address: string, clientNamespace: string): Service | undefined {
    return (
      bestForNamespace(this.#byVip.get(addressKey(network, address)) ?? [], clientNamespace) ??
      this.#byRange(network, address, clientNamespace)
    );
  }

  set(service: Service): void {
    const key = serviceKey(service.namespace, service.hostname);
    this.delete(key);
    this.#byKey.set(key, service);
    if (service.cidrVips.length > 0) this.#withRanges.add(service);
    for (const [index, name] of this.#names(service)) {
      const list = index.get(name);
      if (list === undefined) index.set(name, [service]);
      else if (!list.includes(service)) list.push(service);
    }
  }

  delete(key: ServiceKey): void {
    const service = this.#byKey.get(key);
    if (service === undefined) return;
    this.#byKey.delete(key);
    this.#withRanges.delete(service);
    for (const [index, name] of this.#names(service)) {
      const rest = (index.get(name) ?? []).filter((other) => other !== service);
      if (rest.length === 0) index.delete(name);
      else index.set(name, rest);
    }
  }

  /** Ranks by namespace, then by the length of the prefix, then canonical, as upstream does. */
  #byRange(network: string, address: string, clientNamespace: string): Service | undefined {
    let best: { readonly service: Service; readonly rank: number } | undefined;
    for (const service of this.#withRanges) {
      if (!isVisible(service, clientNamespace)) continue;
      for (const range of service.cidrVips) {
        if (range.network !== network || !rangeContains(range, address)) continue;
        const rank = (service.namespace === clientNamespace ? 1024 : 0) + range.length * 2 + (service.canonical ? 1 : 0);
        if (best === undefined || rank > best.rank) best = { service, rank };
      }
    }
    return best?.service;
  }

  *#names(service: Service): Generator<[Map<string, Service[]>, string]> {
    yield [this.#byHostname, service.hostname];
    for (const vip of service.vips) yield [this.#byVip, addressKey(vip.network, vip.address)];
  }
}

export function isVisible(service: Service, clientNamespace: string): boolean {
  return service.visibility === 'Public' || service.namespace === clientNamespace;
}

/**
 * Among services that share an address or a hostname: the client's own namespace, then the last canonical one, then the
 * first. Only visible ones count.
 */
export function bestForNamespace(services: readonly Service[], clientNamespace: string): Service | undefined {
  const visible = services.filter((service) => isVisible(service, clientNamespace));
  return visible.find(({ namespace }) => namespace === clientNamespace) ?? visible.findLast(({ canonical }) => canonical) ?? visible[0];
}
