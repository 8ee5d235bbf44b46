import type { Namespace, ServiceEntry, WorkloadEntry } from '../api/kubernetes.ts';
import { labels } from '../api/names.ts';
import { resources, type ResourceType } from '../api/resources.ts';
import type { Collection, CollectionChange } from '../collections/index.ts';
import { describeError, type Logger } from '../core/index.ts';
import { isAlreadyExists, WorkQueue, type EventRecorder, type KubeClient, type WorkResult } from '../kube/index.ts';
import type { DesiredEntries } from './desired-entries.ts';
import { fieldManager, hasOurName, isAsDesired, isOurs, type Entry } from './entry-ownership.ts';
import type { PeeringMetrics } from './metrics.ts';
import { changesEndpoints, nextServiceEntry, nextWorkloadEntry } from './selector-handover.ts';

export { fieldManager } from './entry-ownership.ts';

export interface EntryWriterOptions {
  readonly client: KubeClient;
  readonly desired: DesiredEntries;
  /** What the API server has. */
  readonly actual: { readonly serviceEntries: Collection<ServiceEntry>; readonly workloadEntries: Collection<WorkloadEntry> };
  /**
   * Whether what a peer exports is known, so that an entry that is not desired may go. `undefined` asks for all peers together: for
   * entries that several of them may stand behind.
   */
  readonly isKnown: (peer: string | undefined) => boolean;
  /** Told of objects that are in the way. Default: nobody. */
  readonly events?: Pick<EventRecorder, 'record'> | undefined;
  /**
   * How long a ServiceEntry waits for its WorkloadEntries to have the labels and ports by which it is to select them, milliseconds; default
   * 10 s. One that cannot be written would else keep the local pods out for ever.
   */
  readonly handoverMs?: number | undefined;
  /** Writes a second, on average, and at once after a quiet time; default 200 and 400. */
  readonly rate?: { readonly perSecond: number; readonly burst: number } | undefined;
  /** When the change of a peer (or, without one, of whoever) that is being told of now was made, milliseconds since 1970; default now. */
  readonly changedAt?: ((peer: string | undefined) => number) | undefined;
  readonly metrics: PeeringMetrics;
  readonly log: Logger;
}

/** What the API server answered to a write; `entry` undefined: deleted. */
interface Written {
  readonly entry: Entry | undefined;
  readonly uid: string | undefined;
  /** Milliseconds of the monotonic clock. */
  readonly at: number;
}

/** A collection that has not told of a write by then never will: it was told of a later state, or the watch began anew. */
const maxEchoMs = 30_000;

type Kind = 'ServiceEntry' | 'WorkloadEntry';

const types: Readonly<Record<Kind, ResourceType>> = { ServiceEntry: resources.serviceEntries, WorkloadEntry: resources.workloadEntries };

/** On a namespace that was made for services of peers. */
const namespaceLabels = { 'app.kubernetes.io/managed-by': 'isthmus' } as const;

/**
 * Brings the entries of the API server to what is desired, by server-side apply. What is already right is not written, so that a
 * restart writes nothing; what somebody else made is not touched. A change costs one write at most, and none when it is changed again
 * before its turn.
 */
export class EntryWriter {
  readonly #options: EntryWriterOptions;
  readonly #queue: WorkQueue;
  /** What was written last, until the collections tell it: they are later than the API server's answer. */
  readonly #written = new Map<string, Written>();
  /** WorkloadEntries that there are, by the namespace and hash of their service. */
  readonly #endpoints = new Map<string, Set<string>>();
  /** ServiceEntries that wait for their WorkloadEntries, likewise. */
  readonly #held = new Map<string, { readonly key: string; readonly until: number; readonly timer: NodeJS.Timeout }>();
  /** When what is desired of an entry was changed that is not written yet. */
  readonly #changedAt = new Map<string, number>();
  readonly #beingWritten = new Map<string, number>();
  /** Objects in the way that were told of: key to uid. */
  readonly #told = new Map<string, string | undefined>();

