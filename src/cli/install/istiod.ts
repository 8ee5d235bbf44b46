import { stringify } from 'yaml';

import type { KubeObject } from '../../api/kubernetes.ts';
import { istioNamespace, ports } from '../../api/names.ts';
import { managedBy, type InstallOptions } from './options.ts';

const namespace = istioNamespace;
const labels = { app: 'istiod', istio: 'pilot', 'istio.io/rev': 'default', ...managedBy };

/** istiod's ServiceAccount, permissions, mesh configuration, Services and Deployment. */
export function istiodManifests(options: InstallOptions): KubeObject[] {
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'istiod', namespace, labels } },
    ...clusterPermissions(),
    ...namespacePermissions(),
    meshConfig(options),
    istiodService(),
    peeringService(),
    deployment(options),
  ];
}

const read = ['get', 'list', 'watch'];
/** Server-side apply: a patch, and a creation where there is nothing yet. */
const apply = ['create', 'patch'];

/** What istiod may do in the whole cluster: read what the mesh is derived from, write what it owns, review tokens. */
function clusterPermissions(): KubeObject[] {
  const name = `istiod-clusterrole-${namespace}`;
  const role = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name, labels },
    rules: [
      { apiGroups: [''], resources: ['pods', 'nodes', 'namespaces'], verbs: read },
      { apiGroups: [''], resources: ['services', 'serviceaccounts'], verbs: [...read, ...apply] },
      { apiGroups: [''], resources: ['configmaps'], verbs: [...read, ...apply] },
      { apiGroups: [''], resources: ['events'], verbs: apply },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: read },
      { apiGroups: ['apps'], resources: ['deployments'], verbs: [...read, ...apply] },
      { apiGroups: ['apiextensions.k8s.io'], resources: ['customresourcedefinitions'], verbs: read },
      {
        apiGroups: ['networking.istio.io', 'security.istio.io'],
        resources: ['*'],
        verbs: read,
      },
      {
        apiGroups: ['networking.istio.io'],
        resources: ['serviceentries', 'workloadentries'],
        verbs: [...apply, 'delete'],
      },
      { apiGroups: ['networking.istio.io'], resources: ['serviceentries/status'], verbs: ['patch'] },
      { apiGroups: ['security.istio.io'], resources: ['authorizationpolicies/status'], verbs: ['patch'] },
      { apiGroups: ['gateway.networking.k8s.io'], resources: ['*'], verbs: read },
      {
        apiGroups: ['gateway.networking.k8s.io'],
        resources: ['gatewayclasses', 'gatewayclasses/status'],
        verbs: apply,
      },
      { apiGroups: ['gateway.networking.k8s.io'], resources: ['gateways', 'gateways/status'], verbs: ['patch'] },
      { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
    ],
  };
  return [role, bindingOf('ClusterRole', name, 'istiod', labels)];
}

/** What istiod may do in its own namespace only: its CA's Secret and its Leases. */
function namespacePermissions(): KubeObject[] {
  const role = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: { name: 'istiod', namespace, labels },
    rules: [
      { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
      { apiGroups: [''], resources: ['secrets'], resourceNames: ['istio-ca-secret'], verbs: ['get'] },
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'create', 'update'] },
    ],
  };
  return [role, bindingOf('Role', 'istiod', 'istiod', labels)];
}

/** A binding of the same name as the role, for one ServiceAccount of istio-system. */
export function bindingOf(
  kind: 'ClusterRole' | 'Role',
  name: string,
  serviceAccount: string,
  withLabels: Record<string, string>,
): KubeObject {
  const metadata = kind === 'Role' ? { name, namespace, labels: withLabels } : { name, labels: withLabels };
  const binding = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: `${kind}Binding`,
    metadata,
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name },
    subjects: [{ kind: 'ServiceAccount', name: serviceAccount, namespace }],
  };
  return binding;
}

