import type { AnyObject, ObjectMeta } from '../../../api/kubernetes.ts';
import { cleanupFinalizer, definitionBucket, instanceBucket } from '../custom-resources.ts';
import { checkNamespaceMayGo } from '../admission/namespace-lifecycle.ts';
import { asObject, asString } from '../json.ts';
import type { ServedResource } from '../registry.ts';
import { conflict, invalid } from '../status.ts';
import { timestamp, type Cluster } from './cluster.ts';
import { toServed, toStored } from './convert.ts';
import { isReadyToGo, strategyFor } from './strategy.ts';
import { find } from './update.ts';

/** meta/v1 DeleteOptions, from the body and the query. */
export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: string;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly dryRun: boolean;
}

export interface DeleteRequest {
  readonly resource: ServedResource;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly options: DeleteOptions;
}

export interface Deleted {
  readonly object: AnyObject;
  /** False while finalizers or a grace period hold the object. */
  readonly gone: boolean;
}

/** The finalizers that stand for what becomes of the dependents; the garbage collector takes them off. */
const orphan = 'orphan';
const foreground = 'foregroundDeletion';

/** Deletes an object, or marks it as being deleted while something holds it. */
export function remove(cluster: Cluster, { resource, namespace, name, options }: DeleteRequest): Deleted {
  const old = find(cluster, resource, namespace, name);
  checkPreconditions(resource, old, options);
  if (resource.bucket === 'namespaces.') checkNamespaceMayGo(resource, name);
  const grace = gracePeriod(resource, old, options);
  const metadata: ObjectMeta = { ...old.metadata };
  const finalizers = withPropagation(metadata.finalizers ?? [], options);
  const holdsObjects = resource.bucket === definitionBucket && cluster.store.bucket(instanceBucket(old)).size > 0;
  if (holdsObjects && !finalizers.includes(cleanupFinalizer)) finalizers.push(cleanupFinalizer);
  if (finalizers.length > 0) metadata.finalizers = finalizers;
  else delete metadata.finalizers;

  const already = metadata.deletionTimestamp !== undefined;
  const shorter = grace < (metadata.deletionGracePeriodSeconds ?? 0);
  if (!already || shorter) {
    if (!already && metadata.generation !== undefined) metadata.generation += 1;
    metadata.deletionTimestamp = timestamp(cluster.now() + grace * 1000);
    if (resource.bucket !== 'namespaces.') metadata.deletionGracePeriodSeconds = grace;
  }
  const marked: AnyObject = { ...old, metadata };
  if (resource.bucket === 'namespaces.') marked['status'] = { ...asObject(old['status']), phase: 'Terminating' };

  // What nothing holds goes as it is; only a pod shows that it was told to end.
  const gone = isReadyToGo(resource, marked);
  if (gone && !already && !strategyFor(resource).graceful) {
    if (options.dryRun) return { object: old, gone };
    return { object: toServed(resource, cluster.store.remove(resource.bucket, toStored(resource, old)).object), gone };
  }
  if (options.dryRun) return { object: marked, gone };
  if (gone) return { object: toServed(resource, cluster.store.remove(resource.bucket, toStored(resource, marked)).object), gone };
  if (already && !shorter && finalizers.length === (old.metadata.finalizers ?? []).length) return { object: old, gone: false };
  return { object: toServed(resource, cluster.store.put(resource.bucket, toStored(resource, marked)).object), gone: false };
}

function checkPreconditions(resource: ServedResource, object: AnyObject, { preconditions = {} }: DeleteOptions): void {
  const { uid, resourceVersion } = preconditions;
  const { metadata } = object;
  // Here Kubernetes names the kind, not the resource.
  const named = { plural: resource.info.kind, group: resource.info.group };
  if (uid !== undefined && uid !== metadata.uid) {
    const why = `the UID in the precondition (${uid}) does not match the UID in record (${metadata.uid ?? ''}). The object might have been deleted and then recreated`;
    throw conflict(named, metadata.name, why);
  }
  if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion) {
    const why = `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${metadata.resourceVersion ?? ''}). The object might have been modified`;
    throw conflict(named, metadata.name, why);
  }
}

/** Seconds that the node gets to end the pod; 0 where no node is concerned. */
function gracePeriod(resource: ServedResource, object: AnyObject, options: DeleteOptions): number {
  if (!strategyFor(resource).graceful) return 0;
  const spec = asObject(object['spec']);
  const phase = asString(asObject(object['status'])['phase']);
  if ((spec['nodeName'] ?? '') === '' || phase === 'Succeeded' || phase === 'Failed') return 0;
  const ofPod = spec['terminationGracePeriodSeconds'];
  const wanted = options.gracePeriodSeconds ?? (typeof ofPod === 'number' ? ofPod : 30);
  return Math.max(0, wanted);
}

function withPropagation(finalizers: readonly string[], { propagationPolicy }: DeleteOptions): string[] {
  const others = finalizers.filter((name) => name !== orphan && name !== foreground);
  switch (propagationPolicy) {
    case undefined:
      return [...finalizers];
    case 'Orphan':
      return [...others, orphan];
    case 'Foreground':
      return [...others, foreground];
    case 'Background':
      return others;
    default:
      throw invalid({ kind: 'DeleteOptions', group: 'meta.k8s.io' }, '', [
        {
          reason: 'FieldValueNotSupported',
          field: 'propagationPolicy',
          message: `Unsupported value: ${JSON.stringify(propagationPolicy)}: supported values: "Background", "Foreground", "Orphan"`,
        },
      ]);
  }
}
