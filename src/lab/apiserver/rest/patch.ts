import type { AnyObject } from '../../../api/kubernetes.ts';
import { applyConfiguration } from '../apply/field-manager.ts';
import { asObject, isObject, omit } from '../json.ts';
import { jsonPatch, JsonPatchError } from '../patch/json-patch.ts';
import { mergePatch } from '../patch/merge-patch.ts';
import { strategicMergePatch } from '../patch/strategic-merge-patch.ts';
import type { ServedResource } from '../registry.ts';
import { badRequest, invalid, unprocessable, unsupportedMediaType } from '../status.ts';
import { timestamp, type Cluster, type WriteOptions } from './cluster.ts';
import { toServed } from './convert.ts';
import { finishCreate, place } from './create.ts';
import { decodeBody, expectedKind, readAs } from './decode.ts';
import { resetFieldsOf } from './strategy.ts';
import { checkIdentity, find, finishUpdate, own } from './update.ts';

export const patchTypes = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

export type PatchType = keyof typeof patchTypes;

export interface PatchRequest {
  readonly resource: ServedResource;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly subresource: string;
  readonly type: PatchType;
  readonly patch: unknown;
  /** Server-side apply: take over what others own. */
  readonly force: boolean;
  /** Server-side apply demands the query's `fieldManager`. */
  readonly namedManager: boolean;
  /** Server-side apply of what is not there asks for the verb `create` as well: throws the API's 403. */
  readonly mayCreate: () => void;
  readonly options: WriteOptions;
}

/** The patch type of a content type; throws 415 for one that the resource does not take. */
export function patchType(contentType: string, resource: ServedResource): PatchType {
  const found = (Object.keys(patchTypes) as PatchType[]).find((type) => patchTypes[type] === contentType);
  if (found === 'strategic' && resource.crd !== undefined) {
    throw unsupportedMediaType([patchTypes.json, patchTypes.merge, patchTypes.apply]);
  }
  if (found === undefined) throw unsupportedMediaType();
  return found;
}

export interface Patched {
  readonly object: AnyObject;
  /** A server-side apply of an object that was not there. */
  readonly created: boolean;
}

export function patch(cluster: Cluster, request: PatchRequest): Patched {
  if (request.type === 'apply') return apply(cluster, request);
  const { resource, namespace, name, subresource, options } = request;
  const old = find(cluster, resource, namespace, name);
  const patched = patchObject(request, old, (path) => resource.schema.mergeStrategy(path));
  const read = readAs(patched, expectedKind(resource), resource.schema, options, false);
  if (read.metadata.name !== name) {
    throw badRequest(`the name of the object (${read.metadata.name}) does not match the name on the URL (${name})`);
  }
  place(read, namespace);
  checkIdentity(resource, read, old);
  const next = own(cluster, request, old, resource.schema.default(read));
  return { object: finishUpdate(cluster, { resource, subresource, old, next, options }), created: false };
}

type StrategyOf = Parameters<typeof strategicMergePatch>[2];

/** A JSON, merge or strategic merge patch of any object; throws 400 or 422 for one that does not fit. */
export function patchObject(request: Pick<PatchRequest, 'type' | 'patch'>, old: AnyObject, strategyOf: StrategyOf): unknown {
  if (request.type === 'json') {
    try {
      return jsonPatch(old, request.patch);
    } catch (error) {
      if (error instanceof JsonPatchError) throw unprocessable();
      throw error;
    }
  }
  if (!isObject(request.patch)) throw badRequest('error decoding patch: a patch is an object');
  const before = asObject(old);
  return request.type === 'merge' ? mergePatch(before, request.patch) : strategicMergePatch(before, request.patch, strategyOf);
}