  constructor(options: EntryWriterOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (key, signal) => this.#bring(key, signal),
      onFailure: (key, error, retryMs) => {
        options.metrics.writes.inc({ peer: peerOf(key) ?? '', kind: kindOf(key), result: 'error' });
        options.log.warn({ entry: key, error: describeError(error), retryMs }, 'entry not written');
      },
      groupOf,
      ...(options.rate !== undefined && { ratePerSecond: options.rate.perSecond, burst: options.rate.burst }),
    });
  }

  /** Entries that wait to be looked at or are being written. */
  get pending(): number {
    return this.#queue.size;
  }

  /** The same of one peer's own entries; undefined: of those that are not one peer's. */
  pendingOf(peer: string | undefined): number {
    return peer === undefined ? this.#queue.sizeOf('ServiceEntry') + this.#queue.sizeOf('Namespace') : this.#queue.sizeOf(`peer ${peer}`);
  }

  /** When the oldest change that is not written yet was made, of a peer's own entries and those that are not one peer's; undefined: all is written. */
  oldestChange(peer: string): number | undefined {
    let oldest: number | undefined;
    for (const [key, at] of [...this.#changedAt, ...this.#beingWritten]) {
      const of = peerOf(key);
      if ((of === undefined || of === peer) && (oldest === undefined || at < oldest)) oldest = at;
    }
    return oldest;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { desired, actual } = this.#options;
    const stops = [
      desired.missingNamespaces.subscribe((changes) => {
        for (const { key, after } of changes) if (after?.isToBeMade === true) this.#queue.add(`Namespace ${key}`);
      }),
      this.#follow('ServiceEntry', desired.serviceEntries),
      actual.serviceEntries.subscribe((changes) => this.#onServiceEntries(changes)),
      this.#follow('WorkloadEntry', desired.workloadEntries),
      actual.workloadEntries.subscribe((changes) => this.#onWorkloadEntries(changes)),
    ];
    try {
      await this.#queue.run(signal);
    } finally {
      for (const stop of stops) stop();
      for (const { timer } of this.#held.values()) clearTimeout(timer);
      // Whoever writes next finds what there is by the collections.
      for (const state of [this.#written, this.#endpoints, this.#held, this.#told, this.#changedAt]) state.clear();
    }
  }

  /** Looks at every entry that there is: what may go has changed. */
  reviewAll(): void {
    for (const [key, entry] of this.#options.actual.serviceEntries.entries()) if (hasOurName(entry)) this.#queue.add(`ServiceEntry ${key}`);
    for (const [key, entry] of this.#options.actual.workloadEntries.entries())
      if (hasOurName(entry)) this.#queue.add(`WorkloadEntry ${key}`);
  }

  /** What is no longer desired goes before what is new: it may be an address that nobody is at any more. */
  #follow(kind: Kind, collection: Collection<Entry>): () => void {
    return collection.subscribe((changes) => {
      for (const { key, after } of changes) {
        const queueKey = `${kind} ${key}`;
        if (!this.#changedAt.has(queueKey)) this.#changedAt.set(queueKey, this.#options.changedAt?.(peerOf(queueKey)) ?? Date.now());
        this.#queue.add(queueKey, { urgent: after === undefined });
      }
    });
  }

  async #bring(queueKey: string, signal: AbortSignal): Promise<WorkResult> {
    // What changes meanwhile is another change.
    const changedAt = this.#changedAt.get(queueKey);
    this.#changedAt.delete(queueKey);
    if (changedAt !== undefined) this.#beingWritten.set(queueKey, changedAt);
    try {
      return await this.#reconcile(queueKey, signal);
    } catch (error) {
      if (changedAt !== undefined) this.#changedAt.set(queueKey, changedAt);
      throw error;
    } finally {
      this.#beingWritten.delete(queueKey);
    }
  }

  #onServiceEntries(changes: readonly CollectionChange<ServiceEntry>[]): void {
    for (const change of changes) {
      if (!this.#onActual('ServiceEntry', change)) continue;
      if (!changesEndpoints(change.before, change.after)) continue;
      const service = serviceOf(change.after ?? change.before);
      for (const key of this.#endpoints.get(service) ?? []) this.#queue.add(`WorkloadEntry ${key}`);
    }
  }

  #onWorkloadEntries(changes: readonly CollectionChange<WorkloadEntry>[]): void {
    for (const change of changes) {
      const { key, before, after } = change;
      if (!this.#onActual('WorkloadEntry', change)) continue;
      const [old, now] = [before, after].map((entry) => (entry === undefined ? undefined : serviceOf(entry)));
      if (old !== undefined && old !== now) {
        const others = this.#endpoints.get(old);
        others?.delete(key);
        if (others?.size === 0) this.#endpoints.delete(old);
      }
      if (now !== undefined) this.#endpoints.set(now, (this.#endpoints.get(now) ?? new Set()).add(key));
      for (const service of new Set([old, now])) {
        const held = service === undefined ? undefined : this.#held.get(service);
        if (held !== undefined) this.#queue.add(`ServiceEntry ${held.key}`);
      }
    }
  }

  /** True when the object has one of our names. */
  #onActual(kind: Kind, { key, before, after }: CollectionChange<Entry>): boolean {
    const entry = after ?? before;
    if (entry === undefined || !hasOurName(entry)) return false;
    const queueKey = `${kind} ${key}`;
    const written = this.#written.get(queueKey);
    if (written !== undefined && isAsLate(after, written)) this.#written.delete(queueKey);
    if (after === undefined) this.#told.delete(queueKey);
    this.#queue.add(queueKey, { urgent: after === undefined });
    // What another placement left may go now that its successor is there.
    if (before === undefined) for (const other of this.#namesakes(entry)) this.#queue.add(`${kind} ${other}`);
    return true;
  }

  /** Where the same entry stands, or stood, with the other placement. */
  #namesakes({ metadata }: Entry): string[] {
    const { rootNamespace } = this.#options.desired;
    const places = [rootNamespace, metadata.labels?.[labels.parentServiceNamespace] ?? rootNamespace];
    return places.filter((place) => place !== metadata.namespace).map((place) => `${place}/${metadata.name}`);
  }

  async #reconcile(queueKey: string, signal: AbortSignal): Promise<WorkResult> {
    const kind = kindOf(queueKey);
    const key = queueKey.slice(kind.length + 1);
    if (kind === 'Namespace') {
      await this.#makeNamespace(key, signal);
      return 'done';
    }
    const actual = this.#actual(kind, key);
    const desired = this.#desired(kind, key);
    // One that is on its way out comes back as a deletion, and is looked at again then.
    if (actual?.metadata.deletionTimestamp !== undefined) return 'unchanged';
    if (actual !== undefined && !isOurs(actual)) {
      if (desired !== undefined) this.#tell(queueKey, actual);
      return 'unchanged';
    }
    if (desired === undefined) {
      return actual === undefined ? 'unchanged' : await this.#remove(kind, key, actual, signal);
    }
    const entry = this.#next(key, desired, actual);
    if (actual !== undefined && isAsDesired(actual, entry)) return 'unchanged';
    const { metrics, client } = this.#options;
    // Fields of somebody else are taken over in our own objects alone, never in one that was made a moment ago.
    const options = { fieldManager, force: actual !== undefined, signal };
    const object = { metadata: { ...entry.metadata, namespace: entry.metadata.namespace ?? '' }, spec: entry.spec };
    // The answer is of the kind that was applied.
    const written = (await client.apply(types[kind], object, options)) as Entry;
    this.#written.set(queueKey, { entry: written, uid: written.metadata.uid, at: performance.now() });
    this.#forgetWhenTold(kind, key, queueKey);
    metrics.writes.inc({ peer: peerOf(queueKey) ?? '', kind, result: actual === undefined ? 'created' : 'updated' });
    return 'done';
  }

  async #remove(kind: Kind, key: string, actual: Entry, signal: AbortSignal): Promise<WorkResult> {
    const { client, desired, metrics, isKnown } = this.#options;
    const { name, namespace = '', uid } = actual.metadata;
    if (!isKnown(actual.metadata.labels?.[labels.peer])) return 'unchanged';
    // It goes with its namespace.
    if (desired.namespaces.get(namespace)?.isTerminating === true) return 'unchanged';
    const successor = this.#namesakes(actual).find((other) => this.#desired(kind, other) !== undefined);
    if (successor !== undefined && this.#actual(kind, successor) === undefined) return 'unchanged';
    await client.delete(types[kind], { name, namespace }, { signal, ...(uid !== undefined && { uid }) });
    this.#written.set(`${kind} ${key}`, { entry: undefined, uid, at: performance.now() });
    this.#forgetWhenTold(kind, key, `${kind} ${key}`);
    metrics.writes.inc({ peer: peerOf(`${kind} ${key}`) ?? '', kind, result: 'deleted' });
    return 'done';
  }

  /** The collections may have told of a write before the API server's answer to it was here. */
  #forgetWhenTold(kind: Kind, key: string, queueKey: string): void {
    const written = this.#written.get(queueKey);
    if (written !== undefined && isAsLate(this.#collected(kind, key), written)) this.#written.delete(queueKey);
  }

  async #makeNamespace(name: string, signal: AbortSignal): Promise<void> {
    const { client, desired, metrics, log } = this.#options;
    const missing = desired.missingNamespaces.get(name);
    if (missing?.isToBeMade !== true) return;
    const namespace: Namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: { ...namespaceLabels } } };
    try {
      await client.create(resources.namespaces, namespace, { fieldManager, signal });
    } catch (error) {
      if (isAlreadyExists(error)) return;
      throw error;
    }
    metrics.writes.inc({ peer: '', kind: 'Namespace', result: 'created' });
    log.info({ namespace: name, peers: missing.peers }, 'namespace made for services of peers');
  }

  /** What is to be written of a desired entry at this moment. */
  #next(key: string, desired: Entry, actual: Entry | undefined): Entry {
    const { placement } = this.#options.desired;
    if (desired.kind === 'ServiceEntry') {
      const before = actual as ServiceEntry | undefined;
      if (placement === 'rootNamespace') return this.#withKept(desired as ServiceEntry, before);
      return this.#nextServiceEntry(key, this.#withNames(desired as ServiceEntry, before), before);
    }
    if (placement === 'rootNamespace') return desired;
    const name = `autogen.${desired.metadata.labels?.[labels.parentServiceNamespace] ?? ''}.${desired.metadata.labels?.[labels.parentService] ?? ''}`;
    const service = this.#actual('ServiceEntry', `${desired.metadata.namespace ?? ''}/${name}`) as ServiceEntry | undefined;
    const selecting = service !== undefined && isOurs(service) ? service : undefined;
    return nextWorkloadEntry(desired as WorkloadEntry, actual as WorkloadEntry | undefined, selecting);
  }

  #nextServiceEntry(key: string, desired: ServiceEntry, actual: ServiceEntry | undefined): ServiceEntry {
    const service = serviceOf(desired);
    const staying: WorkloadEntry[] = [];
    const ofUnknown: WorkloadEntry[] = [];
    for (const endpoint of this.#endpoints.get(service) ?? []) {
      const entry = this.#actual('WorkloadEntry', endpoint) as WorkloadEntry | undefined;
      if (entry === undefined || entry.metadata.deletionTimestamp !== undefined || !isOurs(entry)) continue;
      if (this.#desired('WorkloadEntry', endpoint) !== undefined) staying.push(entry);
      else if (!this.#options.isKnown(entry.metadata.labels?.[labels.peer])) ofUnknown.push(entry);
    }
    const held = this.#held.get(service);
    const isOverdue = held !== undefined && performance.now() >= held.until;
    const next = nextServiceEntry(desired, actual, isOverdue ? ofUnknown : [...staying, ...ofUnknown]);
    if (!next.waits) {
      clearTimeout(held?.timer);
      this.#held.delete(service);
      return next.entry;
    }
    if (isOverdue) {
      // What a peer that has not told all lacks is not known; the local pods are not to wait for it.
      const { workloadSelector } = desired.spec;
      return { ...next.entry, spec: { ...next.entry.spec, ...(workloadSelector !== undefined && { workloadSelector }) } };
    }
    if (held === undefined) this.#hold(service, key);
    return next.entry;
  }

  #hold(service: string, key: string): void {
    const waitMs = this.#options.handoverMs ?? 10_000;
    const timer = setTimeout(() => this.#queue.add(`ServiceEntry ${key}`), waitMs + 1);
    timer.unref();
    this.#held.set(service, { key, until: performance.now() + waitMs, timer });
  }

  /** While a peer has not told all, ports that stand in a ServiceEntry may be that peer's: they stay. */
  #withKept(desired: ServiceEntry, actual: ServiceEntry | undefined): ServiceEntry {
    if (actual === undefined || this.#options.isKnown(undefined)) return desired;
    const ports = desired.spec.ports ?? [];
    const kept = (actual.spec.ports ?? []).filter(
      ({ number, name }) => !ports.some((port) => port.number === number || port.name === name),
    );
    const named = this.#withNames(desired, actual);
    return { ...named, spec: { ...named.spec, ports: [...ports, ...kept].sort((a, b) => a.number - b.number) } };
  }

  /** Likewise, identities. */
  #withNames(desired: ServiceEntry, actual: ServiceEntry | undefined): ServiceEntry {
    if (actual === undefined || this.#options.isKnown(undefined)) return desired;
    const names = new Set([...(desired.spec.subjectAltNames ?? []), ...(actual.spec.subjectAltNames ?? [])]);
    return { ...desired, spec: { ...desired.spec, ...(names.size > 0 && { subjectAltNames: [...names].sort() }) } };
  }

  #desired(kind: Kind, key: string): Entry | undefined {
    const { desired } = this.#options;
    return kind === 'ServiceEntry' ? desired.serviceEntries.get(key) : desired.workloadEntries.get(key);
  }

  #actual(kind: Kind, key: string): Entry | undefined {
    const written = this.#written.get(`${kind} ${key}`);
    if (written !== undefined && performance.now() - written.at < maxEchoMs) return written.entry;
    this.#written.delete(`${kind} ${key}`);
    return this.#collected(kind, key);
  }

  #collected(kind: Kind, key: string): Entry | undefined {
    const { actual } = this.#options;
    return kind === 'ServiceEntry' ? actual.serviceEntries.get(key) : actual.workloadEntries.get(key);
  }

  /** Once for each object that is in the way. */
  #tell(queueKey: string, about: Entry): void {
    const { uid, name, namespace } = about.metadata;
    if (this.#told.has(queueKey) && this.#told.get(queueKey) === uid) return;
    this.#told.set(queueKey, uid);
    const { metrics, log, events } = this.#options;
    metrics.refused.inc({ peer: '', code: 'PEERING_NOT_OURS' });
    log.warn({ code: 'PEERING_NOT_OURS', kind: about.kind, namespace, name }, 'entry exists and is not ours');
    const message =
      'peering needs this name for a service of its peers, and leaves alone what it did not make: rename or delete this object';
    void events?.record({ about, type: 'Warning', reason: 'PEERING_NOT_OURS', message });
  }
}

