import type {
  AuthorizationPolicy,
  EndpointSlice,
  Namespace,
  Node,
  PeerAuthentication,
  Pod,
  Service,
  ServiceEntry,
  WorkloadEntry,
} from '../api/kubernetes.ts';
import type { Service as MeshService } from '../api/gen/istio/workload_pb.js';
import type { Collection } from '../collections/index.ts';

/** What does not change while the process lives. */
export interface MeshOptions {
  readonly clusterId: string;
  /** Of Kubernetes names; default `cluster.local`. */
  readonly clusterDomain: string;
  /** Of identities. */
  readonly trustDomain: string;
  /** The namespace whose configuration counts everywhere: istio-system. Its label names the cluster's network. */
  readonly rootNamespace: string;
}

/** The objects that the mesh is derived from, under `namespace/name`, or `name` where there is no namespace. */
export interface MeshInputs {
  readonly namespaces: Collection<Namespace>;
  readonly nodes: Collection<Node>;
  readonly pods: Collection<Pod>;
  readonly services: Collection<Service>;
  readonly endpointSlices: Collection<EndpointSlice>;
  readonly serviceEntries: Collection<ServiceEntry>;
  readonly workloadEntries: Collection<WorkloadEntry>;
  readonly authorizationPolicies: Collection<AuthorizationPolicy>;
  readonly peerAuthentications: Collection<PeerAuthentication>;
}

/** Where a service's traffic goes on a workload: a number, or a name that each workload resolves for itself. */
export type TargetPort = { readonly number: number } | { readonly name: string };

export interface ServiceInfoPort {
  readonly name: string;
  readonly servicePort: number;
  readonly target: TargetPort;
}

/** A Service or one host of a ServiceEntry, with what is needed to find its workloads. */
export interface ServiceInfo {
  /** `<namespace>/<hostname>`: the name of the resource. */
  readonly key: string;
  readonly kind: 'Service' | 'ServiceEntry';
  /** Where the object stands: its selector counts there. The service's own namespace may be another (see parentOf). */
  readonly objectNamespace: string;
  readonly objectName: string;
  /** RFC 3339; the older of two claims on a hostname counts. */
  readonly created: string;
  /** Undefined when it selects nothing. */
  readonly selector: Readonly<Record<string, string>> | undefined;
  readonly ports: readonly ServiceInfoPort[];
  /** For the ServiceEntry of a global service: `<namespace>/<name>` of the Service whose local pods belong to it. */
  readonly parent: string | undefined;
  /** For a Service: it belongs to its name in all clusters, so that its pods join the ServiceEntry of that name. */
  readonly global: boolean;
  readonly service: MeshService;
}

/** `<namespace>/<hostname>`, as resources and the map of a workload's services name a service. */
export function serviceKey(namespace: string, hostname: string): string {
  return `${namespace}/${hostname}`;
}
