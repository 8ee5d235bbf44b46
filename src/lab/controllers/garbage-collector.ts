import type { KubeObject, OwnerReference } from '../../api/kubernetes.ts';
import { apiVersionOf, resources, type ResourceType } from '../../api/resources.ts';
import { describeError } from '../../core/index.ts';
import { isNotFound, type Change } from '../../kube/index.ts';
import { isLostRace, type Controller, type ControllerContext } from './controller.ts';
import { deletableResources, discoverResources, isEventAlias, type ServedResource } from './discovery.ts';
import { ObjectCache } from './object-cache.ts';
import { foregroundFinalizer, judge, orphanFinalizer, OwnerGraph, type GraphNode, type GraphWork, type OwnerState } from './owner-graph.ts';
import { WorkQueue } from './work-queue.ts';

/** Kinds that own nothing and are owned by nothing, and of which there are many. */
const ignored = new Set(['events.', 'events.events.k8s.io']);

/** Waits between two looks at what kinds there are, when a look failed, milliseconds. */
const discoveryRetry = 1_000;

/**
 * Deletes objects whose owners are gone, carries out foreground deletions and orphaning: for every kind that the API server
 * serves, those of CRDs as they come and go.
 */
export function garbageCollector(context: ControllerContext): Controller {
  const collector = new GarbageCollector(context);
  return { name: 'garbage-collector', run: (signal) => collector.run(signal) };
}

interface Monitor {
  readonly cache: ObjectCache<KubeObject>;
  /** Ends the watch of a kind that is not served any more; absent for the caches that all controllers share. */
  readonly stop?: AbortController;
}

class GarbageCollector {
  readonly #context: ControllerContext;
  readonly #graph = new OwnerGraph();
  readonly #monitors = new Map<string, Monitor>();
  readonly #examine: WorkQueue;
  readonly #orphan: WorkQueue;
  readonly #discovery: WorkQueue;
  #served: readonly ServedResource[] = [];

  constructor(context: ControllerContext) {
    this.#context = context;
    const { log } = context;
    const expected = isLostRace;
    this.#examine = new WorkQueue({ name: 'garbage-collector', log, expected, workers: 8, reconcile: (uid) => this.#examineObject(uid) });
    this.#orphan = new WorkQueue({ name: 'garbage-collector', log, expected, reconcile: (uid) => this.#orphanDependents(uid) });
    const crds = context.caches.for(resources.customResourceDefinitions);
    this.#discovery = new WorkQueue({ name: 'garbage-collector', log, reconcile: (_key, signal) => this.#discover(signal) });
    crds.onChange(() => this.#discovery.add('discovery'));
  }

  async run(signal: AbortSignal): Promise<void> {
    const discovering = this.#discovery.run(signal);
    this.#discovery.add('discovery');
    const working = [this.#examine.run(signal), this.#orphan.run(signal)];
    await Promise.all([discovering, ...working]);
    for (const { stop } of this.#monitors.values()) stop?.abort();
  }

  /** Watches the kinds that are served now, and no others. */
  async #discover(signal: AbortSignal): Promise<void> {
    const { client, caches, log } = this.#context;
    try {
      this.#served = await discoverResources(client, signal);
    } catch (error) {
      log.warn({ error: describeError(error), retryInMs: discoveryRetry }, 'the kinds that are served are not known');
      this.#discovery.addAfter('discovery', discoveryRetry);
      return;
    }
    const types = new Map(
      deletableResources(this.#served)
        .filter((type) => !isEventAlias(type))
        .map((type) => [nameOf(type), type]),
    );
    for (const name of ignored) types.delete(name);
    for (const [name, { stop, cache }] of this.#monitors) {
      if (types.has(name)) continue;
      stop?.abort();
      this.#monitors.delete(name);
      for (const object of cache.list()) this.#take(this.#graph.remove(object.metadata.uid ?? ''));
    }
    for (const [name, type] of types) {
      if (this.#monitors.has(name)) continue;
      const shared = caches.find(type);
      if (shared !== undefined) {
        this.#monitors.set(name, { cache: shared });
        shared.onChange((change) => this.#onChange(type, change));
        continue;
      }
      const stop = new AbortController();
      const cache = new ObjectCache<KubeObject>(client, type, log, { metadataOnly: true });
      this.#monitors.set(name, { cache, stop });
      cache.onChange((change) => {
        if (!stop.signal.aborted) this.#onChange(type, change);
      });
      void cache.run(AbortSignal.any([signal, stop.signal]));
    }
  }

  #onChange(type: ResourceType, { object, old }: Change<KubeObject>): void {
    // The same name with another uid is another object.
    if (old !== undefined && old.metadata.uid !== object?.metadata.uid) this.#take(this.#graph.remove(old.metadata.uid ?? ''));
    if (object !== undefined) this.#take(this.#graph.upsert(type, apiVersionOf(type), type.kind, object.metadata));
  }

  #take({ examine, orphan }: GraphWork): void {
    for (const { uid } of examine) this.#examine.add(uid);
    for (const { uid } of orphan) this.#orphan.add(uid);
  }

  /** Asks the API server about an object and its owners, and does what {@link judge} says. */
  async #examineObject(uid: string): Promise<void> {
    const node = this.#graph.get(uid);
    if (node === undefined) return;
    const type = node.type ?? this.#typeOf(node.apiVersion, node.kind);
    if (type === undefined) {
      // Its CRD is gone, or not served yet. The owner cannot be asked for, so nothing is deleted for its sake.
      this.#context.log.debug({ apiVersion: node.apiVersion, kind: node.kind, name: node.name }, 'owner of a kind that is not served');
      return;
    }
    const live = await this.#find(type, type.namespaced ? node.namespace : '', node.name);
    if (live === undefined || live.metadata.uid !== uid) {
      // The watch will say so too; what is owned by it need not wait for that.
      this.#take(this.#graph.remove(uid));
      return;
    }
    const { metadata } = live;
    if (metadata.deletionTimestamp !== undefined) {
      if ((metadata.finalizers ?? []).includes(foregroundFinalizer)) await this.#finishForeground(type, node, live);
      return;
    }
    const ownerStates = new Map<string, OwnerState>();
    for (const owner of metadata.ownerReferences ?? []) ownerStates.set(owner.uid, await this.#ownerState(owner, metadata.namespace));
    const verdict = judge({ metadata, ownerStates, hasDependents: node.dependents.size > 0 });
    if (verdict.action === 'release') await this.#setOwners(type, live, verdict.owners);
    if (verdict.action !== 'delete') return;
    if (verdict.policy === 'Foreground') await this.#breakCircle(node);
    await this.#context.client.delete(type, metadata, { propagationPolicy: verdict.policy, uid });
  }

  /** Lets an object go that was deleted in the foreground, once no dependent holds it. */
  async #finishForeground(type: ResourceType, node: GraphNode, live: KubeObject): Promise<void> {
    const blocking = [...node.dependents].filter((dependent) =>
      dependent.owners.some((owner) => owner.uid === node.uid && owner.blockOwnerDeletion),
    );
    if (blocking.length === 0) {
      await this.#removeFinalizer(type, live, foregroundFinalizer);
      return;
    }
    for (const dependent of blocking) if (!dependent.deletingDependents) this.#examine.add(dependent.uid);
  }

  /** Two objects that own each other would wait for each other for ever: this one stops waiting for a dependent that waits itself. */
  async #breakCircle(node: GraphNode): Promise<void> {
    if (![...node.dependents].some((dependent) => dependent.deletingDependents)) return;
    const type = node.type;
    if (type === undefined || !node.owners.some((owner) => owner.blockOwnerDeletion)) return;
    const live = await this.#find(type, node.namespace, node.name);
    if (live?.metadata.uid !== node.uid) return;
    await this.#setOwners(
      type,
      live,
      (live.metadata.ownerReferences ?? []).map((owner) => ({ ...owner, blockOwnerDeletion: false })),
    );
  }

