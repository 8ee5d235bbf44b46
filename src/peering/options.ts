/** What of this cluster does not change while the process lives. */
export interface PeeringOptions {
  readonly clusterId: string;
  readonly trustDomain: string;
  /** Of Kubernetes names; `cluster.local` almost everywhere. */
  readonly clusterDomain: string;
  /** Where entries are written, and whose label names the network: istio-system. */
  readonly rootNamespace: string;
  /** CIDRs of this cluster's pods; default those of its nodes (`spec.podCIDRs`), which some CNIs do not use. */
  readonly podRanges?: readonly string[] | undefined;
}
