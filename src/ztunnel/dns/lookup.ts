import type { NetworkAddress, Service } from '../state/model.ts';
import { aliasesOf, withWildcards } from './names.ts';
import type { ServiceResolver } from './resolver.ts';

/** The domain of global services. It exists in the mesh alone: what the mesh does not know there does not exist. */
export const meshDomain = 'mesh.internal';

export type AddressFamily = 'A' | 'AAAA';

/** What the mesh knows about a name. */
export type Lookup =
  | {
      readonly kind: 'found';
      /** In random order; empty when the service has none of the family. */
      readonly addresses: readonly string[];
      /** Set when the query carried a search domain: the name without it, which owns the addresses. */
      readonly canonicalName: string | undefined;
    }
  /** Under {@link meshDomain}, and not known. */
  | { readonly kind: 'nonexistent' }
  /** Not ours to say. */
  | { readonly kind: 'unknown' };

export interface LookupOptions {
  readonly resolver: ServiceResolver;
  readonly client: { readonly namespace: string; readonly network: string };
  readonly clusterDomain: string;
  /** Whether AAAA is answered at all. */
  readonly ipv6: boolean;
  /** Default Math.random. */
  readonly random?: () => number;
}

/** Looks a name (lower case, no dot at the end) up for a client. A pure function of the mesh. */
export function lookupName(query: string, family: AddressFamily, options: LookupOptions): Lookup {
  const { client, clusterDomain } = options;
  const aliases = aliasesOf(query, { namespace: client.namespace, clusterDomain });
  for (const alias of aliases) {
    for (const hostname of withWildcards(alias.name)) {
      const service = bestService(hostname, options);
      if (service === undefined) continue;
      return {
        kind: 'found',
        addresses: addressesOf(service, family, options),
        canonicalName: hostname.startsWith('*.') ? undefined : alias.stripped,
      };
    }
  }
  return aliases.some(({ name }) => name.endsWith(`.${meshDomain}`)) ? { kind: 'nonexistent' } : { kind: 'unknown' };
}

/** Which of a hostname's services a client means: its own namespace's, then the canonical one, then the first. */
function bestService(hostname: string, { resolver, client, clusterDomain }: LookupOptions): Service | undefined {
  const candidates = resolver.services(hostname).filter(
    (service) =>
      // Without an address only Kubernetes' own services are answered: headless ones. Others are resolved outside.
      (service.vips.length > 0 || service.hostname.endsWith(`.svc.${clusterDomain}`)) &&
      (service.visibility === 'Public' || service.namespace === client.namespace),
  );
  return (
    candidates.find(({ namespace }) => namespace === client.namespace) ?? candidates.find(({ canonical }) => canonical) ?? candidates[0]
  );
}

function addressesOf(service: Service, family: AddressFamily, options: LookupOptions): readonly string[] {
  if (family === 'AAAA' && (!options.ipv6 || service.ipFamilies === 'IPv4')) return [];
  if (family === 'A' && service.ipFamilies === 'IPv6') return [];
  const isOfFamily = (address: string): boolean => address.includes(':') === (family === 'AAAA');
  const found =
    service.vips.length > 0
      ? service.vips.filter((vip) => isReachable(vip, options) && isOfFamily(vip.address)).map(({ address }) => address)
      : [...options.resolver.endpointAddresses(service)].flatMap((addresses) => addresses.find(isOfFamily) ?? []);
  return shuffled(found, options.random ?? Math.random);
}

function isReachable(vip: NetworkAddress, { client }: LookupOptions): boolean {
  return vip.network === client.network;
}

/** Fisher-Yates. */
function shuffled<T>(items: readonly T[], random: () => number): readonly T[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const [a, b] = [result[last], result[other]];
    if (a === undefined || b === undefined) continue;
    result[last] = b;
    result[other] = a;
  }
  return result;
}