/** The ConfigMap `istio`. `more` are further settings of MeshConfig. */
export function meshConfig(
  options: InstallOptions,
  more: { readonly defaultConfig?: object; readonly [setting: string]: unknown } = {},
): KubeObject {
  const mesh = {
    rootNamespace: namespace,
    trustDomain: options.trustDomain,
    ...more,
    defaultConfig: { discoveryAddress: `istiod.${namespace}.svc:${String(ports.istiodTls)}`, ...more.defaultConfig },
  };
  const object = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'istio', namespace, labels },
    data: { mesh: stringify(mesh), meshNetworks: stringify({ networks: {} }) },
  };
  return object;
}

/** The Service `istiod`: Istio's name and ports, whoever's istiod it is. */
export function istiodService(): KubeObject {
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'istiod', namespace, labels },
    spec: {
      ports: [
        { name: 'grpc-xds', port: ports.istiodPlaintext, protocol: 'TCP' },
        { name: 'https-dns', port: ports.istiodTls, protocol: 'TCP' },
        { name: 'https-webhook', port: 443, targetPort: 15017, protocol: 'TCP' },
        { name: 'http-monitoring', port: ports.istiodMonitoring, protocol: 'TCP' },
      ],
      selector: { app: 'istiod', istio: 'pilot' },
    },
  };
  return service;
}

/** Where east-west gateways forward port 15012: istiod here, the peering Deployment beside an Istio of others. */
function peeringService(): KubeObject {
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'isthmus-peering', namespace, labels },
    spec: { ports: [{ name: 'tls-xds', port: ports.istiodTls, protocol: 'TCP' }], selector: { app: 'istiod', istio: 'pilot' } },
  };
  return service;
}

function deployment(options: InstallOptions): KubeObject {
  const object = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'istiod', namespace, labels },
    spec: {
      replicas: 1,
      strategy: { rollingUpdate: { maxSurge: '100%', maxUnavailable: '25%' } },
      selector: { matchLabels: { app: 'istiod', istio: 'pilot' } },
      template: {
        metadata: { labels: { ...labels, 'istio.io/dataplane-mode': 'none', 'sidecar.istio.io/inject': 'false' } },
        spec: {
          serviceAccountName: 'istiod',
          containers: [
            {
              name: 'discovery',
              image: options.image,
              args: ['istiod'],
              ports: [
                { name: 'http-debug', containerPort: ports.istiodReadiness, protocol: 'TCP' },
                { name: 'grpc-xds', containerPort: ports.istiodPlaintext, protocol: 'TCP' },
                { name: 'tls-xds', containerPort: ports.istiodTls, protocol: 'TCP' },
                { name: 'monitoring', containerPort: ports.istiodMonitoring, protocol: 'TCP' },
              ],
              readinessProbe: {
                httpGet: { path: '/ready', port: ports.istiodReadiness },
                initialDelaySeconds: 1,
                periodSeconds: 3,
                timeoutSeconds: 5,
              },
              env: [
                { name: 'REVISION', value: 'default' },
                { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
                { name: 'POD_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } },
                { name: 'SERVICE_ACCOUNT', valueFrom: { fieldRef: { fieldPath: 'spec.serviceAccountName' } } },
                { name: 'CLUSTER_ID', value: options.clusterId },
                { name: 'TRUST_DOMAIN', value: options.trustDomain },
                { name: 'CA_TRUSTED_NODE_ACCOUNTS', value: `${namespace}/ztunnel` },
                { name: 'ISTHMUS_IMAGE', value: options.image },
              ],
              resources: { requests: { cpu: '100m', memory: '128Mi' } },
              securityContext: {
                runAsNonRoot: true,
                readOnlyRootFilesystem: true,
                allowPrivilegeEscalation: false,
                capabilities: { drop: ['ALL'] },
              },
              volumeMounts: [
                { name: 'cacerts', mountPath: '/etc/cacerts', readOnly: true },
                { name: 'istio-token', mountPath: '/var/run/secrets/tokens', readOnly: true },
              ],
            },
          ],
          volumes: [{ name: 'cacerts', secret: { secretName: 'cacerts', optional: true } }, tokenVolume],
        },
      },
    },
  };
  return object;
}

/** A token for istiod's own audience, renewed by the kubelet; upstream's lifetime. */
export const tokenVolume = {
  name: 'istio-token',
  projected: { sources: [{ serviceAccountToken: { audience: 'istio-ca', expirationSeconds: 43200, path: 'istio-token' } }] },
};
