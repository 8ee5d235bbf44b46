import {
  ApplicationTunnel_Protocol,
  IPFamilies,
  LoadBalancing_HealthPolicy,
  LoadBalancing_Mode,
  LoadBalancing_Scope,
  NetworkMode,
  Service_Visibility,
  TunnelProtocol,
  WorkloadStatus,
  WorkloadType,
  type GatewayAddress as WireGateway,
  type LoadBalancing,
  type NetworkAddress as WireAddress,
  type Port,
  type Service as WireService,
  type Workload as WireWorkload,
} from '../../api/gen/istio/workload_pb.js';
import { IsthmusError } from '../../core/index.ts';
import { addressFromBytes } from './address.ts';
import type { GatewayAddress, LoadBalancer, LoadBalancingScope, NetworkAddress, NetworkRange, Service, Workload } from './model.ts';

/**
 * A workload as istiod sends it, with upstream's defaults. Throws ZTUNNEL_RESOURCE_REJECTED for what must not be guessed
 * at: addresses of odd length, gateways without a destination, enum values of a newer control plane.
 */
export function decodeWorkload(wire: WireWorkload): Workload {
  const tunnel = wire.applicationTunnel;
  return {
    uid: wire.uid,
    name: wire.name,
    namespace: wire.namespace,
    trustDomain: wire.trustDomain === '' ? 'cluster.local' : wire.trustDomain,
    serviceAccount: wire.serviceAccount === '' ? 'default' : wire.serviceAccount,
    network: wire.network,
    addresses: wire.addresses.map(decodeBytes),
    hostname: wire.hostname,
    protocol: pick(wire.tunnelProtocol, { [TunnelProtocol.NONE]: 'TCP', [TunnelProtocol.HBONE]: 'HBONE' } as const, 'tunnel_protocol'),
    networkMode: pick(
      wire.networkMode,
      { [NetworkMode.STANDARD]: 'Standard', [NetworkMode.HOST_NETWORK]: 'HostNetwork' } as const,
      'network_mode',
    ),
    waypoint: wire.waypoint === undefined ? undefined : decodeGateway(wire.waypoint),
    networkGateway: wire.networkGateway === undefined ? undefined : decodeGateway(wire.networkGateway),
    node: wire.node,
    canonicalName: wire.canonicalName,
    canonicalRevision: wire.canonicalRevision,
    // An unknown type only changes a telemetry key, so it is no reason to refuse the workload.
    workloadType: workloadTypes[wire.workloadType] ?? 'deployment',
    workloadName: wire.workloadName,
    nativeTunnel: wire.nativeTunnel,
    applicationTunnel:
      tunnel === undefined
        ? undefined
        : {
            protocol: pick(
              tunnel.protocol,
              { [ApplicationTunnel_Protocol.NONE]: 'NONE', [ApplicationTunnel_Protocol.PROXY]: 'PROXY' } as const,
              'application_tunnel.protocol',
            ),
            port: tunnel.port === 0 ? undefined : decodePort(tunnel.port),
          },
    services: new Map(Object.entries(wire.services).map(([key, ports]) => [checkServiceKey(key), decodePorts(ports.ports)])),
    authorizationPolicies: wire.authorizationPolicies,
    status: pick(wire.status, { [WorkloadStatus.HEALTHY]: 'Healthy', [WorkloadStatus.UNHEALTHY]: 'Unhealthy' } as const, 'status'),
    clusterId: wire.clusterId === '' ? 'Kubernetes' : wire.clusterId,
    locality: { region: wire.locality?.region ?? '', zone: wire.locality?.zone ?? '', subzone: wire.locality?.subzone ?? '' },
    capacity: wire.capacity ?? 1,
  };
}

/** A service as istiod sends it; throws like {@link decodeWorkload}. */
export function decodeService(wire: WireService): Service {
  const exact = wire.addresses.filter(({ length }) => length === undefined);
  const ranges = wire.addresses.filter(({ length }) => length !== undefined);
  return {
    name: wire.name,
    namespace: wire.namespace,
    hostname: wire.hostname,
    vips: exact.map(decodeNetworkAddress),
    cidrVips: ranges.map(decodeRange),
    ports: decodePorts(wire.ports),
    subjectAltNames: wire.subjectAltNames,
    waypoint: wire.waypoint === undefined ? undefined : decodeGateway(wire.waypoint),
    weightedWaypoints: wire.weightedWaypoints.map(({ destination, weight }) => {
      if (destination === undefined) throw rejected('weighted waypoint without a destination');
      return { destination: decodeGateway(destination), weight };
    }),
    loadBalancer: wire.loadBalancing === undefined ? undefined : decodeLoadBalancer(wire.loadBalancing),
    ipFamilies: pick(
      wire.ipFamilies,
      {
        [IPFamilies.AUTOMATIC]: undefined,
        [IPFamilies.IPV4_ONLY]: 'IPv4',
        [IPFamilies.IPV6_ONLY]: 'IPv6',
        [IPFamilies.DUAL]: 'Dual',
      } as const,
      'ip_families',
    ),
    canonical: wire.canonical,
    visibility: wire.visibility === Service_Visibility.NAMESPACE ? 'Namespace' : 'Public',
  };
}

