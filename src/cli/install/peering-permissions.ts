import { gatewayClasses } from '../../api/names.ts';

/** A rule of a Role or ClusterRole. */
export interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

const networking = 'networking.istio.io';
const gatewayApi = 'gateway.networking.k8s.io';

/** A local copy of a kind: one list, then changes. Single objects are never fetched. */
const follow = ['list', 'watch'];
/** Server-side apply: a patch, which needs `create` as well where there is nothing yet. */
const apply = ['create', 'patch'];

/**
 * What `isthmus peering` may do in the whole cluster, since services and Gateways are in any namespace. A reason for each verb is in
 * the README of charts/isthmus-peering; a test holds that no verb is there without use.
 */
export function clusterRules({ createNamespaces }: { readonly createNamespaces: boolean }): PolicyRule[] {
  const classes = [gatewayClasses.eastWest];
  return [
    { apiGroups: [''], resources: ['namespaces', 'nodes', 'pods', 'serviceaccounts', 'services'], verbs: follow },
    { apiGroups: ['apps'], resources: ['deployments'], verbs: follow },
    { apiGroups: [networking], resources: ['serviceentries', 'workloadentries'], verbs: [...follow, ...apply, 'delete'] },
    { apiGroups: [gatewayApi], resources: ['gateways'], verbs: [...follow, 'patch'] },
    { apiGroups: [gatewayApi], resources: ['gateways/status'], verbs: ['patch'] },
    { apiGroups: [gatewayApi], resources: ['gatewayclasses'], verbs: [...follow, 'create'] },
    { apiGroups: [gatewayApi], resources: ['gatewayclasses'], resourceNames: classes, verbs: ['get'] },
    { apiGroups: [gatewayApi], resources: ['gatewayclasses/status'], resourceNames: classes, verbs: ['patch'] },
    { apiGroups: [''], resources: ['events'], verbs: apply },
    ...(createNamespaces ? [{ apiGroups: [''], resources: ['namespaces'], verbs: ['create'] }] : []),
  ];
}

/**
 * What runs an east-west gateway, in the namespace of its Gateway. Who may make Deployments somewhere may run anything there: this is why it can
 * be narrowed to the namespaces where Gateways are meant to be.
 */
export const gatewayRules: readonly PolicyRule[] = [
  { apiGroups: [''], resources: ['serviceaccounts', 'services'], verbs: ['get', ...apply] },
  { apiGroups: ['apps'], resources: ['deployments'], verbs: ['get', ...apply] },
];

/** Who writes: in istio's namespace only. `create` cannot be narrowed to a name. */
export const leaseRules: readonly PolicyRule[] = [
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], resourceNames: ['isthmus-peering-leader'], verbs: ['get', 'update'] },
];
