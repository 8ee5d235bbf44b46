import type { IPod, INamespace, IService, INode, IServiceAccount, IConfigMap, ISecret, IEvent } from 'kubernetes-models/v1';
import type { IDeployment, IReplicaSet, IDaemonSet, IStatefulSet, IControllerRevision } from 'kubernetes-models/apps/v1';
import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1';
import type { ILease } from 'kubernetes-models/coordination.k8s.io/v1';
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1';
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import type { IRole, IRoleBinding, IClusterRole, IClusterRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1';
import type { ICustomResourceDefinition } from 'kubernetes-models/apiextensions.k8s.io/v1';
import type { IGateway, IGatewayClass } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1';
import type { IServiceEntry, IWorkloadEntry } from '@kubernetes-models/istio/networking.istio.io/v1';
import type { IAuthorizationPolicy, IPeerAuthentication } from '@kubernetes-models/istio/security.istio.io/v1';

/** metadata.ownerReferences[]. */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** metadata.managedFields[]. */
export interface ManagedFieldsEntry {
  readonly manager?: string;
  readonly operation?: string;
  readonly apiVersion?: string;
  readonly time?: string;
  readonly fieldsType?: string;
  readonly fieldsV1?: unknown;
  readonly subresource?: string;
}

/** metadata of any object; times are RFC 3339. */
export interface ObjectMeta {
  name: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
  managedFields?: ManagedFieldsEntry[];
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
}

/** Any object of a Kubernetes API. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

/** An object whose kind is known only at run time. */
export interface AnyObject extends KubeObject {
  [field: string]: unknown;
}

/** A type of a models package as an API server returns it: with metadata, always. */
type Served<T> = Omit<T, 'apiVersion' | 'kind' | 'metadata'> & KubeObject;

export type Pod = Served<IPod>;
export type Namespace = Served<INamespace>;
export type Service = Served<IService>;
export type Node = Served<INode>;
export type ServiceAccount = Served<IServiceAccount>;
export type ConfigMap = Served<IConfigMap>;
export type Secret = Served<ISecret>;
export type Event = Served<IEvent>;
export type Deployment = Served<IDeployment>;
export type ReplicaSet = Served<IReplicaSet>;
export type DaemonSet = Served<IDaemonSet>;
export type StatefulSet = Served<IStatefulSet>;
export type ControllerRevision = Served<IControllerRevision>;
export type EndpointSlice = Served<IEndpointSlice>;
export type PodDisruptionBudget = Served<IPodDisruptionBudget>;
export type NetworkPolicy = Served<INetworkPolicy>;
export type Lease = Served<ILease>;
export type Role = Served<IRole>;
export type RoleBinding = Served<IRoleBinding>;
export type ClusterRole = Served<IClusterRole>;
export type ClusterRoleBinding = Served<IClusterRoleBinding>;
export type CustomResourceDefinition = Served<ICustomResourceDefinition>;
export type Gateway = Served<IGateway>;
export type GatewayClass = Served<IGatewayClass>;
export type ServiceEntry = Served<IServiceEntry>;
export type WorkloadEntry = Served<IWorkloadEntry>;
export type AuthorizationPolicy = Served<IAuthorizationPolicy>;
export type PeerAuthentication = Served<IPeerAuthentication>;

/** A condition of a status, as in metav1.Condition. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number;
}

/** The API's error body. */
export interface Status {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly status?: 'Success' | 'Failure';
  readonly message?: string;
  readonly reason?: string;
  readonly code?: number;
  readonly details?: {
    readonly name?: string;
    readonly group?: string;
    readonly kind?: string;
    readonly uid?: string;
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly { readonly reason?: string; readonly message?: string; readonly field?: string }[];
  };
}
