import type { ResourceInfo, SubresourceInfo } from './types.ts';

/** `v1` or `apps/v1`. */
export function groupVersionOf(type: Pick<ResourceInfo, 'group' | 'version'>): string {
  return type.group === '' ? type.version : `${type.group}/${type.version}`;
}

/** GET /api. `serverAddress`: host and port under which the server is reached. */
export function apiVersions(options: { readonly serverAddress: string }): Record<string, unknown> {
  return {
    kind: 'APIVersions',
    versions: ['v1'],
    serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: options.serverAddress }],
  };
}

/** GET /apis. */
export function apiGroupList(resources: readonly ResourceInfo[]): Record<string, unknown> {
  const names = groups(resources).filter((group) => group !== '');
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: names.map((name) => group(name, resources)) };
}

/** GET /apis/<group>; undefined for a group that is not served. */
export function apiGroup(name: string, resources: readonly ResourceInfo[]): Record<string, unknown> | undefined {
  return name !== '' && groups(resources).includes(name) ? { kind: 'APIGroup', apiVersion: 'v1', ...group(name, resources) } : undefined;
}

/** GET /api/v1 and /apis/<group>/<version>; undefined when not served. */
export function apiResourceList(groupVersion: string, resources: readonly ResourceInfo[]): Record<string, unknown> | undefined {
  const served = resources.filter((resource) => groupVersionOf(resource) === groupVersion);
  if (served.length === 0) return undefined;
  return {
    kind: 'APIResourceList',
    // The core group's list has none.
    ...(groupVersion === 'v1' ? {} : { apiVersion: 'v1' }),
    groupVersion,
    resources: inOrder(served).flatMap((resource) => [
      {
        name: resource.plural,
        singularName: resource.singular,
        namespaced: resource.namespaced,
        kind: resource.kind,
        verbs: resource.verbs,
        ...notEmpty('shortNames', resource.shortNames),
        ...notEmpty('categories', resource.categories),
        ...(resource.storageVersionHash === undefined ? {} : { storageVersionHash: resource.storageVersionHash }),
      },
      ...resource.subresources.map((sub) => ({
        name: `${resource.plural}/${sub.name}`,
        singularName: '',
        namespaced: resource.namespaced,
        ...(sub.group === undefined ? {} : { group: sub.group, version: sub.version }),
        kind: sub.kind,
        verbs: sub.verbs,
      })),
    ]),
  };
}

/** The document of apidiscovery.k8s.io/v2: of the core group for `/api`, of all others for `/apis`. */
export function aggregatedDiscovery(root: '/api' | '/apis', resources: readonly ResourceInfo[]): Record<string, unknown> {
  const names = groups(resources).filter((group) => (group === '') === (root === '/api'));
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: names.map((name) => ({
      metadata: name === '' ? {} : { name },
      versions: versions(name, resources).map((version) => ({
        version,
        resources: inOrder(resources.filter((resource) => resource.group === name && resource.version === version)).map(aggregated),
        freshness: 'Current',
      })),
    })),
  };
}

function aggregated(resource: ResourceInfo): Record<string, unknown> {
  const responseKind = (of: Pick<SubresourceInfo, 'kind' | 'group' | 'version'>): Record<string, string> => {
    if (of.group !== undefined && of.version !== undefined) return { group: of.group, version: of.version, kind: of.kind };
    // A real server leaves the place of its own kinds empty: the enclosing document says it.
    return resource.crd === undefined
      ? { group: '', version: '', kind: of.kind }
      : { group: resource.group, version: resource.version, kind: of.kind };
  };
  return {
    resource: resource.plural,
    responseKind: responseKind({ kind: resource.kind }),
    scope: resource.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: resource.singular,
    verbs: resource.verbs,
    ...notEmpty('shortNames', resource.shortNames),
    ...notEmpty('categories', resource.categories),
    ...notEmpty(
      'subresources',
      resource.subresources.map((sub) => ({ subresource: sub.name, responseKind: responseKind(sub), verbs: sub.verbs })),
    ),
  };
}

function group(name: string, resources: readonly ResourceInfo[]): Record<string, unknown> {
  const all = versions(name, resources).map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: all, preferredVersion: all[0] };
}

/** In the order of the resources: built-in ones first, then custom ones by name. */
function groups(resources: readonly ResourceInfo[]): string[] {
  const builtin = new Set(resources.filter((resource) => resource.crd === undefined).map((resource) => resource.group));
  const custom = new Set(resources.filter((resource) => !builtin.has(resource.group)).map((resource) => resource.group));
  return [...builtin, ...[...custom].sort()];
}

/** The newest first, stable before beta before alpha. */
function versions(group: string, resources: readonly ResourceInfo[]): string[] {
  const all = new Set(resources.filter((resource) => resource.group === group).map((resource) => resource.version));
  return [...all].sort(compareVersions);
}

/** Kubernetes' order of versions, the preferred one first: `v2 v1 v1beta2 v1beta1 v1alpha1`, then all others by name. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [rank(a), rank(b)];
  if (left === undefined || right === undefined) return left === right ? (a < b ? -1 : 1) : left === undefined ? 1 : -1;
  for (const [index, value] of left.entries()) {
    const difference = (right[index] ?? 0) - value;
    if (difference !== 0) return difference;
  }
  return 0;
}

function rank(version: string): readonly number[] | undefined {
  const [, major, stage, minor = '0'] = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version) ?? [];
  if (major === undefined) return undefined;
  return [stage === undefined ? 2 : stage === 'beta' ? 1 : 0, Number(major), Number(minor)];
}

function inOrder(resources: readonly ResourceInfo[]): readonly ResourceInfo[] {
  return [...resources].sort((a, b) => (a.plural < b.plural ? -1 : 1));
}

function notEmpty(key: string, list: readonly unknown[]): Record<string, unknown> {
  return list.length === 0 ? {} : { [key]: list };
}
