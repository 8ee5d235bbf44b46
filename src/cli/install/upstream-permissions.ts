/** A PolicyRule of rbac/v1. */
interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

const rule = (apiGroups: readonly string[], resources: readonly string[], verbs: readonly string[]): Rule => ({
  apiGroups,
  resources,
  verbs,
});

const read = ['get', 'list', 'watch'];
const write = ['update', 'patch'];
const all = [...read, ...write, 'create', 'delete'];
const core = [''];
const istio = [
  'config.istio.io',
  'security.istio.io',
  'networking.istio.io',
  'authentication.istio.io',
  'rbac.istio.io',
  'telemetry.istio.io',
  'extensions.istio.io',
];
const gatewayApi = 'gateway.networking.k8s.io';
const gatewayApiExperiments = 'gateway.networking.x-k8s.io';

/** ClusterRole istiod-clusterrole of Istio's chart, with the values of the ambient profile. */
export const upstreamClusterRules: readonly Rule[] = [
  rule(['admissionregistration.k8s.io'], ['mutatingwebhookconfigurations'], [...read, ...write]),
  rule(['admissionregistration.k8s.io'], ['validatingwebhookconfigurations'], [...read, 'update']),
  rule(istio, ['*'], read),
  rule(['networking.istio.io'], ['workloadentries', 'workloadentries/status', 'serviceentries/status'], all),
  rule(['security.istio.io'], ['authorizationpolicies/status'], all),
  rule(core, ['services/status'], all),
  rule(['apiextensions.k8s.io'], ['customresourcedefinitions'], read),
  rule(core, ['pods', 'nodes', 'services', 'namespaces', 'endpoints'], read),
  rule(['discovery.k8s.io'], ['endpointslices'], read),
  rule(['networking.k8s.io'], ['ingresses', 'ingressclasses'], read),
  rule(['networking.k8s.io'], ['ingresses/status'], ['*']),
  rule(core, ['configmaps'], [...read, 'create', 'update']),
  rule(['authentication.k8s.io'], ['tokenreviews'], ['create']),
  rule(['authorization.k8s.io'], ['subjectaccessreviews'], ['create']),
  rule([gatewayApi, gatewayApiExperiments], ['*'], read),
  rule([gatewayApiExperiments], ['xbackends/status', 'xbackendtrafficpolicies/status'], write),
  rule(
    [gatewayApi],
    [
      'backendtlspolicies/status',
      'gatewayclasses/status',
      'gateways/status',
      'grpcroutes/status',
      'httproutes/status',
      'listenersets/status',
      'referencegrants/status',
      'tcproutes/status',
      'tlsroutes/status',
      'udproutes/status',
    ],
    write,
  ),
  rule([gatewayApi], ['gatewayclasses'], [...write, 'create', 'delete']),
  rule(['inference.networking.k8s.io'], ['inferencepools'], read),
  rule(['inference.networking.k8s.io'], ['inferencepools/status'], write),
  rule(core, ['secrets'], read),
  rule(['multicluster.x-k8s.io'], ['serviceexports'], [...read, 'create', 'delete']),
  rule(['multicluster.x-k8s.io'], ['serviceimports'], read),
];

/** ClusterRole istiod-gateway-controller. */
export const upstreamGatewayRules: readonly Rule[] = [
  rule(['apps'], ['deployments'], all),
  rule(['autoscaling'], ['horizontalpodautoscalers'], all),
  rule(['policy'], ['poddisruptionbudgets'], all),
  rule(core, ['services', 'serviceaccounts'], all),
];

/** Role istiod of istiod's own namespace. */
export const upstreamNamespaceRules: readonly Rule[] = [
  rule(['networking.istio.io'], ['gateways'], ['create']),
  rule(core, ['secrets'], [...read, 'create', 'update', 'delete']),
  rule(core, ['configmaps'], ['delete']),
  rule(['coordination.k8s.io'], ['leases'], ['get', 'create', ...write]),
];
