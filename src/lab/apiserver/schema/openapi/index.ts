import { createHash } from 'node:crypto';

import type { AnyObject } from '../../../../api/kubernetes.ts';
import { builtinStruct } from '../builtin-schema.ts';
import { groupVersionOf } from '../discovery.ts';
import { structType } from '../field-table.ts';
import { objectAt, objectsAt, stringAt } from '../json.ts';
import type { ResourceInfo } from '../types.ts';
import { modelName, Models, type RefPrefix } from './models.ts';
import { resourcePaths } from './paths.ts';

type Json = Record<string, unknown>;

const info = { title: 'Kubernetes', version: 'v1.36.3' };

/** GET /openapi/v3: where the document of each group version is; the hash changes whenever the document does. */
export function openApiV3Index(resources: readonly ResourceInfo[], crds: readonly AnyObject[]): Json {
  const served = new Set(resources.map(groupVersionOf));
  const paths = [...served].map((groupVersion) => {
    const path = groupVersion === 'v1' ? 'api/v1' : `apis/${groupVersion}`;
    const hash = createHash('sha512').update(JSON.stringify([info, ingredients(groupVersion, resources, crds)]));
    return [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hash.digest('hex').toUpperCase()}` }] as const;
  });
  return { paths: Object.fromEntries(paths.sort(([a], [b]) => (a < b ? -1 : 1))) };
}

/** What the document of a group version is made from. */
function ingredients(groupVersion: string, resources: readonly ResourceInfo[], crds: readonly AnyObject[]): unknown {
  const served = resources.filter((resource) => groupVersionOf(resource) === groupVersion);
  const names = new Set(served.map((resource) => resource.crd));
  return [served, crds.filter((crd) => names.has(crd.metadata.name)).map((crd) => crd['spec'])];
}

/**
 * GET /openapi/v3/api/v1 (`v1`) and /openapi/v3/apis/<group>/<version>; undefined when not served. Good for `kubectl explain` and `kubectl apply`: models with
 * merge keys, and for each operation the parameters that it takes.
 */
export function openApiV3(groupVersion: string, resources: readonly ResourceInfo[], crds: readonly AnyObject[]): Json | undefined {
  const served = resources.filter((resource) => groupVersionOf(resource) === groupVersion);
  if (served.length === 0) return undefined;
  const { models, paths } = build('#/components/schemas/', served, crds);
  return { openapi: '3.0.0', info, paths: Object.fromEntries(paths), components: { schemas: models.all() } };
}

/** GET /openapi/v2, in JSON: the models alone, for clients that know nothing newer. */
export function openApiV2(resources: readonly ResourceInfo[], crds: readonly AnyObject[]): Json {
  const { models } = build('#/definitions/', resources, crds);
  return { swagger: '2.0', info, paths: {}, definitions: models.all() };
}

function build(
  prefix: RefPrefix,
  resources: readonly ResourceInfo[],
  crds: readonly AnyObject[],
): { models: Models; paths: [string, Json][] } {
  const models = new Models(prefix);
  const paths = resources.flatMap((resource) => {
    const own = resource.crd === undefined ? builtinModels(models, resource) : customModels(models, resource, crds);
    return own === undefined ? [] : resourcePaths(resource, own);
  });
  const options = structType('meta', 'DeleteOptions');
  if (options !== undefined) {
    const groupVersions = new Map(resources.map((resource) => [groupVersionOf(resource), resource]));
    models.identify(
      options,
      [...groupVersions.values()].map(({ group, version }) => ({ group, version, kind: 'DeleteOptions' })),
    );
  }
  return { models, paths };
}

function builtinModels(models: Models, resource: ResourceInfo): { object: Json; list: Json } | undefined {
  const type = builtinStruct(resource.group, resource.kind);
  if (type === undefined) return undefined;
  models.identify(type, [resource]);
  for (const { group, version, kind } of resource.subresources) {
    const other = group === undefined || version === undefined ? undefined : builtinStruct(group, kind);
    if (other !== undefined && group !== undefined && version !== undefined) models.identify(other, [{ group, version, kind }]);
  }
  const object = models.struct(type);
  const stored = resource.verbs.includes('list');
  return { object, list: stored ? models.list(modelName(type.table, resource.listKind), { allOf: [object], default: {} }, resource) : {} };
}

/** A custom resource's model is its schema, with what every resource has. */
function customModels(models: Models, resource: ResourceInfo, crds: readonly AnyObject[]): { object: Json; list: Json } | undefined {
  const crd = crds.find((candidate) => candidate.metadata.name === resource.crd);
  const version = objectsAt(objectAt(crd, 'spec'), 'versions').find((candidate) => stringAt(candidate, 'name') === resource.version);
  const meta = structType('meta', 'ObjectMeta');
  if (version === undefined || meta === undefined) return undefined;
  const schema = objectAt(objectAt(version, 'schema'), 'openAPIV3Schema');
  const name = [...resource.group.split('.').reverse(), resource.version].join('.');
  const object = models.add(`${name}.${resource.kind}`, {
    ...schema,
    type: 'object',
    properties: {
      ...objectAt(schema, 'properties'),
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { allOf: [models.struct(meta)] },
    },
    'x-kubernetes-group-version-kind': [{ group: resource.group, kind: resource.kind, version: resource.version }],
  });
  return { object, list: models.list(`${name}.${resource.listKind}`, object, resource) };
}