/** Server-side apply: creates the object when it is not there. */
function apply(cluster: Cluster, request: PatchRequest): Patched {
  const { resource, namespace, name, subresource, options, force } = request;
  if (!request.namedManager) {
    throw invalid({ kind: 'PatchOptions', group: 'meta.k8s.io' }, '', [
      { reason: 'FieldValueRequired', field: 'fieldManager', message: 'Required value: is required for apply patch' },
    ]);
  }
  const config = configuration(request);
  const live = cluster.store.get(resource.bucket, namespace ?? '', name);
  if (live === undefined && subresource === '') request.mayCreate();
  if (live === undefined && subresource !== '') find(cluster, resource, namespace, name);
  const { schema } = resource;
  const old = live === undefined ? undefined : toServed(resource, live.object);
  if (old !== undefined) checkIdentity(resource, config, old);
  const { object } = applyConfiguration(old ?? empty(resource, namespace, name), config, {
    strategyOf: (path) => schema.mergeStrategy(path),
    id: { manager: options.fieldManager, operation: 'Apply', subresource, apiVersion: resource.apiVersion },
    resetFields: resetFieldsOf(resource, subresource),
    now: timestamp(cluster.now()),
    force,
  });
  const next = schema.default(schema.prune(object, { mode: 'drop' }).object);
  if (old === undefined) return { object: finishCreate(cluster, resource, next, options), created: true };
  return { object: finishUpdate(cluster, { resource, subresource, old, next, options }), created: false };
}

/** What an apply states, without the fields that Go would add: only given fields are owned. */
function configuration({ resource, namespace, name, patch: body, options }: PatchRequest): AnyObject {
  if (!isObject(body)) throw badRequest('error decoding YAML: an object is expected');
  if (body['apiVersion'] === undefined || body['kind'] === undefined) {
    throw badRequest(`invalid object type: ${JSON.stringify(body['apiVersion'] ?? '')}, Kind=${JSON.stringify(body['kind'] ?? '')}`);
  }
  // Read as the type for its errors alone.
  const read = decodeBody(body, expectedKind(resource), resource.schema, options);
  const metadata = asObject(body['metadata']);
  if (metadata['managedFields'] !== undefined && metadata['managedFields'] !== null) {
    throw badRequest('metadata.managedFields must be nil');
  }
  const given = read.metadata.name as string | undefined;
  if (given !== undefined && given !== '' && given !== name) {
    throw badRequest(`the name of the object (${given}) does not match the name on the URL (${name})`);
  }
  place(read, namespace);
  const stated = omit(metadata, 'creationTimestamp');
  const known = keepKnown(withoutNulls({ ...body, metadata: stated }), read);
  return { ...known, metadata: { ...asObject(known['metadata']), name, ...(namespace !== undefined && { namespace }) } } as AnyObject;
}

/** A null states nothing. */
function withoutNulls(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== null)
      .map(([key, field]) => [key, isObject(field) ? withoutNulls(field) : field]),
  );
}

/** The stated top-level fields that the type knows, in the type's own spelling (quantities, times). */
function keepKnown(stated: Record<string, unknown>, read: unknown): Record<string, unknown> {
  const typed = asObject(read);
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(stated)) {
    if (key in typed) result[key] = canonical(value, typed[key]);
    else if (isEmptyValue(value)) result[key] = value;
  }
  return result;
}

function canonical(stated: unknown, read: unknown): unknown {
  if (isObject(stated) && isObject(read)) {
    return Object.fromEntries(
      Object.entries(stated)
        .filter(([key, value]) => key in read || isEmptyValue(value))
        .map(([key, value]) => [key, key in read ? canonical(value, read[key]) : value]),
    );
  }
  if (Array.isArray(stated) && Array.isArray(read)) return stated.map((item, i) => canonical(item, (read as unknown[])[i]));
  return isObject(stated) || Array.isArray(stated) ? stated : read;
}

/** What the type would leave out (an empty map, false, zero) is stated all the same. */
function isEmptyValue(value: unknown): boolean {
  return value === '' || value === 0 || value === false || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
}

function empty(resource: ServedResource, namespace: string | undefined, name: string): AnyObject {
  const metadata = { name, ...(namespace !== undefined && { namespace }) };
  const { apiVersion } = resource;
  if (resource.crd !== undefined) return { apiVersion, kind: resource.info.kind, metadata };
  return resource.schema.prune({ metadata }, { mode: 'drop' }).object;
}