  /** Takes the references to a deleted owner from those that are to outlive it, and then lets it go. */
  async #orphanDependents(uid: string): Promise<void> {
    const node = this.#graph.get(uid);
    if (node?.type === undefined) return;
    for (const dependent of node.dependents) {
      if (dependent.type === undefined) continue;
      const live = await this.#find(dependent.type, dependent.namespace, dependent.name);
      if (live?.metadata.uid !== dependent.uid) continue;
      const others = (live.metadata.ownerReferences ?? []).filter((owner) => owner.uid !== uid);
      if (others.length !== live.metadata.ownerReferences?.length) await this.#setOwners(dependent.type, live, others);
    }
    const live = await this.#find(node.type, node.namespace, node.name);
    if (live?.metadata.uid === uid) await this.#removeFinalizer(node.type, live, orphanFinalizer);
  }

  async #ownerState(owner: OwnerReference, namespace: string | undefined): Promise<OwnerState> {
    const type = this.#typeOf(owner.apiVersion, owner.kind);
    if (type === undefined) return 'solid';
    const live = await this.#find(type, type.namespaced ? (namespace ?? '') : '', owner.name);
    if (live === undefined || live.metadata.uid !== owner.uid) return 'absent';
    const waiting = live.metadata.deletionTimestamp !== undefined && (live.metadata.finalizers ?? []).includes(foregroundFinalizer);
    return waiting ? 'waiting' : 'solid';
  }

  async #find(type: ResourceType, namespace: string, name: string): Promise<KubeObject | undefined> {
    return await this.#context.client.find(type, { name, ...(namespace !== '' && { namespace }) });
  }

  async #setOwners(type: ResourceType, { metadata }: KubeObject, ownerReferences: readonly OwnerReference[]): Promise<void> {
    const { uid, resourceVersion } = metadata;
    await this.#context.client.patch(type, metadata, { type: 'merge', body: { metadata: { uid, resourceVersion, ownerReferences } } });
  }

  async #removeFinalizer(type: ResourceType, { metadata }: KubeObject, finalizer: string): Promise<void> {
    const finalizers = (metadata.finalizers ?? []).filter((name) => name !== finalizer);
    const { uid, resourceVersion } = metadata;
    try {
      await this.#context.client.patch(type, metadata, { type: 'merge', body: { metadata: { uid, resourceVersion, finalizers } } });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** The kind that an owner reference names, in the version that it names. */
  #typeOf(apiVersion: string, kind: string): ResourceType | undefined {
    return this.#served.find(({ type, verbs }) => type.kind === kind && apiVersionOf(type) === apiVersion && verbs.has('get'))?.type;
  }
}

function nameOf(type: ResourceType): string {
  return `${type.plural}.${type.group}`;
}
