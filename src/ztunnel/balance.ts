import { isIPv4 } from './state/address.ts';
import type { MeshState } from './state/mesh-state.ts';
import type { Endpoint, LoadBalancer, LoadBalancingScope, Service, Workload } from './state/model.ts';

export interface Candidate {
  readonly endpoint: Endpoint;
  readonly workload: Workload;
}

/** What decides whether an endpoint serves a port: the caller's own call, or our way to a waypoint of which only HBONE matters. */
export type ResolutionMode = 'standard' | 'waypoint';

export interface BalanceOptions {
  readonly state: MeshState;
  readonly service: Service;
  readonly servicePort: number;
  readonly source: Workload;
  readonly mode: ResolutionMode;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/**
 * Picks an endpoint at random, weighted by capacity, among those that the service's preferences rank highest; undefined
 * when there is none.
 */
export function pickEndpoint(options: BalanceOptions): Candidate | undefined {
  const { state, service, source } = options;
  if (options.mode === 'standard' && !service.ports.has(options.servicePort)) return undefined;
  const eligible: Candidate[] = [];
  for (const candidate of state.endpoints(service)) if (isEligible(candidate, options)) eligible.push(candidate);
  const preferred = preferredCandidates(eligible, service.loadBalancer, source);
  return pickWeighted(preferred, ({ workload }) => workload.capacity, options.random);
}

/** The workload's port for a service port: its own map, then the service's target, then (application tunnels) the port itself. */
export function endpointPort({ endpoint, workload }: Candidate, service: Service, servicePort: number): number | undefined {
  const own = endpoint.ports.get(servicePort);
  if (own !== undefined) return own;
  const target = service.ports.get(servicePort);
  if (target !== undefined && target !== 0) return target;
  return workload.applicationTunnel === undefined ? undefined : servicePort;
}

/**
 * The address to use of a workload that has several: the one that was called if it is its own, else one of the families
 * that the service allows, in the family of the call if there is one.
 */
export function selectAddress(workload: Workload, called: string, families: Service['ipFamilies']): string | undefined {
  if (workload.addresses.includes(called)) return called;
  const allowed = workload.addresses.filter(
    (address) => families === undefined || families === 'Dual' || isIPv4(address) === (families === 'IPv4'),
  );
  return allowed.find((address) => isIPv4(address) === isIPv4(called)) ?? allowed[0];
}

/** Picks one at random in proportion to its weight; undefined when all weights are 0. */
export function pickWeighted<T>(items: readonly T[], weight: (item: T) => number, random: () => number): T | undefined {
  const total = items.reduce((sum, item) => sum + weight(item), 0);
  let point = random() * total;
  for (const item of items) {
    point -= weight(item);
    if (point < 0) return item;
  }
  return undefined;
}

function isEligible(candidate: Candidate, { service, servicePort, source, mode }: BalanceOptions): boolean {
  const { endpoint, workload } = candidate;
  const hasAddress = workload.addresses.length > 0 || workload.hostname !== '';
  // Without an address it can only be reached through the gateway of its network, which must be another one.
  if (!hasAddress && (workload.network === source.network || workload.networkGateway === undefined)) return false;
  const target = service.ports.get(servicePort);
  if (mode === 'waypoint') return target !== undefined || workload.applicationTunnel !== undefined;
  return endpoint.ports.has(servicePort) || (target ?? 0) !== 0;
}

function preferredCandidates(candidates: readonly Candidate[], balancer: LoadBalancer | undefined, source: Workload): readonly Candidate[] {
  if (balancer === undefined || balancer.mode === 'Standard' || balancer.mode === 'Passthrough') return candidates;
  const scopes = balancer.routingPreferences;
  let ranked = candidates.map((candidate) => ({ candidate, ...rankOf(candidate.workload, scopes, source) }));
  if (balancer.mode === 'Strict') ranked = ranked.filter(({ matched }) => matched === scopes.length);
  const best = ranked.reduce((highest, { rank }) => Math.max(highest, rank), 0);
  return ranked.filter(({ rank }) => rank === best).map(({ candidate }) => candidate);
}

/**
 * How many scopes match from the front, up to the first that does not. A leading NETWORK is special: a match counts so
 * much that the own network always wins, a mismatch leaves the other scopes to decide.
 */
function rankOf(
  workload: Workload,
  scopes: readonly LoadBalancingScope[],
  source: Workload,
): { readonly matched: number; readonly rank: number } {
  const networkFirst = scopes[0] === 'Network';
  let matched = 0;
  let bonus = 0;
  for (const scope of scopes) {
    const matches = scopeOf(workload, scope) === scopeOf(source, scope);
    if (networkFirst && scope === 'Network') {
      if (!matches) continue;
      bonus = scopes.length - 1;
    }
    if (!matches) break;
    matched += 1;
  }
  return { matched, rank: matched + bonus };
}

function scopeOf(workload: Workload, scope: LoadBalancingScope): string {
  switch (scope) {
    case 'Region':
      return workload.locality.region;
    case 'Zone':
      return workload.locality.zone;
    case 'Subzone':
      return workload.locality.subzone;
    case 'Node':
      return workload.node;
    case 'Cluster':
      return workload.clusterId;
    case 'Network':
      return workload.network;
  }
}
