import { IsthmusError } from '../core/index.ts';
import { endpointPort, pickEndpoint, pickWeighted, selectAddress, type ResolutionMode } from './balance.ts';
import { formatHostPort } from './state/address.ts';
import { isService, type MeshState } from './state/mesh-state.ts';
import { workloadIdentity, type GatewayAddress, type Service, type Workload } from './state/model.ts';

/** Where a captured connection goes, and how. */
export type OutboundRequest =
  | {
      readonly protocol: 'HBONE';
      /** The next hop's address and HBONE port. */
      readonly destination: SocketTarget;
      /** What the next hop is asked for. */
      readonly authority: string;
      /** One of these the next hop has to prove. */
      readonly expectedIdentities: readonly string[];
      /** The next hop: the endpoint, or a waypoint. */
      readonly workload: Workload;
      /** The service that was called, even when a waypoint is the next hop. */
      readonly service: Service | undefined;
    }
  | {
      readonly protocol: 'TCP';
      readonly destination: SocketTarget;
      /** undefined: not in the mesh, passed through to where it was going. */
      readonly workload: Workload | undefined;
      readonly service: Service | undefined;
    };

export interface SocketTarget {
  readonly host: string;
  readonly port: number;
}

export interface OutboundOptions {
  readonly state: MeshState;
  /** The workload whose connection it is. */
  readonly source: Workload;
  /** The client's address. */
  readonly client: string;
  /** Where the connection was going. */
  readonly target: SocketTarget;
  /** Our network. */
  readonly network: string;
  readonly hbonePort: number;
  readonly random: () => number;
  /** Resolves the hostname of a workload without addresses. */
  readonly resolveHostname: (hostname: string) => Promise<readonly string[]>;
}

/** A way to a workload: the service it was reached by, and the port on it. */
interface Upstream {
  readonly workload: Workload;
  readonly service: Service | undefined;
  readonly address: string | undefined;
  readonly port: number;
}

/**
 * Decides what to do with a captured connection. What the mesh knows is never bypassed: a service without endpoints, an
 * unknown waypoint or a destination that only a gateway could reach are errors (codes ZTUNNEL_NO_HEALTHY_UPSTREAM,
 * ZTUNNEL_UNKNOWN_WAYPOINT, ZTUNNEL_NO_ROUTE). What it does not know passes through.
 */
export async function decideOutbound(options: OutboundOptions): Promise<OutboundRequest> {
  const { state, source, target, network } = options;
  const found = state.findAddress(network, target.host, source.namespace);
  const service = found !== undefined && isService(found) ? found : undefined;
  if (service !== undefined) {
    const waypoint = serviceWaypoint(service, options.random);
    if (waypoint !== undefined) return viaWaypoint(waypoint, service, options);
  }
  const upstream = findUpstream(options);
  if (upstream === undefined) return { protocol: 'TCP', destination: target, workload: undefined, service: undefined };
  const { workload } = upstream;
  if (workload.network !== source.network)
    throw noRoute(workload, `it is on network "${workload.network}", which only a gateway could reach`);
  if (service === undefined && workload.waypoint !== undefined && !isWaypointOf(options, workload)) {
    return viaWaypoint(workload.waypoint, upstream.service, options);
  }
  return direct(upstream, options);
}

async function direct(upstream: Upstream, options: OutboundOptions): Promise<OutboundRequest> {
  const { workload, service, port } = upstream;
  const host = upstream.address ?? (await resolveWorkload(workload, options));
  if (workload.protocol === 'TCP') return { protocol: 'TCP', destination: { host, port }, workload, service };
  return {
    protocol: 'HBONE',
    destination: { host, port: options.hbonePort },
    authority: formatHostPort(host, port),
    expectedIdentities: identitiesOf(workload, service),
    workload,
    service,
  };
}

/** The next hop is a waypoint, which is told where the connection was going. */
function viaWaypoint(gateway: GatewayAddress, service: Service | undefined, options: OutboundOptions): OutboundRequest {
  const { source, target } = options;
  const waypoint = findWaypoint(gateway, options);
  if (waypoint === undefined) throw new IsthmusError('ZTUNNEL_UNKNOWN_WAYPOINT', `unknown waypoint: ${describeGateway(gateway)}`);
  const { workload, address, port } = waypoint;
  if (workload.network !== source.network || address === undefined) {
    throw noRoute(workload, 'it is a waypoint that cannot be reached from this network');
  }
  return {
    protocol: 'HBONE',
    destination: { host: address, port },
    authority: formatHostPort(target.host, target.port),
    expectedIdentities: identitiesOf(workload, waypoint.service),
    workload,
    service,
  };
}

