import type { KubeObject } from '../../api/kubernetes.ts';
import { labels as labelNames, ports } from '../../api/names.ts';
import { version } from '../../api/version.ts';
import { managedBy } from './options.ts';
import { clusterRules, gatewayRules, leaseRules, type PolicyRule } from './peering-permissions.ts';

/** What `isthmus peering` in a cluster is made from. The chart charts/isthmus-peering has a value for each and renders the same objects. */
export interface PeeringManifestOptions {
  /** Istio's own namespace: peers know the process by `ns/<this>/sa/isthmus-peering`. */
  readonly namespace: string;
  /** Cluster id, unique in the mesh, the one that istiod has. */
  readonly clusterId: string;
  /** Default: the label topology.istio.io/network of the namespace, read by the process. */
  readonly network?: string;
  readonly trustDomain: string;
  /** Also of the east-west gateways that the process makes. */
  readonly image: string;
  /** Default 2. All serve peers, one writes. */
  readonly replicas?: number;
  /** Make the namespaces of imported services that are missing here; default false. */
  readonly createNamespaces?: boolean;
  /** This cluster's pod ranges, in CIDR notation; default: those of its nodes. */
  readonly podCidrs?: readonly string[];
  /** This cluster's Service ranges: no peer's endpoint may be in them; default: only the addresses in use are known. */
  readonly serviceCidrs?: readonly string[];
  /** Of Kubernetes names; default `cluster.local`. */
  readonly clusterDomain?: string;
  /** Who signs the process's certificate, `host:port`; default `istiod.<namespace>.svc:15012`. */
  readonly caAddress?: string;
  /** The ConfigMap with the mesh's roots, istiod's PILOT_CA_CERT_CONFIGMAP; default `istio-ca-root-cert`. */
  readonly rootConfigMap?: string;
  /** Where east-west Gateways may stand; default, also of an empty list: in any namespace. The namespaces have to exist. */
  readonly gatewayNamespaces?: readonly string[];
  /** Default: none. */
  readonly priorityClassName?: string;
}

/** Of every object of the component. */
export const peeringName = 'isthmus-peering';
const selector = { app: peeringName };
const defaultRootConfigMap = 'istio-ca-root-cert';

/**
 * `isthmus peering` beside an Istio of others: ServiceAccount, permissions, Deployment, Service, PodDisruptionBudget and
 * NetworkPolicy, in the order in which they are applied.
 */
export function peeringManifests(options: PeeringManifestOptions): KubeObject[] {
  const metadata = metadataIn(options.namespace);
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    ...permissions(options),
    service(metadata),
    deployment(options, metadata),
    // Of a single pod a budget would hold up every drain of its node.
    ...(replicasOf(options) > 1 ? [disruptionBudget(metadata)] : []),
    networkPolicy(metadata),
  ];
}

type Metadata = KubeObject['metadata'] & { readonly labels: Record<string, string> };

function metadataIn(namespace: string): Metadata {
  return { name: peeringName, namespace, labels: { ...podLabels, 'app.kubernetes.io/version': version, ...managedBy } };
}

const podLabels = { ...selector, 'app.kubernetes.io/name': peeringName, 'app.kubernetes.io/part-of': 'isthmus' };

function replicasOf({ replicas = 2 }: PeeringManifestOptions): number {
  return replicas;
}

function permissions(options: PeeringManifestOptions): KubeObject[] {
  const { namespace, gatewayNamespaces = [], createNamespaces = false } = options;
  const { labels } = metadataIn(namespace);
  const grant = (kind: 'ClusterRole' | 'Role', metadata: KubeObject['metadata'], rules: readonly PolicyRule[]): KubeObject[] => {
    const apiVersion = 'rbac.authorization.k8s.io/v1';
    const role = { apiVersion, kind, metadata, rules };
    const binding = {
      apiVersion,
      kind: `${kind}Binding`,
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name: metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: peeringName, namespace }],
    };
    return [role, binding];
  };
  const everywhere = [...clusterRules({ createNamespaces }), ...(gatewayNamespaces.length === 0 ? gatewayRules : [])];
  return [
    ...grant('ClusterRole', { name: peeringName, labels }, everywhere),
    ...grant('Role', { name: peeringName, namespace, labels }, leaseRules),
    ...gatewayNamespaces.flatMap((place) => grant('Role', { name: `${peeringName}-gateways`, namespace: place, labels }, gatewayRules)),
  ];
}

/** Where east-west gateways forward port 15012, and where peers come that connect without a gateway. */
function service(metadata: Metadata): KubeObject {
  const object = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata,
    spec: {
      ports: [{ name: 'tls-xds', port: ports.istiodTls, targetPort: 'tls-xds', protocol: 'TCP', appProtocol: 'tls' }],
      selector,
    },
  };
  return object;
}

function disruptionBudget(metadata: Metadata): KubeObject {
  const object = {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata,
    spec: { minAvailable: 1, selector: { matchLabels: selector }, unhealthyPodEvictionPolicy: 'AlwaysAllow' },
  };
  return object;
}

/**
 * What may come in. Peers come with addresses of their own (through a gateway, or straight from another cluster), the kubelet's probes with
 * the node's, so that neither can be selected. What goes out is not narrowed: the API server and peers have addresses that no
 * selector knows.
 */
