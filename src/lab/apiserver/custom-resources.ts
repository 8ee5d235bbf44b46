import type { AnyObject, Condition } from '../../api/kubernetes.ts';
import { recordUpdate } from './apply/field-manager.ts';
import { asList, asObject, deepEqual } from './json.ts';
import type { ServedResource } from './registry.ts';
import { timestamp, type Cluster } from './rest/cluster.ts';
import { remove } from './rest/delete.ts';

export const definitionBucket = 'customresourcedefinitions.apiextensions.k8s.io';

/** Holds a definition until the last object of its kind is gone. */
export const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io';

/**
 * The life of CustomResourceDefinitions: an accepted one is served in the same moment, a changed one anew, and one that is
 * deleted takes its objects along before it goes.
 */
export class CustomResources {
  readonly #cluster: Cluster;
  /** By name: the generation that is served. */
  readonly #served = new Map<string, number>();
  /** Definitions that wait for their objects to go; the value ends the waiting. */
  readonly #terminating = new Map<string, () => void>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Serves what is stored, and follows every change from now on. */
  start(): void {
    const bucket = this.#cluster.store.bucket(definitionBucket);
    for (const { object } of bucket.all()) this.#changed(object);
    let seen = this.#cluster.store.version;
    bucket.subscribe(() => {
      for (const change of bucket.changesAfter(seen) ?? []) {
        if (change.version <= seen) continue;
        seen = change.version;
        if (change.type === 'DELETED') this.#gone(change.current.object.metadata.name);
        else this.#changed(change.current.object);
      }
    });
  }

  #changed(crd: AnyObject): void {
    const { name, generation = 0, deletionTimestamp } = crd.metadata;
    if (deletionTimestamp !== undefined) this.#terminate(crd);
    const conflict = this.#cluster.registry.nameConflict(crd);
    if (conflict === undefined && this.#served.get(name) !== generation) {
      this.#cluster.registry.define(crd);
      this.#served.set(name, generation);
    }
    if (deletionTimestamp === undefined) this.#writeStatus(crd, conflict);
  }

  #gone(name: string): void {
    this.#cluster.registry.undefine(name);
    this.#served.delete(name);
    this.#terminating.get(name)?.();
    this.#terminating.delete(name);
  }

  /** NamesAccepted and Established, as far as they are not there yet. */
  #writeStatus(crd: AnyObject, conflict: string | undefined): void {
    const spec = asObject(crd['spec']);
    const status = asObject(crd['status']);
    const names = asObject(spec['names']);
    const now = timestamp(this.#cluster.now());
    const accepted = conflict === undefined;
    const conditions = mergeConditions(
      asList(status['conditions']).map((c) => c as Condition),
      [
        {
          type: 'NamesAccepted',
          status: accepted ? 'True' : 'False',
          reason: accepted ? 'NoConflicts' : 'NamesConflict',
          message: accepted ? 'no conflicts found' : conflict,
          lastTransitionTime: now,
        },
        {
          type: 'Established',
          status: accepted ? 'True' : 'False',
          reason: accepted ? 'InitialNamesAccepted' : 'NotAccepted',
          message: accepted ? 'the initial names have been accepted' : 'not all names are accepted',
          lastTransitionTime: now,
        },
      ],
    );
    const storage = asList(spec['versions'])
      .map(asObject)
      .filter((version) => version['storage'] === true)
      .map(({ name }) => name);
    const storedVersions = [...new Set([...asList(status['storedVersions']), ...storage])];
    const next = { ...status, conditions, acceptedNames: accepted ? names : status['acceptedNames'], storedVersions };
    if (deepEqual(status, next)) return;
    this.#write(crd, { ...crd, status: next });
  }

  #write(old: AnyObject, next: AnyObject): void {
    const resource = this.#definitions();
    const owned = recordUpdate(old, next, {
      strategyOf: (path) => resource.schema.mergeStrategy(path),
      id: { manager: 'kube-apiserver', operation: 'Update', subresource: 'status', apiVersion: resource.apiVersion },
      resetFields: [['spec'], ['metadata']],
      now: timestamp(this.#cluster.now()),
    });
    this.#cluster.store.put(definitionBucket, owned);
  }

  /** Deletes the objects of a definition; when the last one is gone, the definition goes. */
  #terminate(crd: AnyObject): void {
    const { name, finalizers = [] } = crd.metadata;
    if (!finalizers.includes(cleanupFinalizer) || this.#terminating.has(name)) return;
    const resource = this.#resourceOf(crd);
    const bucket = this.#cluster.store.bucket(instanceBucket(crd));
    const finishWhenEmpty = (): void => {
      if (bucket.size === 0) this.#releaseSoon(name);
    };
    this.#terminating.set(name, bucket.subscribe(finishWhenEmpty));
    // Not within the write that marked the definition: its own answer comes first.
    queueMicrotask(() => {
      for (const { object } of bucket.all()) {
        if (resource === undefined) break;
        const { namespace } = object.metadata;
        remove(this.#cluster, { resource, namespace, name: object.metadata.name, options: { dryRun: false } });
      }
      finishWhenEmpty();
    });
  }

  #releaseSoon(name: string): void {
    queueMicrotask(() => {
      const crd = this.#cluster.store.get(definitionBucket, '', name)?.object;
      if (crd?.metadata.deletionTimestamp === undefined) return;
      const finalizers = (crd.metadata.finalizers ?? []).filter((finalizer) => finalizer !== cleanupFinalizer);
      const next: AnyObject = { ...crd, metadata: { ...crd.metadata, finalizers } };
      if (finalizers.length === 0) this.#cluster.store.remove(definitionBucket, next);
      else if (finalizers.length !== crd.metadata.finalizers?.length) this.#cluster.store.put(definitionBucket, next);
    });
  }

  #definitions(): ServedResource {
    return this.#cluster.registry.builtin('apiextensions.k8s.io', 'v1', 'customresourcedefinitions');
  }

  /** Any served version of it: they share their objects. */
  #resourceOf(crd: AnyObject): ServedResource | undefined {
    const spec = asObject(crd['spec']);
    const plural = String(asObject(spec['names'])['plural']);
    for (const version of asList(spec['versions']).map(asObject)) {
      const found = this.#cluster.registry.find(String(spec['group']), String(version['name']), plural);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** Where the objects of a definition are stored. */
export function instanceBucket(crd: AnyObject): string {
  const spec = asObject(crd['spec']);
  return `${String(asObject(spec['names'])['plural'])}.${String(spec['group'])}`;
}

/** The conditions with these in them; one that says the same as before keeps its time. */
function mergeConditions(present: readonly Condition[], next: readonly Condition[]): Condition[] {
  const result = [...present];
  for (const condition of next) {
    const index = result.findIndex(({ type }) => type === condition.type);
    const before = result[index];
    if (before === undefined) result.push(condition);
    else if (before.status !== condition.status || before.reason !== condition.reason) result[index] = condition;
  }
  return result;
}
