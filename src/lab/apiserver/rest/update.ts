import type { AnyObject, ObjectMeta } from '../../../api/kubernetes.ts';
import { admit } from '../admission/admit.ts';
import { recordUpdate, sameButTimes } from '../apply/field-manager.ts';
import { omit } from '../json.ts';
import type { ServedResource } from '../registry.ts';
import { badRequest, conflict, invalid, modified, notFound } from '../status.ts';
import type { StoredObject } from '../storage/bucket.ts';
import { timestamp, type Cluster, type WriteOptions } from './cluster.ts';
import { toServed, toStored } from './convert.ts';
import { decodeBody, expectedKind } from './decode.ts';
import { place } from './create.ts';
import { isNewGeneration, isReadyToGo, resetFieldsOf, strategyFor } from './strategy.ts';

export interface UpdateRequest {
  readonly resource: ServedResource;
  readonly namespace: string | undefined;
  readonly name: string;
  /** Empty for the object itself; `status`. */
  readonly subresource: string;
  readonly body: unknown;
  readonly options: WriteOptions;
}

/** PUT: replaces an object, or its status. */
export function update(cluster: Cluster, request: UpdateRequest): AnyObject {
  const { resource, namespace, name, subresource, body, options } = request;
  const decoded = decodeBody(body, expectedKind(resource), resource.schema, options);
  place(decoded, namespace);
  if (decoded.metadata.name !== name) {
    throw badRequest(`the name of the object (${decoded.metadata.name}) does not match the name on the URL (${name})`);
  }
  const old = find(cluster, resource, namespace, name);
  const sent = decoded.metadata.resourceVersion ?? '';
  if (sent === '' && !strategyFor(resource).unconditionalUpdate) {
    throw invalid(resource.info, name, [
      { reason: 'FieldValueInvalid', field: 'metadata.resourceVersion', message: 'Invalid value: 0: must be specified for an update' },
    ]);
  }
  checkIdentity(resource, decoded, old);
  return finishUpdate(cluster, { resource, subresource, old, next: own(cluster, request, old, resource.schema.default(decoded)), options });
}

/** The live object as it is stored; throws the API's 404. */
export function findStored(cluster: Cluster, resource: ServedResource, namespace: string | undefined, name: string): StoredObject {
  const stored = cluster.store.get(resource.bucket, namespace ?? '', name);
  if (stored === undefined) throw notFound(resource.info, name);
  return stored;
}

/** The live object in the served version; throws the API's 404. */
export function find(cluster: Cluster, resource: ServedResource, namespace: string | undefined, name: string): AnyObject {
  return toServed(resource, findStored(cluster, resource, namespace, name).object);
}

/** Records who owns what an update changed. */
export function own(
  cluster: Cluster,
  request: Pick<UpdateRequest, 'resource' | 'subresource' | 'options'>,
  old: AnyObject,
  next: AnyObject,
): AnyObject {
  const { resource, subresource, options } = request;
  return recordUpdate(old, next, {
    strategyOf: (path) => resource.schema.mergeStrategy(path),
    id: { manager: options.fieldManager, operation: 'Update', subresource, apiVersion: resource.apiVersion },
    resetFields: resetFieldsOf(resource, subresource),
    // Kubernetes does not note when an object was scaled.
    now: subresource === 'scale' ? undefined : timestamp(cluster.now()),
  });
}

/** An update speaks of one incarnation and, if it says so, of one version of an object. */
export function checkIdentity(resource: ServedResource, next: AnyObject, old: AnyObject): void {
  const { name, uid, resourceVersion } = next.metadata;
  if (uid !== undefined && uid !== '' && uid !== old.metadata.uid) {
    const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid ?? ''}`;
    throw conflict(resource.info, name, why);
  }
  if (resourceVersion !== undefined && resourceVersion !== '' && resourceVersion !== old.metadata.resourceVersion) {
    throw modified(resource.info, name);
  }
}

export interface FinishUpdate {
  readonly resource: ServedResource;
  readonly subresource: string;
  readonly old: AnyObject;
  /** Decoded, defaulted, with its managedFields. */
  readonly next: AnyObject;
  readonly options: WriteOptions;
}

/** The last steps of every update: what the endpoint may not change stays, admission, validation, and the write unless nothing changed. */
export function finishUpdate(cluster: Cluster, { resource, subresource, old, next, options }: FinishUpdate): AnyObject {
  const strategy = strategyFor(resource);
  const object = subresource === 'status' ? withStatusOnly(next, old, strategy.statusMetadata) : withoutStatus(next, old, strategy.status);
  object.metadata = systemMetadata(object.metadata, old.metadata);
  if (subresource === '') strategy.prepareForUpdate?.(object, old);
  if (subresource === '' && isNewGeneration(strategy, object, old)) object.metadata.generation = (old.metadata.generation ?? 0) + 1;

  const admitted = admit(cluster, { operation: 'update', resource, subresource, object, old, options });
  const errors = subresource === 'status' ? resource.schema.validateStatus(admitted, old) : resource.schema.validate(admitted, old);
  if (errors.length > 0) throw invalid(resource.info, old.metadata.name, errors);

  if (sameButTimes(admitted, old)) return old;
  if (options.dryRun) return admitted;
  if (isReadyToGo(resource, admitted)) {
    cluster.store.remove(resource.bucket, toStored(resource, admitted));
    return admitted;
  }
  return toServed(resource, cluster.store.put(resource.bucket, toStored(resource, admitted)).object);
}

/** What the server alone writes in metadata. */
const systemFields = [
  'uid',
  'creationTimestamp',
  'generation',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'resourceVersion',
] as const;

/** The new metadata, but for the server's own fields. */
function systemMetadata(next: ObjectMeta, old: ObjectMeta): ObjectMeta {
  const kept = Object.fromEntries(systemFields.flatMap((name) => (old[name] === undefined ? [] : [[name, old[name]]])));
  return { ...omit(next, ...systemFields), ...kept };
}

function withStatusOnly(next: AnyObject, old: AnyObject, metadataToo: boolean): AnyObject {
  const { managedFields, labels, annotations } = next.metadata;
  const writable: ObjectMeta = { ...omit(old.metadata, 'managedFields'), ...(managedFields !== undefined && { managedFields }) };
  if (metadataToo) {
    delete writable.labels;
    delete writable.annotations;
    if (labels !== undefined) writable.labels = labels;
    if (annotations !== undefined) writable.annotations = annotations;
  }
  const result: AnyObject = { ...old, metadata: writable };
  if (next['status'] === undefined) delete result['status'];
  else result['status'] = next['status'];
  return result;
}

function withoutStatus(next: AnyObject, old: AnyObject, hasStatus: boolean): AnyObject {
  const result: AnyObject = { ...next };
  if (!hasStatus) return result;
  if (old['status'] === undefined) delete result['status'];
  else result['status'] = old['status'];
  return result;
}
