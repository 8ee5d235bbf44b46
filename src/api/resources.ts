import type * as k from './kubernetes.ts';

/** Where a kind is served, and (as a type) what its objects look like. */
export interface ResourceType<T extends k.KubeObject = k.KubeObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never set: carries T. */
  readonly object?: T;
}

function resource<T extends k.KubeObject>(
  group: string,
  version: string,
  plural: string,
  kind: string,
  namespaced = true,
): ResourceType<T> {
  return { group, version, plural, kind, namespaced };
}

/** `v1` or `apps/v1`. */
export function apiVersionOf(type: Pick<ResourceType, 'group' | 'version'>): string {
  return type.group === '' ? type.version : `${type.group}/${type.version}`;
}

/** The kinds that Isthmus reads or writes, by their plural in Kubernetes (in camel case). */
export const resources = {
  pods: resource<k.Pod>('', 'v1', 'pods', 'Pod'),
  namespaces: resource<k.Namespace>('', 'v1', 'namespaces', 'Namespace', false),
  services: resource<k.Service>('', 'v1', 'services', 'Service'),
  nodes: resource<k.Node>('', 'v1', 'nodes', 'Node', false),
  serviceAccounts: resource<k.ServiceAccount>('', 'v1', 'serviceaccounts', 'ServiceAccount'),
  configMaps: resource<k.ConfigMap>('', 'v1', 'configmaps', 'ConfigMap'),
  secrets: resource<k.Secret>('', 'v1', 'secrets', 'Secret'),
  events: resource<k.Event>('', 'v1', 'events', 'Event'),
  deployments: resource<k.Deployment>('apps', 'v1', 'deployments', 'Deployment'),
  replicaSets: resource<k.ReplicaSet>('apps', 'v1', 'replicasets', 'ReplicaSet'),
  daemonSets: resource<k.DaemonSet>('apps', 'v1', 'daemonsets', 'DaemonSet'),
  statefulSets: resource<k.StatefulSet>('apps', 'v1', 'statefulsets', 'StatefulSet'),
  controllerRevisions: resource<k.ControllerRevision>('apps', 'v1', 'controllerrevisions', 'ControllerRevision'),
  endpointSlices: resource<k.EndpointSlice>('discovery.k8s.io', 'v1', 'endpointslices', 'EndpointSlice'),
  leases: resource<k.Lease>('coordination.k8s.io', 'v1', 'leases', 'Lease'),
  roles: resource<k.Role>('rbac.authorization.k8s.io', 'v1', 'roles', 'Role'),
  roleBindings: resource<k.RoleBinding>('rbac.authorization.k8s.io', 'v1', 'rolebindings', 'RoleBinding'),
  clusterRoles: resource<k.ClusterRole>('rbac.authorization.k8s.io', 'v1', 'clusterroles', 'ClusterRole', false),
  clusterRoleBindings: resource<k.ClusterRoleBinding>(
    'rbac.authorization.k8s.io',
    'v1',
    'clusterrolebindings',
    'ClusterRoleBinding',
    false,
  ),
  podDisruptionBudgets: resource<k.PodDisruptionBudget>('policy', 'v1', 'poddisruptionbudgets', 'PodDisruptionBudget'),
  networkPolicies: resource<k.NetworkPolicy>('networking.k8s.io', 'v1', 'networkpolicies', 'NetworkPolicy'),
  customResourceDefinitions: resource<k.CustomResourceDefinition>(
    'apiextensions.k8s.io',
    'v1',
    'customresourcedefinitions',
    'CustomResourceDefinition',
    false,
  ),
  gateways: resource<k.Gateway>('gateway.networking.k8s.io', 'v1', 'gateways', 'Gateway'),
  gatewayClasses: resource<k.GatewayClass>('gateway.networking.k8s.io', 'v1', 'gatewayclasses', 'GatewayClass', false),
  serviceEntries: resource<k.ServiceEntry>('networking.istio.io', 'v1', 'serviceentries', 'ServiceEntry'),
  workloadEntries: resource<k.WorkloadEntry>('networking.istio.io', 'v1', 'workloadentries', 'WorkloadEntry'),
  authorizationPolicies: resource<k.AuthorizationPolicy>('security.istio.io', 'v1', 'authorizationpolicies', 'AuthorizationPolicy'),
  peerAuthentications: resource<k.PeerAuthentication>('security.istio.io', 'v1', 'peerauthentications', 'PeerAuthentication'),
} as const;
