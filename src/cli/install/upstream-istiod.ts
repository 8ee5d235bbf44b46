import type { KubeObject } from '../../api/kubernetes.ts';
import { istioNamespace, labels as meshLabels, ports } from '../../api/names.ts';
import { hostProgram } from './host-program.ts';
import { bindingOf, istiodService, meshConfig, tokenVolume } from './istiod.ts';
import { managedBy, type InstallOptions } from './options.ts';
import { upstreamClusterRules, upstreamGatewayRules, upstreamNamespaceRules } from './upstream-permissions.ts';

const namespace = istioNamespace;
const labels = { app: 'istiod', istio: 'pilot', 'istio.io/rev': 'default', ...managedBy };

/**
 * Istio's own istiod, an unmodified program of the node, as Istio's chart istio-discovery installs it with the ambient
 * profile; without injection and validation webhooks, since the lab's API server calls none.
 */
export function upstreamIstiodManifests(options: InstallOptions, program: string): KubeObject[] {
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'istiod', namespace, labels } },
    ...permissions(),
    meshConfig(options, {
      defaultConfig: { proxyMetadata: { ISTIO_META_ENABLE_HBONE: 'true' } },
      defaultProviders: { metrics: ['prometheus'] },
    }),
    istiodService(),
    deployment(options, program),
  ];
}

function permissions(): KubeObject[] {
  const rbac = 'rbac.authorization.k8s.io/v1';
  const discovery = {
    apiVersion: rbac,
    kind: 'ClusterRole',
    metadata: { name: `istiod-clusterrole-${namespace}`, labels },
    rules: upstreamClusterRules,
  };
  const gateways = {
    apiVersion: rbac,
    kind: 'ClusterRole',
    metadata: { name: `istiod-gateway-controller-${namespace}`, labels },
    rules: upstreamGatewayRules,
  };
  const own = { apiVersion: rbac, kind: 'Role', metadata: { name: 'istiod', namespace, labels }, rules: upstreamNamespaceRules };
  return [
    discovery,
    bindingOf('ClusterRole', discovery.metadata.name, 'istiod', labels),
    gateways,
    bindingOf('ClusterRole', gateways.metadata.name, 'istiod', labels),
    own,
    bindingOf('Role', 'istiod', 'istiod', labels),
  ];
}

function deployment(options: InstallOptions, file: string): KubeObject {
  const program = hostProgram('pilot-discovery', file);
  const optionalSecret = (name: string, secretName: string): object => ({ name, secret: { secretName, optional: true } });
  const object = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'istiod', namespace, labels },
    spec: {
      replicas: 1,
      strategy: { rollingUpdate: { maxSurge: '100%', maxUnavailable: '25%' } },
      selector: { matchLabels: { app: 'istiod', istio: 'pilot' } },
      template: {
        metadata: {
          labels: { ...labels, [meshLabels.dataplaneMode]: 'none', 'sidecar.istio.io/inject': 'false' },
          annotations: { 'prometheus.io/port': String(ports.istiodMonitoring), 'prometheus.io/scrape': 'true' },
        },
        spec: {
          serviceAccountName: 'istiod',
          tolerations: [{ key: 'cni.istio.io/not-ready', operator: 'Exists' }],
          containers: [
            {
              name: 'discovery',
              image: options.image,
              command: program.command,
              args: [
                'discovery',
                `--monitoringAddr=:${String(ports.istiodMonitoring)}`,
                '--log_output_level=default:info',
                '--domain',
                'cluster.local',
                '--keepaliveMaxServerConnectionAge',
                '30m',
              ],
              ports: [
                { name: 'http-debug', containerPort: ports.istiodReadiness, protocol: 'TCP' },
                { name: 'grpc-xds', containerPort: ports.istiodPlaintext, protocol: 'TCP' },
                { name: 'tls-xds', containerPort: ports.istiodTls, protocol: 'TCP' },
                { name: 'https-webhooks', containerPort: 15017, protocol: 'TCP' },
                { name: 'http-monitoring', containerPort: ports.istiodMonitoring, protocol: 'TCP' },
              ],
              readinessProbe: {
                httpGet: { path: '/ready', port: ports.istiodReadiness },
                initialDelaySeconds: 1,
                periodSeconds: 3,
                timeoutSeconds: 5,
              },
              env: environment(options),
              resources: { requests: { cpu: '500m', memory: '2048Mi' } },
              securityContext: {
                allowPrivilegeEscalation: false,
                readOnlyRootFilesystem: true,
                runAsNonRoot: true,
                capabilities: { drop: ['ALL'] },
              },
              volumeMounts: [
                program.volumeMount,
                { name: 'istio-token', mountPath: '/var/run/secrets/tokens', readOnly: true },
                { name: 'local-certs', mountPath: '/var/run/secrets/istio-dns' },
                { name: 'cacerts', mountPath: '/etc/cacerts', readOnly: true },
                { name: 'istio-kubeconfig', mountPath: '/var/run/secrets/remote', readOnly: true },
                { name: 'istio-csr-dns-cert', mountPath: '/var/run/secrets/istiod/tls', readOnly: true },
                { name: 'istio-csr-ca-configmap', mountPath: '/var/run/secrets/istiod/ca', readOnly: true },
              ],
            },
          ],
          volumes: [
            program.volume,
            { name: 'local-certs', emptyDir: { medium: 'Memory' } },
            tokenVolume,
            optionalSecret('cacerts', 'cacerts'),
            optionalSecret('istio-kubeconfig', 'istio-kubeconfig'),
            optionalSecret('istio-csr-dns-cert', 'istiod-tls'),
            { name: 'istio-csr-ca-configmap', configMap: { name: 'istio-ca-root-cert', optional: true } },
          ],
        },
      },
    },
  };
  return object;
}

function environment(options: InstallOptions): object[] {
  const field = (name: string, fieldPath: string): object => ({ name, valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } } });
  return [
    { name: 'REVISION', value: 'default' },
    { name: 'PILOT_CERT_PROVIDER', value: 'istiod' },
    field('POD_NAME', 'metadata.name'),
    field('POD_NAMESPACE', 'metadata.namespace'),
    field('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
    { name: 'KUBECONFIG', value: '/var/run/secrets/remote/config' },
    { name: 'CA_TRUSTED_NODE_ACCOUNTS', value: `${namespace}/ztunnel` },
    { name: 'PILOT_ENABLE_AMBIENT', value: 'true' },
    // Otherwise the local name of a Service would reach the pods of other clusters, too.
    { name: 'PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES', value: 'false' },
    { name: 'PILOT_ENABLE_ANALYSIS', value: 'false' },
    // The lab has no image of Envoy for waypoints and gateways.
    { name: 'PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER', value: 'false' },
    { name: 'CLUSTER_ID', value: options.clusterId },
  ];
}
