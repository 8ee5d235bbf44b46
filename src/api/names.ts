/**
 * Labels, annotations, names and ports that users, kubectl, istioctl and other programs see. They are Istio's and the
 * guide's; our own begin with isthmus.dev/.
 */

/** Where the control plane lives, and the root namespace of Istio's configuration. */
export const istioNamespace = 'istio-system';

export const labels = {
  /** Service or Namespace: `global` gives the Service one name in all peered clusters. */
  serviceScope: 'solo.io/service-scope',
  /** Entry made for a global service: name of that Service. */
  parentService: 'solo.io/parent-service',
  /** Entry made for a global service: namespace of that Service. */
  parentServiceNamespace: 'solo.io/parent-service-namespace',
  /** Entry made for a peer's endpoint: the peer's cluster id. */
  peer: 'isthmus.dev/peer',
  /** Entry made for a global service: the ServiceEntry's workloadSelector; value is a hash of namespace/service. */
  federatedService: 'isthmus.dev/federated-service',
  /** Namespace or Pod: `ambient` puts it into the mesh, `none` keeps it out. */
  dataplaneMode: 'istio.io/dataplane-mode',
  /** Gateway: expose istiod on this port. */
  exposeIstiod: 'istio.io/expose-istiod',
  network: 'topology.istio.io/network',
  cluster: 'topology.istio.io/cluster',
  region: 'topology.kubernetes.io/region',
  zone: 'topology.kubernetes.io/zone',
  subzone: 'topology.istio.io/subzone',
  gatewayName: 'gateway.networking.k8s.io/gateway-name',
  gatewayManaged: 'gateway.istio.io/managed',
  canonicalName: 'service.istio.io/canonical-name',
  canonicalRevision: 'service.istio.io/canonical-revision',
  endpointSliceService: 'kubernetes.io/service-name',
} as const;

export const annotations = {
  /** Pod or WorkloadEntry: `enabled` once a ztunnel stands in for it, so that others reach it over HBONE. */
  redirection: 'ambient.istio.io/redirection',
  /** istio-remote Gateway: service account of the peer's east-west gateway. */
  gatewayServiceAccount: 'gateway.istio.io/service-account',
  /** istio-remote Gateway: trust domain of the peer. */
  gatewayTrustDomain: 'gateway.istio.io/trust-domain',
  dataPlaneServiceType: 'peering.solo.io/data-plane-service-type',
  preferredDataPlaneServiceType: 'peering.solo.io/preferred-data-plane-service-type',
  trafficDistribution: 'networking.istio.io/traffic-distribution',
  /** istio-remote Gateway: hex SHA-256 of the public key (SubjectPublicKeyInfo) of the intermediate CA that signs the peer's istiod. */
  peerCaSha256: 'isthmus.dev/peer-ca-sha256',
} as const;

/** Values of the label {@link labels.serviceScope}. */
export const serviceScopeGlobal = 'global';

/** The name that a global service has in every cluster. */
export function globalHostname(service: string, namespace: string): string {
  return `${service}.${namespace}.mesh.internal`;
}

export const gatewayClasses = { eastWest: 'istio-eastwest', remote: 'istio-remote' } as const;
export const gatewayControllers = { eastWest: 'istio.io/eastwest-controller', remote: 'istio.io/unmanaged-gateway' } as const;

export const conditionTypes = { peerConnected: 'gloo.solo.io/PeerConnected', peeringSucceeded: 'gloo.solo.io/PeeringSucceeded' } as const;

export const ports = {
  /** ztunnel: captured outbound connections. */
  ztunnelOutbound: 15001,
  /** ztunnel: captured inbound plaintext. */
  ztunnelInboundPlaintext: 15006,
  /** ztunnel: HBONE from other workloads. */
  hbone: 15008,
  ztunnelDns: 15053,
  ztunnelAdmin: 15000,
  ztunnelStats: 15020,
  ztunnelReadiness: 15021,
  istiodPlaintext: 15010,
  /** istiod: delta ADS, certificates and peering over TLS. */
  istiodTls: 15012,
  istiodMonitoring: 15014,
  istiodReadiness: 8080,
} as const;

/** Type URLs of the discovery resources. */
export const typeUrls = {
  address: 'type.googleapis.com/istio.workload.Address',
  workload: 'type.googleapis.com/istio.workload.Workload',
  authorization: 'type.googleapis.com/istio.security.Authorization',
  peerCluster: 'type.googleapis.com/isthmus.peering.v1.Cluster',
  federatedService: 'type.googleapis.com/isthmus.peering.v1.FederatedService',
} as const;