function networkPolicy(metadata: Metadata): KubeObject {
  const tcp = (port: number): object => ({ port, protocol: 'TCP' });
  const object = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata,
    spec: {
      podSelector: { matchLabels: selector },
      policyTypes: ['Ingress'],
      ingress: [{ ports: [tcp(ports.istiodTls), tcp(ports.istiodReadiness)] }, { ports: [tcp(ports.istiodMonitoring)] }],
    },
  };
  return object;
}

function deployment(options: PeeringManifestOptions, metadata: Metadata): KubeObject {
  const object = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: {
      replicas: replicasOf(options),
      // The new one serves before an old one goes.
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      selector: { matchLabels: selector },
      template: {
        metadata: {
          labels: { ...podLabels, [labelNames.dataplaneMode]: 'none', 'sidecar.istio.io/inject': 'false' },
          annotations: { 'prometheus.io/port': String(ports.istiodMonitoring), 'prometheus.io/scrape': 'true' },
        },
        spec: podSpec(options),
      },
    },
  };
  return object;
}

function podSpec(options: PeeringManifestOptions): object {
  const { priorityClassName, rootConfigMap = defaultRootConfigMap } = options;
  return {
    serviceAccountName: peeringName,
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    ...(priorityClassName !== undefined && { priorityClassName }),
    // On a stop the Lease is given up at once; the rest of the time is for connections of peers to end.
    terminationGracePeriodSeconds: 15,
    affinity: {
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          { weight: 100, podAffinityTerm: { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: selector } } },
        ],
      },
    },
    topologySpreadConstraints: [
      { maxSkew: 1, topologyKey: labelNames.zone, whenUnsatisfiable: 'ScheduleAnyway', labelSelector: { matchLabels: selector } },
    ],
    securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
    containers: [container(options)],
    volumes: [
      { name: 'istiod-ca-cert', configMap: { name: rootConfigMap } },
      {
        name: 'istio-token',
        projected: { sources: [{ serviceAccountToken: { audience: 'istio-ca', expirationSeconds: 43200, path: 'istio-token' } }] },
      },
    ],
  };
}

function container(options: PeeringManifestOptions): object {
  return {
    name: 'peering',
    image: options.image,
    args: ['peering'],
    ports: [
      { name: 'tls-xds', containerPort: ports.istiodTls, protocol: 'TCP' },
      { name: 'http-monitoring', containerPort: ports.istiodMonitoring, protocol: 'TCP' },
      { name: 'http-status', containerPort: ports.istiodReadiness, protocol: 'TCP' },
    ],
    startupProbe: { httpGet: { path: '/healthz', port: 'http-status' }, periodSeconds: 1, failureThreshold: 60 },
    livenessProbe: { httpGet: { path: '/healthz', port: 'http-status' }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
    readinessProbe: { httpGet: { path: '/readyz', port: 'http-status' }, periodSeconds: 2, timeoutSeconds: 5, failureThreshold: 3 },
    env: environment(options),
    resources: { requests: { cpu: '100m', memory: '256Mi' }, limits: { memory: '1Gi' } },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      runAsUser: 1337,
      runAsGroup: 1337,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: [
      { name: 'istiod-ca-cert', mountPath: '/var/run/secrets/istio', readOnly: true },
      { name: 'istio-token', mountPath: '/var/run/secrets/tokens', readOnly: true },
    ],
  };
}

function environment(options: PeeringManifestOptions): object[] {
  const {
    namespace,
    network,
    clusterDomain,
    podCidrs = [],
    serviceCidrs = [],
    createNamespaces = false,
    rootConfigMap = defaultRootConfigMap,
  } = options;
  const field = (name: string, fieldPath: string): object => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  return [
    { name: 'CLUSTER_ID', value: options.clusterId },
    ...(network === undefined ? [] : [{ name: 'NETWORK', value: network }]),
    { name: 'TRUST_DOMAIN', value: options.trustDomain },
    { name: 'CA_ADDRESS', value: options.caAddress ?? `istiod.${namespace}.svc:${String(ports.istiodTls)}` },
    { name: 'ISTHMUS_IMAGE', value: options.image },
    { name: 'ISTHMUS_LOG', value: 'info' },
    // For the gateways that the process makes: they trust the same roots.
    ...(rootConfigMap === defaultRootConfigMap ? [] : [{ name: 'PILOT_CA_CERT_CONFIGMAP', value: rootConfigMap }]),
    ...(clusterDomain === undefined ? [] : [{ name: 'CLUSTER_DOMAIN', value: clusterDomain }]),
    ...(podCidrs.length === 0 ? [] : [{ name: 'POD_CIDRS', value: podCidrs.join(',') }]),
    ...(serviceCidrs.length === 0 ? [] : [{ name: 'SERVICE_CIDRS', value: serviceCidrs.join(',') }]),
    ...(createNamespaces ? [{ name: 'CREATE_NAMESPACES', value: 'true' }] : []),
    field('POD_NAME', 'metadata.name'),
    field('POD_NAMESPACE', 'metadata.namespace'),
  ];
}