function kindOf(queueKey: string): Kind | 'Namespace' {
  return queueKey.slice(0, queueKey.indexOf(' ')) as Kind | 'Namespace';
}

/** The peer in the name of a WorkloadEntry, which no cluster id parts; what is not one peer's is a group of its own. */
function groupOf(queueKey: string): string {
  const kind = kindOf(queueKey);
  return kind === 'WorkloadEntry' ? `peer ${peerOf(queueKey) ?? ''}` : kind;
}

/** The cluster id of the peer whose own an entry is. */
function peerOf(queueKey: string): string | undefined {
  if (kindOf(queueKey) !== 'WorkloadEntry') return undefined;
  return queueKey.slice(queueKey.indexOf('/') + 1).split('.')[1];
}

/** Namespace and hash: what an entry's service is known by. */
function serviceOf(entry: Entry | undefined): string {
  const { namespace = '', labels: given = {} } = entry?.metadata ?? {};
  return `${namespace}/${given[labels.federatedService] ?? ''}`;
}

/** Whether the collections tell of an object as it was written, or later. Versions of a kind are numbers that grow. */
function isAsLate(collected: Entry | undefined, written: Written): boolean {
  if (collected === undefined) return written.entry === undefined;
  if (collected.metadata.uid !== written.uid) return true;
  if (written.entry === undefined) return collected.metadata.deletionTimestamp !== undefined;
  const [seen = '', own = ''] = [collected, written.entry].map(({ metadata }) => metadata.resourceVersion);
  if (!/^\d+$/.test(seen) || !/^\d+$/.test(own)) return true;
  return BigInt(seen) >= BigInt(own);
}
