import type { FederatedService } from '../api/gen/isthmus/peering_pb.js';

/** One cluster's claim that a service is global there. */
export interface ServiceClaim {
  /** Empty for this cluster, so that its own truth comes first. */
  readonly cluster: string;
  readonly service: FederatedService;
  /** Ports that endpoints of that cluster really have; undefined when it has none that say. Only {@link mergeCommon} asks. */
  readonly offered?: ReadonlySet<number> | undefined;
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
  /** Clusters (empty: this one) whose endpoints the service cannot have, since they share no port with the others. */
  readonly leftOut: readonly string[];
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
    leftOut: [],
  };
}

/**
 * As {@link mergeClaims}, for an unmodified istiod. There a ServiceEntry's port is a port of every endpoint that it selects: one that has no
 * such port gets the connections all the same, at whatever listens there. So only the ports that all clusters have are those of the service. A
 * cluster that has none of them is left out, so that it cannot take the ports away from those before it.
 *
 * A port that a cluster exports and that none of its endpoints has (yet) is not one that it has.
 */
export function mergeCommon(claims: readonly [ServiceClaim, ...ServiceClaim[]]): GlobalService {
  const ordered = [...claims].sort((a, b) => (a.cluster < b.cluster ? -1 : a.cluster > b.cluster ? 1 : 0));
  const kept: ServiceClaim[] = [];
  let common: ReadonlySet<number> | undefined;
  const leftOut: string[] = [];
  const conflicts: string[] = [];
  for (const claim of ordered) {
    const numbers = portsOf(claim);
    const shared: ReadonlySet<number> = common === undefined ? numbers : common.intersection(numbers);
    if (shared.size === 0) {
      leftOut.push(claim.cluster);
      const has = numbers.size === 0 ? 'none of its ports' : `only port ${[...numbers].sort((a, b) => a - b).join(', ')}`;
      conflicts.push(`${claim.cluster || 'this cluster'} has ${has}, so its endpoints are left out`);
    } else {
      common = shared;
      kept.push(claim);
    }
  }
  const [first = claims[0], ...others] = kept;
  const merged = mergeClaims([first, ...others]);
  for (const { number } of merged.ports) {
    if (common?.has(number) === true) continue;
    const lacking = kept.filter((claim) => !portsOf(claim).has(number)).map(({ cluster }) => cluster || 'this cluster');
    conflicts.push(`port ${number} is not in ${lacking.join(', ')}, so the global name lacks it`);
  }
  return {
    ...merged,
    ports: merged.ports.filter(({ number }) => common?.has(number) === true),
    conflicts: [...merged.conflicts, ...conflicts],
    leftOut,
  };
}

function portsOf({ service, offered }: ServiceClaim): ReadonlySet<number> {
  const claimed = new Set(service.ports.map(({ number }) => number));
  return offered === undefined ? claimed : claimed.intersection(offered);
}

/** Two clusters may give one name to different numbers: the port of the later claim is called by its number as well. */
function distinctNames(ports: readonly GlobalPort[]): GlobalPort[] {
  const used = new Set<string>();
  return ports.map(({ name, number, protocol }) => {
    // A Service's port may be called by 63 characters, an entry's by 62.
    let unique = name.length <= 62 ? name : `${name.slice(0, 50).replace(/-+$/, '')}-${number}`;
    for (let attempt = 0; used.has(unique); attempt++) unique = `${name.slice(0, 50)}-${number}${attempt === 0 ? '' : `-${attempt}`}`;
    used.add(unique);
    return { name: unique, number, protocol };
  });
}
