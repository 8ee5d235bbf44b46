import { createHash } from 'node:crypto';

import type { ResourceInfo, SubresourceInfo, Verb } from './types.ts';

/** In the order in which a server lists them for a stored built-in kind. */
const stored: readonly Verb[] = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];
/** The same for a custom resource. */
export const customVerbs: readonly Verb[] = ['delete', 'deletecollection', 'get', 'list', 'patch', 'create', 'update', 'watch'];
const readWrite: readonly Verb[] = ['get', 'patch', 'update'];

/** base64 of the first eight bytes of SHA-256 of `group/version/kind`, of the version that is stored. */
export function storageVersionHash(group: string, version: string, kind: string): string {
  return createHash('sha256').update(`${group}/${version}/${kind}`).digest().subarray(0, 8).toString('base64');
}

interface Row {
  readonly scope?: 'cluster';
  readonly short?: readonly string[];
  readonly categories?: readonly string[];
  readonly verbs?: readonly Verb[];
  /** Not stored: a call whose answer is computed. */
  readonly virtual?: true;
  readonly singular?: string;
  readonly status?: true;
  readonly scale?: true;
  readonly also?: readonly SubresourceInfo[];
  readonly storedAs?: { readonly group: string; readonly version: string };
  /** The version in which a real server stores the kind, where that is not the served one; it shows in the hash alone. */
  readonly hashVersion?: string;
}

export const statusOf = (kind: string): SubresourceInfo => ({ name: 'status', kind, verbs: readWrite });
export const scaleSubresource: SubresourceInfo = { name: 'scale', group: 'autoscaling', version: 'v1', kind: 'Scale', verbs: readWrite };

function groupVersion(group: string, version: string, rows: Record<string, Row & { readonly kind: string }>): ResourceInfo[] {
  return Object.entries(rows).map(([plural, row]) => {
    const { group: storedGroup, version: storedVersion } = row.storedAs ?? { group, version };
    const subresources = [...(row.also ?? [])];
    if (row.scale) subresources.push(scaleSubresource);
    if (row.status) subresources.push(statusOf(row.kind));
    subresources.sort((a, b) => (a.name < b.name ? -1 : 1));
    return {
      group,
      version,
      kind: row.kind,
      listKind: `${row.kind}List`,
      plural,
      singular: row.singular ?? row.kind.toLowerCase(),
      namespaced: row.scope !== 'cluster',
      shortNames: row.short ?? [],
      categories: row.categories ?? [],
      verbs: row.verbs ?? (row.virtual ? ['create'] : stored),
      subresources,
      ...(row.virtual ? {} : { storageVersionHash: storageVersionHash(storedGroup, row.hashVersion ?? storedVersion, row.kind) }),
      ...(row.storedAs === undefined ? {} : { storedAs: row.storedAs }),
    };
  });
}

const all = ['all'];
const apiExtensions = ['api-extensions'];

/**
 * The built-in resources of the lab's API server, as discovery lists them. A kind is listed only if the lab does with it what
 * its users expect: kinds without a controller here (jobs, volume claims, autoscalers) are not. Ingresses have none in a bare cluster either.
 */
