import { IsthmusError } from '../core/index.ts';
import type { SocketTarget } from './outbound-request.ts';
import { formatHostPort, parseHostPort } from './state/address.ts';
import { isService, type MeshState } from './state/mesh-state.ts';
import { bestForNamespace } from './state/service-index.ts';
import { serviceKey, type Service, type Workload } from './state/model.ts';

export interface InboundRequest {
  /** The application: the pod's own address, always. */
  readonly destination: SocketTarget;
  /** The application only listens on loopback, behind a PROXY header that says the rest. */
  readonly loopback: boolean;
  readonly proxyProtocol: boolean;
  /** What was asked for, for the PROXY header. */
  readonly tunnelTarget: SocketTarget;
}

export interface InboundOptions {
  readonly state: MeshState;
  readonly authority: string;
  /** The address that the tunnel's connection came to. */
  readonly podAddress: string;
  readonly workload: Workload;
  readonly network: string;
  readonly illegalPorts: ReadonlySet<number>;
}

/**
 * Decides where a CONNECT goes inside the pod. ZTUNNEL_DESTINATION_MISMATCH (answered 400) when the authority is none or
 * names another pod; ZTUNNEL_UNKNOWN_DESTINATION and ZTUNNEL_SELF_CALL (answered 503).
 */
export function decideInbound(options: InboundOptions): InboundRequest {
  const { state, authority, podAddress, workload, illegalPorts } = options;
  const asked = parseHostPort(authority);
  if (asked === undefined) throw new IsthmusError('ZTUNNEL_DESTINATION_MISMATCH', `invalid CONNECT address ${authority}`);
  let port = asked.port;
  let tunnelHost = asked.host;
  if (asked.isAddress) {
    if (!mayAskFor(asked.host, options)) {
      throw new IsthmusError('ZTUNNEL_DESTINATION_MISMATCH', `ip mismatch: ${podAddress} != ${asked.host}`);
    }
  } else {
    const service = bestForNamespace(state.services.byHostname(asked.host), workload.namespace);
    if (service === undefined) throw unknownDestination(`no service or workload for hostname: ${asked.host}`);
    port = resolvePort(service, workload, asked.port);
    tunnelHost = service.vips.find(({ network }) => network === options.network)?.address ?? podAddress;
  }
  if (illegalPorts.has(port)) throw new IsthmusError('ZTUNNEL_SELF_CALL', 'attempted recursive call to ourselves');
  const tunnel = workload.applicationTunnel;
  const proxyProtocol = tunnel?.protocol === 'PROXY';
  return {
    destination: { host: podAddress, port: tunnel?.port ?? port },
    loopback: proxyProtocol,
    proxyProtocol,
    tunnelTarget: { host: tunnelHost, port: asked.port },
  };
}

/**
 * The service that the client has called, for telemetry: the one it names, if this workload belongs to it; else the first
 * whose port leads to this one.
 */
export function guessService(state: MeshState, workload: Workload, port: number, namedHost: string | undefined): Service | undefined {
  const services = [...workload.services.keys()].map((key) => state.services.get(key)).filter((service) => service !== undefined);
  const named = services.find(({ hostname }) => hostname === namedHost);
  if (named !== undefined) return named;
  return services.find((service) =>
    [...service.ports].some(
      ([servicePort, target]) =>
        target === port || workload.services.get(serviceKey(service.namespace, service.hostname))?.get(servicePort) === port,
    ),
  );
}

/** An address may be asked for when it is the pod's own, or when this pod is the waypoint of whatever it stands for. */
function mayAskFor(address: string, { state, podAddress, workload, network }: InboundOptions): boolean {
  if (address === podAddress || workload.applicationTunnel !== undefined) return true;
  const target = state.findAddress(network, address, workload.namespace);
  if (target?.waypoint === undefined) return false;
  const waypoint = state.findGateway(target.waypoint, workload.namespace);
  if (waypoint === undefined) return false;
  return isService(waypoint) ? state.isEndpoint(waypoint, workload.uid) : waypoint.uid === workload.uid;
}

function resolvePort(service: Service, workload: Workload, servicePort: number): number {
  const own = workload.services.get(serviceKey(service.namespace, service.hostname))?.get(servicePort);
  const port = own ?? service.ports.get(servicePort) ?? 0;
  if (port === 0)
    throw unknownDestination(`requested service ${formatHostPort(service.hostname, servicePort)} found, but cannot resolve port`);
  return port;
}

function unknownDestination(message: string): IsthmusError {
  return new IsthmusError('ZTUNNEL_UNKNOWN_DESTINATION', message);
}
