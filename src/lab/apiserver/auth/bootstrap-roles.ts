import type { JsonObject } from '../json.ts';

const read = ['get', 'list', 'watch'];
const write = ['create', 'delete', 'deletecollection', 'patch', 'update'];

function rule(apiGroups: readonly string[], resources: readonly string[], verbs: readonly string[]): JsonObject {
  return { apiGroups, resources, verbs };
}

const namespacedWork = [
  rule([''], ['configmaps', 'endpoints', 'pods', 'secrets', 'serviceaccounts', 'services', 'events'], [...read, ...write]),
  rule([''], ['pods/exec', 'pods/log', 'pods/status', 'services/status', 'namespaces/status'], ['get', 'create']),
  rule([''], ['namespaces'], read),
  rule(['apps'], ['*'], [...read, ...write]),
  rule(['discovery.k8s.io'], ['endpointslices'], [...read, ...write]),
  rule(['networking.k8s.io'], ['ingresses', 'networkpolicies'], [...read, ...write]),
  rule(['policy'], ['poddisruptionbudgets'], [...read, ...write]),
  rule(['coordination.k8s.io'], ['leases'], [...read, ...write]),
];

const namespacedView = [
  rule([''], ['configmaps', 'endpoints', 'pods', 'serviceaccounts', 'services', 'events', 'namespaces', 'pods/log', 'pods/status'], read),
  rule(['apps'], ['*'], read),
  rule(['discovery.k8s.io'], ['endpointslices'], read),
  rule(['networking.k8s.io'], ['ingresses', 'networkpolicies'], read),
  rule(['policy'], ['poddisruptionbudgets'], read),
];

/** The ClusterRoles that a cluster begins with, by name: Kubernetes' own, as far as the lab has users for them. */
export const clusterRoles: Readonly<Record<string, readonly JsonObject[]>> = {
  'cluster-admin': [rule(['*'], ['*'], ['*']), { nonResourceURLs: ['*'], verbs: ['*'] }],
  admin: [...namespacedWork, rule(['rbac.authorization.k8s.io'], ['roles', 'rolebindings'], [...read, ...write])],
  edit: namespacedWork,
  view: namespacedView,
  'system:discovery': [
    {
      nonResourceURLs: [
        '/api',
        '/api/*',
        '/apis',
        '/apis/*',
        '/healthz',
        '/livez',
        '/openapi',
        '/openapi/*',
        '/readyz',
        '/version',
        '/version/',
      ],
      verbs: ['get'],
    },
  ],
  'system:public-info-viewer': [{ nonResourceURLs: ['/healthz', '/livez', '/readyz', '/version', '/version/'], verbs: ['get'] }],
  'system:basic-user': [
    rule(['authorization.k8s.io'], ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'], ['create']),
    rule(['authentication.k8s.io'], ['selfsubjectreviews'], ['create']),
  ],
  'system:auth-delegator': [
    rule(['authentication.k8s.io'], ['tokenreviews'], ['create']),
    rule(['authorization.k8s.io'], ['subjectaccessreviews'], ['create']),
  ],
  'system:service-account-issuer-discovery': [
    { nonResourceURLs: ['/.well-known/openid-configuration', '/openid/v1/jwks'], verbs: ['get'] },
  ],
  // The server's own identity towards a kubelet; it asks the API for nothing.
  'system:kubelet-api-admin': [rule([''], ['nodes', 'nodes/proxy', 'nodes/log', 'nodes/stats', 'nodes/metrics'], ['*'])],
  'system:kube-controller-manager': [
    rule([''], ['*'], [...read, ...write]),
    rule(['apps', 'discovery.k8s.io', 'coordination.k8s.io', 'policy', 'events.k8s.io'], ['*'], [...read, ...write]),
    rule(['authentication.k8s.io'], ['tokenreviews'], ['create']),
    rule(['authorization.k8s.io'], ['subjectaccessreviews'], ['create']),
    // The garbage collector and the namespace controller delete whatever has an owner or a namespace.
    rule(['*'], ['*'], [...read, 'delete', 'deletecollection', 'patch', 'update']),
    { nonResourceURLs: ['*'], verbs: ['get'] },
  ],
  'system:node': [
    rule([''], ['services', 'configmaps', 'secrets', 'pods', 'namespaces', 'serviceaccounts'], read),
    rule([''], ['pods'], ['create', 'delete']),
    rule([''], ['pods/status', 'nodes/status'], ['patch', 'update']),
    rule([''], ['pods/eviction'], ['create']),
    rule([''], ['nodes'], [...read, 'create', 'patch', 'update', 'delete']),
    rule([''], ['events'], ['create', 'patch', 'update']),
    rule(['events.k8s.io'], ['events'], ['create', 'patch', 'update']),
    rule([''], ['serviceaccounts/token'], ['create']),
    rule(['coordination.k8s.io'], ['leases'], [...read, 'create', 'patch', 'update', 'delete']),
    rule(['discovery.k8s.io'], ['endpointslices'], read),
    rule(['authentication.k8s.io'], ['tokenreviews'], ['create']),
    rule(['authorization.k8s.io'], ['subjectaccessreviews', 'localsubjectaccessreviews'], ['create']),
  ],
};

const group = (name: string): JsonObject => ({ kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name });
const user = (name: string): JsonObject => ({ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name });

/** Who holds them from the start. */
export const clusterRoleBindings: Readonly<Record<string, readonly JsonObject[]>> = {
  'cluster-admin': [group('system:masters')],
  'system:discovery': [group('system:authenticated')],
  'system:public-info-viewer': [group('system:authenticated'), group('system:unauthenticated')],
  'system:basic-user': [group('system:authenticated')],
  'system:service-account-issuer-discovery': [group('system:serviceaccounts')],
  'system:kube-controller-manager': [user('system:kube-controller-manager')],
  'system:node': [group('system:nodes')],
};