export const builtinResources: readonly ResourceInfo[] = [
  ...groupVersion('', 'v1', {
    configmaps: { kind: 'ConfigMap', short: ['cm'] },
    endpoints: { kind: 'Endpoints', short: ['ep'], singular: 'endpoints' },
    events: { kind: 'Event', short: ['ev'] },
    namespaces: {
      kind: 'Namespace',
      scope: 'cluster',
      short: ['ns'],
      verbs: stored.filter((verb) => verb !== 'deletecollection'),
      status: true,
      also: [{ name: 'finalize', kind: 'Namespace', verbs: ['update'] }],
    },
    nodes: { kind: 'Node', scope: 'cluster', short: ['no'], status: true },
    pods: {
      kind: 'Pod',
      short: ['po'],
      categories: all,
      status: true,
      also: [
        { name: 'binding', kind: 'Binding', verbs: ['create'] },
        { name: 'eviction', group: 'policy', version: 'v1', kind: 'Eviction', verbs: ['create'] },
        { name: 'exec', kind: 'PodExecOptions', verbs: ['create', 'get'] },
        { name: 'log', kind: 'Pod', verbs: ['get'] },
      ],
    },
    secrets: { kind: 'Secret' },
    serviceaccounts: {
      kind: 'ServiceAccount',
      short: ['sa'],
      also: [{ name: 'token', group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest', verbs: ['create'] }],
    },
    services: { kind: 'Service', short: ['svc'], categories: all, status: true },
  }),
  ...groupVersion('apps', 'v1', {
    controllerrevisions: { kind: 'ControllerRevision' },
    daemonsets: { kind: 'DaemonSet', short: ['ds'], categories: all, status: true },
    deployments: { kind: 'Deployment', short: ['deploy'], categories: all, scale: true, status: true },
    replicasets: { kind: 'ReplicaSet', short: ['rs'], categories: all, scale: true, status: true },
    statefulsets: { kind: 'StatefulSet', short: ['sts'], categories: all, scale: true, status: true },
  }),
  ...groupVersion('events.k8s.io', 'v1', {
    events: { kind: 'Event', short: ['ev'], storedAs: { group: '', version: 'v1' } },
  }),
  ...groupVersion('authentication.k8s.io', 'v1', {
    selfsubjectreviews: { kind: 'SelfSubjectReview', scope: 'cluster', virtual: true },
    tokenreviews: { kind: 'TokenReview', scope: 'cluster', virtual: true },
  }),
  ...groupVersion('authorization.k8s.io', 'v1', {
    localsubjectaccessreviews: { kind: 'LocalSubjectAccessReview', virtual: true },
    selfsubjectaccessreviews: { kind: 'SelfSubjectAccessReview', scope: 'cluster', virtual: true },
    selfsubjectrulesreviews: { kind: 'SelfSubjectRulesReview', scope: 'cluster', virtual: true },
    subjectaccessreviews: { kind: 'SubjectAccessReview', scope: 'cluster', virtual: true },
  }),
  ...groupVersion('networking.k8s.io', 'v1', {
    ingressclasses: { kind: 'IngressClass', scope: 'cluster' },
    ingresses: { kind: 'Ingress', short: ['ing'], status: true },
    networkpolicies: { kind: 'NetworkPolicy', short: ['netpol'] },
  }),
  ...groupVersion('policy', 'v1', {
    poddisruptionbudgets: { kind: 'PodDisruptionBudget', short: ['pdb'], status: true },
  }),
  ...groupVersion('rbac.authorization.k8s.io', 'v1', {
    clusterrolebindings: { kind: 'ClusterRoleBinding', scope: 'cluster' },
    clusterroles: { kind: 'ClusterRole', scope: 'cluster' },
    rolebindings: { kind: 'RoleBinding' },
    roles: { kind: 'Role' },
  }),
  ...groupVersion('admissionregistration.k8s.io', 'v1', {
    mutatingwebhookconfigurations: { kind: 'MutatingWebhookConfiguration', scope: 'cluster', categories: apiExtensions },
    validatingwebhookconfigurations: { kind: 'ValidatingWebhookConfiguration', scope: 'cluster', categories: apiExtensions },
  }),
  ...groupVersion('apiextensions.k8s.io', 'v1', {
    customresourcedefinitions: {
      kind: 'CustomResourceDefinition',
      scope: 'cluster',
      short: ['crd', 'crds'],
      categories: apiExtensions,
      status: true,
      hashVersion: 'v1beta1',
    },
  }),
  ...groupVersion('scheduling.k8s.io', 'v1', {
    priorityclasses: { kind: 'PriorityClass', scope: 'cluster', short: ['pc'] },
  }),
  ...groupVersion('coordination.k8s.io', 'v1', {
    leases: { kind: 'Lease' },
  }),
  ...groupVersion('discovery.k8s.io', 'v1', {
    endpointslices: { kind: 'EndpointSlice' },
  }),
];
