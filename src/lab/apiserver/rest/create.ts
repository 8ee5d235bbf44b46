import type { AnyObject, ObjectMeta } from '../../../api/kubernetes.ts';
import { admit } from '../admission/admit.ts';
import { recordUpdate } from '../apply/field-manager.ts';
import { omit } from '../json.ts';
import type { ServedResource } from '../registry.ts';
import { alreadyExists, badRequest, invalid } from '../status.ts';
import { newUid, randomSuffix, timestamp, type Cluster, type WriteOptions } from './cluster.ts';
import { toServed, toStored } from './convert.ts';
import { decodeBody, expectedKind } from './decode.ts';
import { resetFieldsOf, strategyFor } from './strategy.ts';

export interface CreateRequest {
  readonly resource: ServedResource;
  /** Of the URL; absent for cluster-scoped resources. */
  readonly namespace: string | undefined;
  readonly body: unknown;
  readonly options: WriteOptions;
}

/** Creates an object from a client's body; the answer is in the served version. */
export function create(cluster: Cluster, request: CreateRequest): AnyObject {
  const { resource, namespace, body, options } = request;
  const object = decodeBody(body, expectedKind(resource), resource.schema, options);
  place(object, namespace);
  if (object.metadata.resourceVersion !== undefined && object.metadata.resourceVersion !== '') {
    throw badRequest('resourceVersion should not be set on objects to be created');
  }
  const { generateName = '' } = object.metadata;
  if (nameOf(object) === undefined && generateName !== '') object.metadata.name = `${generateName.slice(0, 58)}${randomSuffix()}`;
  const defaulted = resource.schema.default(object);
  const empty = resource.crd === undefined ? resource.schema.prune({}, { mode: 'drop' }).object : emptyCustom(defaulted);
  const owned = recordUpdate(empty, defaulted, {
    strategyOf: (path) => resource.schema.mergeStrategy(path),
    id: { manager: options.fieldManager, operation: 'Update', subresource: '', apiVersion: resource.apiVersion },
    resetFields: resetFieldsOf(resource, ''),
    now: timestamp(cluster.now()),
  });
  return finishCreate(cluster, resource, owned, options);
}

/** The last steps of a creation, for an object that is decoded, defaulted and has its managedFields. */
export function finishCreate(cluster: Cluster, resource: ServedResource, object: AnyObject, options: WriteOptions): AnyObject {
  const { info } = resource;
  const metadata = omit(object.metadata, 'resourceVersion', 'deletionTimestamp', 'deletionGracePeriodSeconds', 'generation');
  const strategy = strategyFor(resource);
  const created: AnyObject = {
    ...object,
    metadata: {
      ...metadata,
      uid: newUid(),
      creationTimestamp: timestamp(cluster.now()),
      ...(strategy.generation !== 'none' && { generation: 1 }),
    },
  };
  strategy.prepareForCreate?.(created);
  // A definition may give the status that was just taken away a default.
  const prepared = resource.crd === undefined ? created : resource.schema.default(created);
  const admitted = admit(cluster, { operation: 'create', resource, object: prepared, old: undefined, options });
  const errors = resource.schema.validate(admitted);
  if (errors.length > 0) throw invalid(info, nameOf(admitted), errors);
  const { namespace = '', name } = admitted.metadata;
  if (cluster.store.get(resource.bucket, namespace, name) !== undefined) throw alreadyExists(info, name);
  if (options.dryRun) return admitted;
  return toServed(resource, cluster.store.put(resource.bucket, toStored(resource, admitted)).object);
}

/** A body may lack what every stored object has. */
function nameOf(object: AnyObject): string | undefined {
  const { name }: Partial<ObjectMeta> = object.metadata;
  return name === '' ? undefined : name;
}

/** Puts the URL's namespace on an object that names none; throws when it names another. */
export function place(object: AnyObject, namespace: string | undefined): void {
  const given = object.metadata.namespace;
  if (given !== undefined && given !== '' && given !== (namespace ?? '')) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
  if (namespace === undefined) delete object.metadata.namespace;
  else object.metadata.namespace = namespace;
}

function emptyCustom(object: AnyObject): AnyObject {
  return { apiVersion: object.apiVersion, kind: object.kind, metadata: { name: object.metadata.name } };
}
