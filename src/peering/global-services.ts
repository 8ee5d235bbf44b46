import type { FederatedService } from '../api/gen/isthmus/peering_pb.js';

/** One cluster's claim that a service is global there. */
export interface ServiceClaim {
  /** Empty for this cluster, so that its own truth comes first. */
  readonly cluster: string;
  readonly service: FederatedService;
}

export interface GlobalPort {
  readonly name: string;
  readonly number: number;
  /** Empty: nobody said. */
  readonly protocol: string;
}

/** A global service as this cluster sees it: what all clusters that export it say, put together. */
export interface GlobalService {
  readonly namespace: string;
  readonly name: string;
  /** `global`, unless all say otherwise. */
  readonly scope: string;
  /** The union, by number. */
  readonly ports: readonly GlobalPort[];
  readonly subjectAltNames: readonly string[];
  /** Where the claims disagree; one sentence each. */
  readonly conflicts: readonly string[];
}

/**
 * Puts claims on one service together. The result does not depend on their order: this cluster's claim counts first, then
 * that of the cluster with the least id.
 */
export function mergeClaims(claims: readonly [ServiceClaim, ...ServiceClaim[]]): GlobalService {
  const ordered = [...claims].sort((a, b) => (a.cluster < b.cluster ? -1 : a.cluster > b.cluster ? 1 : 0));
  const [first = claims[0]] = ordered;
  const ports = new Map<number, GlobalPort & { readonly cluster: string }>();
  const conflicts: string[] = [];
  for (const { cluster, service } of ordered) {
    for (const { name, number, protocol } of service.ports) {
      const known = ports.get(number);
      if (known === undefined) ports.set(number, { name, number, protocol, cluster });
      else if (known.protocol !== protocol) {
        conflicts.push(
          `port ${number} is ${protocol || 'of no stated protocol'} in ${cluster || 'this cluster'}, ` +
            `${known.protocol || 'of no stated protocol'} in ${known.cluster || 'this cluster'}, which counts`,
        );
      }
    }
  }
  return {
    namespace: first.service.namespace,
    name: first.service.name,
    scope: first.service.scope,
    ports: distinctNames([...ports.values()]).sort((a, b) => a.number - b.number),
    subjectAltNames: [...new Set(ordered.flatMap(({ service }) => service.subjectAltNames))].sort(),
    conflicts,
  };
}

/** Two clusters may give one name to different numbers: the port of the later claim is called by its number as well. */
function distinctNames(ports: readonly GlobalPort[]): GlobalPort[] {
  const used = new Set<string>();
  return ports.map(({ name, number, protocol }) => {
    let unique = name;
    for (let attempt = 0; used.has(unique); attempt++) unique = `${name.slice(0, 50)}-${number}${attempt === 0 ? '' : `-${attempt}`}`;
    used.add(unique);
    return { name: unique, number, protocol };
  });
}
