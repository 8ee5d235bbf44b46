/**
 * The node proxy's picture of the mesh, decoded once at the edge: addresses are canonical text, defaults are filled in,
 * and what upstream's ztunnel would reject was rejected before (see decode.ts). Everything here is immutable.
 */

/** `<cluster>//Pod/<namespace>/<name>` and its relatives: the name of a workload resource. */
export type WorkloadUid = string & { readonly __brand?: 'WorkloadUid' };

/** `<namespace>/<hostname>`: the name of a service resource. */
export type ServiceKey = string & { readonly __brand?: 'ServiceKey' };

/** An address is only unique inside its network. */
export interface NetworkAddress {
  readonly network: string;
  /** Canonical text: dotted IPv4, or IPv6 as inet_ntop writes it. */
  readonly address: string;
}

export interface NetworkRange extends NetworkAddress {
  /** Length of the prefix in bits. */
  readonly length: number;
}

/** Where a waypoint or a network gateway is: a service or workload by hostname, or an address. */
export type GatewayAddress = {
  readonly hboneMtlsPort: number;
} & (
  { readonly kind: 'hostname'; readonly namespace: string; readonly hostname: string } | ({ readonly kind: 'address' } & NetworkAddress)
);

export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

export type WorkloadType = 'deployment' | 'cronjob' | 'pod' | 'job';

export interface Workload {
  readonly uid: WorkloadUid;
  readonly name: string;
  readonly namespace: string;
  readonly trustDomain: string;
  readonly serviceAccount: string;
  readonly network: string;
  readonly addresses: readonly string[];
  /** Resolved by DNS when the workload has no address; empty when unused. */
  readonly hostname: string;
  readonly protocol: 'HBONE' | 'TCP';
  readonly networkMode: 'Standard' | 'HostNetwork';
  readonly waypoint: GatewayAddress | undefined;
  readonly networkGateway: GatewayAddress | undefined;
  readonly node: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly workloadType: WorkloadType;
  readonly workloadName: string;
  /** The application speaks HBONE itself. */
  readonly nativeTunnel: boolean;
  readonly applicationTunnel: { readonly protocol: 'NONE' | 'PROXY'; readonly port: number | undefined } | undefined;
  /** Memberships: service key to a map from service port to the port of this workload. */
  readonly services: ReadonlyMap<ServiceKey, ReadonlyMap<number, number>>;
  /** Keys (`namespace/name`) of the policies that select this workload. */
  readonly authorizationPolicies: readonly string[];
  readonly status: 'Healthy' | 'Unhealthy';
  readonly clusterId: string;
  readonly locality: Locality;
  /** Weight in load balancing; 0 drains. */
  readonly capacity: number;
}

export type LoadBalancingScope = 'Region' | 'Zone' | 'Subzone' | 'Node' | 'Cluster' | 'Network';

export interface LoadBalancer {
  readonly routingPreferences: readonly LoadBalancingScope[];
  readonly mode: 'Standard' | 'Strict' | 'Failover' | 'Passthrough';
  readonly healthPolicy: 'OnlyHealthy' | 'AllowAll';
}

export interface Service {
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  readonly vips: readonly NetworkAddress[];
  readonly cidrVips: readonly NetworkRange[];
  /** Service port to target port; 0 means that each endpoint names its own. */
  readonly ports: ReadonlyMap<number, number>;
  readonly subjectAltNames: readonly string[];
  readonly waypoint: GatewayAddress | undefined;
  readonly weightedWaypoints: readonly { readonly destination: GatewayAddress; readonly weight: number }[];
  readonly loadBalancer: LoadBalancer | undefined;
  /** undefined: either. */
  readonly ipFamilies: 'Dual' | 'IPv4' | 'IPv6' | undefined;
  /** Kubernetes' own service for its hostname, preferred over one from a ServiceEntry. */
  readonly canonical: boolean;
  readonly visibility: 'Public' | 'Namespace';
}

/** A workload's place in a service. */
export interface Endpoint {
  readonly workloadUid: WorkloadUid;
  /** Service port to the workload's port. */
  readonly ports: ReadonlyMap<number, number>;
  readonly status: 'Healthy' | 'Unhealthy';
}

/** Name, namespace and service account of a pod on this node, as the CNI agent announces it. */
export interface WorkloadInfo {
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

export function serviceKey(namespace: string, hostname: string): ServiceKey {
  return `${namespace}/${hostname}`;
}

export function addressKey(network: string, address: string): string {
  return `${network}/${address}`;
}

/** `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. */
export function workloadIdentity(workload: Pick<Workload, 'trustDomain' | 'namespace' | 'serviceAccount'>): string {
  return `spiffe://${workload.trustDomain}/ns/${workload.namespace}/sa/${workload.serviceAccount}`;
}