const workloadTypes: Readonly<Record<number, Workload['workloadType']>> = {
  [WorkloadType.DEPLOYMENT]: 'deployment',
  [WorkloadType.CRONJOB]: 'cronjob',
  [WorkloadType.POD]: 'pod',
  [WorkloadType.JOB]: 'job',
};

const scopes: Readonly<Record<number, LoadBalancingScope>> = {
  [LoadBalancing_Scope.REGION]: 'Region',
  [LoadBalancing_Scope.ZONE]: 'Zone',
  [LoadBalancing_Scope.SUBZONE]: 'Subzone',
  [LoadBalancing_Scope.NODE]: 'Node',
  [LoadBalancing_Scope.CLUSTER]: 'Cluster',
  [LoadBalancing_Scope.NETWORK]: 'Network',
};

function decodeLoadBalancer(wire: LoadBalancing): LoadBalancer {
  return {
    routingPreferences: wire.routingPreference.map((scope) => pick(scope, scopes, 'routing_preference')),
    mode: pick(
      wire.mode,
      {
        [LoadBalancing_Mode.UNSPECIFIED_MODE]: 'Standard',
        [LoadBalancing_Mode.STRICT]: 'Strict',
        [LoadBalancing_Mode.FAILOVER]: 'Failover',
        [LoadBalancing_Mode.PASSTHROUGH]: 'Passthrough',
      } as const,
      'load_balancing.mode',
    ),
    healthPolicy: pick(
      wire.healthPolicy,
      { [LoadBalancing_HealthPolicy.ONLY_HEALTHY]: 'OnlyHealthy', [LoadBalancing_HealthPolicy.ALLOW_ALL]: 'AllowAll' } as const,
      'load_balancing.health_policy',
    ),
  };
}

function decodeGateway(wire: WireGateway): GatewayAddress {
  const hboneMtlsPort = decodePort(wire.hboneMtlsPort);
  switch (wire.destination.case) {
    case 'hostname':
      return { kind: 'hostname', namespace: wire.destination.value.namespace, hostname: wire.destination.value.hostname, hboneMtlsPort };
    case 'address':
      return { kind: 'address', ...decodeNetworkAddress(wire.destination.value), hboneMtlsPort };
    case undefined:
      throw rejected('gateway without a destination');
  }
}

function decodeNetworkAddress(wire: WireAddress): NetworkAddress {
  return { network: wire.network, address: decodeBytes(wire.address) };
}

function decodeRange(wire: WireAddress): NetworkRange {
  const length = wire.length ?? wire.address.length * 8;
  if (length > wire.address.length * 8) throw rejected(`prefix length ${length} for an address of ${wire.address.length} bytes`);
  return { ...decodeNetworkAddress(wire), length };
}

function decodeBytes(bytes: Uint8Array): string {
  const address = addressFromBytes(bytes);
  if (address === undefined) throw rejected(`address of ${bytes.length} bytes`);
  return address;
}

function decodePorts(ports: readonly Port[]): ReadonlyMap<number, number> {
  return new Map(ports.map(({ servicePort, targetPort }) => [decodePort(servicePort), decodePort(targetPort)]));
}

function decodePort(port: number): number {
  if (port > 65_535) throw rejected(`port ${port}`);
  return port;
}

function checkServiceKey(key: string): string {
  if (!key.includes('/')) throw rejected(`service key "${key}" is not namespace/hostname`);
  return key;
}

function pick<V>(value: number, table: Readonly<Record<number, V>>, field: string): V {
  if (!Object.hasOwn(table, value)) throw rejected(`unknown value ${value} of ${field}`);
  return table[value] as V;
}

function rejected(what: string): IsthmusError {
  return new IsthmusError('ZTUNNEL_RESOURCE_REJECTED', what);
}