function findUpstream(options: OutboundOptions): Upstream | undefined {
  const { state, source, target, network } = options;
  const service = state.services.byVip(network, target.host, source.namespace);
  if (service !== undefined) {
    // Addresses that the application resolved itself: nothing to choose.
    if (service.loadBalancer?.mode === 'Passthrough') return undefined;
    const upstream = viaService(service, target.port, 'standard', options);
    if (upstream === undefined) {
      throw new IsthmusError('ZTUNNEL_NO_HEALTHY_UPSTREAM', `no healthy upstream: ${formatHostPort(target.host, target.port)}`);
    }
    return upstream;
  }
  const workload = state.workloads.byAddress(network, target.host);
  return workload === undefined ? undefined : { workload, service: undefined, address: target.host, port: target.port };
}

function viaService(service: Service, servicePort: number, mode: ResolutionMode, options: OutboundOptions): Upstream | undefined {
  const { state, source, random, target } = options;
  const picked = pickEndpoint({ state, service, servicePort, source, mode, random });
  if (picked === undefined) return undefined;
  const port = endpointPort(picked, service, servicePort);
  if (port === undefined) return undefined;
  return { workload: picked.workload, service, address: selectAddress(picked.workload, target.host, service.ipFamilies), port };
}

function findWaypoint(gateway: GatewayAddress, options: OutboundOptions): Upstream | undefined {
  const found = options.state.findGateway(gateway, options.source.namespace);
  // Older control planes leave the port out.
  const port = gateway.hboneMtlsPort === 0 ? options.hbonePort : gateway.hboneMtlsPort;
  if (found === undefined) return undefined;
  if (isService(found)) return viaService(found, port, 'waypoint', options);
  return { workload: found, service: undefined, address: selectAddress(found, options.target.host, undefined), port };
}

/** A waypoint of the service by weight; the plain one when no weighted one has a weight. */
function serviceWaypoint(service: Service, random: () => number): GatewayAddress | undefined {
  return pickWeighted(service.weightedWaypoints, ({ weight }) => weight, random)?.destination ?? service.waypoint;
}

/** Whether the client is the workload's own waypoint, which must not be sent to itself. */
function isWaypointOf({ state, source, client }: OutboundOptions, workload: Workload): boolean {
  if (workload.waypoint === undefined) return false;
  const waypoint = state.findGateway(workload.waypoint, source.namespace);
  if (waypoint === undefined) return false;
  if (isService(waypoint)) return state.isEndpoint(waypoint, source.uid) && source.addresses.includes(client);
  return workloadIdentity(waypoint) === workloadIdentity(source) && waypoint.addresses.includes(client);
}

async function resolveWorkload(workload: Workload, options: OutboundOptions): Promise<string> {
  const resolved = workload.hostname === '' ? [] : await options.resolveHostname(workload.hostname);
  const sameFamily = resolved.filter((address) => address.includes(':') === options.target.host.includes(':'));
  const usable = sameFamily.length > 0 ? sameFamily : resolved;
  const picked = usable[Math.floor(options.random() * usable.length)];
  if (picked === undefined) {
    throw new IsthmusError('ZTUNNEL_NO_HEALTHY_UPSTREAM', `no ip addresses were resolved for workload: ${workload.uid}`);
  }
  return picked;
}

/** The workload's own identity, and those that the service it was reached by is known to have. */
function identitiesOf(workload: Workload, service: Service | undefined): string[] {
  const names = (service?.subjectAltNames ?? []).filter((name) => /^spiffe:\/\/[^/]*\/ns\/[^/]*\/sa\/[^/]*$/.test(name));
  return [...new Set([workloadIdentity(workload), ...names])];
}

function describeGateway(gateway: GatewayAddress): string {
  return gateway.kind === 'hostname' ? `${gateway.namespace}/${gateway.hostname}` : `${gateway.network}/${gateway.address}`;
}

function noRoute(workload: Workload, why: string): IsthmusError {
  return new IsthmusError('ZTUNNEL_NO_ROUTE', `no valid routing destination for workload: ${workload.uid}; ${why}`, {
    hint: 'on a flat network all clusters use one value of topology.istio.io/network',
  });
}
