/**
 * Where entries stand. `rootNamespace`: all in istio-system, for our own istiod, which takes a service's namespace and local pods from its
 * Service. `serviceNamespace`: in the namespace of the service, for an unmodified istiod, which takes an entry's identity from its namespace
 * and lets a ServiceEntry select pods of its own namespace only.
 */
export type Placement = 'rootNamespace' | 'serviceNamespace';

/** What of this cluster does not change while the process lives. */
export interface PeeringOptions {
  readonly clusterId: string;
  readonly trustDomain: string;
  /** Of Kubernetes names; `cluster.local` almost everywhere. */
  readonly clusterDomain: string;
  /** Whose label names the network: istio-system. */
  readonly rootNamespace: string;
  /** CIDRs of this cluster's pods; default those of its nodes (`spec.podCIDRs`), which some CNIs do not use. */
  readonly podRanges?: readonly string[] | undefined;
  /** CIDRs of this cluster's Services: no peer's workload is believed to be in them. The addresses in use are refused without it as well. */
  readonly serviceRanges?: readonly string[] | undefined;
  /** Default `rootNamespace`. */
  readonly placement?: Placement | undefined;
  /**
   * With placement `serviceNamespace`: make the namespace of a service that a peer exports when it is missing here; default false. Never
   * one whose name begins with `kube-`, nor istio's.
   */
  readonly createNamespaces?: boolean | undefined;
}
