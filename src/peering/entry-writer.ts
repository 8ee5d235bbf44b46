import { isDeepStrictEqual } from 'node:util';

import type { KubeObject, ServiceEntry, WorkloadEntry } from '../api/kubernetes.ts';
import { labels } from '../api/names.ts';
import { resources, type ResourceType } from '../api/resources.ts';
import type { Collection } from '../collections/index.ts';
import { describeError, type Logger } from '../core/index.ts';
import { WorkQueue, type KubeClient } from '../kube/index.ts';
import type { DesiredEntries } from './desired-entries.ts';
import { ownedAnnotations, ownedLabels } from './entries.ts';
import type { PeeringMetrics } from './metrics.ts';

export const fieldManager = 'isthmus-peering';

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
  readonly metrics: PeeringMetrics;
  readonly log: Logger;
}

type Entry = ServiceEntry | WorkloadEntry;

/**
 * Brings the entries of the API server to what is desired, by server-side apply. What is already right is not written, so that a
 * restart writes nothing; what somebody else made is not touched.
 */
export class EntryWriter {
  readonly #options: EntryWriterOptions;
  readonly #queue: WorkQueue;

  constructor(options: EntryWriterOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (key, signal) => this.#reconcile(key, signal),
      onFailure: (key, error, retryMs) => {
        options.metrics.writes.inc({ kind: kindOf(key), result: 'error' });
        options.log.warn({ entry: key, error: describeError(error), retryMs }, 'entry not written');
      },
    });
  }

  /** Entries that wait to be looked at or are being written. */
  get pending(): number {
    return this.#queue.size;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { desired, actual } = this.#options;
    const stops = [
      // What is no longer desired goes before what is new: it may be an address that nobody is at any more.
      this.#follow('ServiceEntry', desired.serviceEntries),
      this.#follow('ServiceEntry', actual.serviceEntries),
      this.#follow('WorkloadEntry', desired.workloadEntries),
      this.#follow('WorkloadEntry', actual.workloadEntries),
    ];
    try {
      await this.#queue.run(signal);
    } finally {
      for (const stop of stops) stop();
    }
  }

  /** Looks at every entry that there is: what may go has changed. */
  reviewAll(): void {
    for (const [key, entry] of this.#options.actual.serviceEntries.entries()) if (isOurs(entry)) this.#queue.add(`ServiceEntry ${key}`);
    for (const [key, entry] of this.#options.actual.workloadEntries.entries()) if (isOurs(entry)) this.#queue.add(`WorkloadEntry ${key}`);
  }

  #follow(kind: Entry['kind'], collection: Collection<Entry>): () => void {
    return collection.subscribe((changes) => {
      for (const { key, after, before } of changes) {
        const entry = after ?? before;
        if (entry !== undefined && isOurs(entry)) this.#queue.add(`${kind} ${key}`, { urgent: after === undefined });
      }
    });
  }

  async #reconcile(queueKey: string, signal: AbortSignal): Promise<void> {
    const kind = kindOf(queueKey);
    const key = queueKey.slice(kind.length + 1);
    if (kind === 'ServiceEntry') {
      const actual = this.#options.actual.serviceEntries.get(key);
      const desired = this.#withKept(this.#options.desired.serviceEntries.get(key), actual);
      await this.#bring(resources.serviceEntries, kind, desired, actual, signal);
    } else {
      const { desired, actual } = this.#options;
      await this.#bring(resources.workloadEntries, kind, desired.workloadEntries.get(key), actual.workloadEntries.get(key), signal);
    }
  }

  /** While a peer has not told all, ports that stand in a ServiceEntry may be that peer's: they stay. */
  #withKept(desired: ServiceEntry | undefined, actual: ServiceEntry | undefined): ServiceEntry | undefined {
    if (desired === undefined || actual === undefined || !isOurs(actual) || this.#options.isKnown(undefined)) return desired;
    const ports = desired.spec.ports ?? [];
    const kept = (actual.spec.ports ?? []).filter(
      ({ number, name }) => !ports.some((port) => port.number === number || port.name === name),
    );
    const names = desired.spec.subjectAltNames ?? [];
    const subjectAltNames = [...new Set([...names, ...(actual.spec.subjectAltNames ?? [])])].sort();
    return {
      ...desired,
      spec: {
        ...desired.spec,
        ports: [...ports, ...kept].sort((a, b) => a.number - b.number),
        ...(subjectAltNames.length > 0 && { subjectAltNames }),
      },
    };
  }

  async #bring(
    type: ResourceType,
    kind: Entry['kind'],
    desired: Entry | undefined,
    actual: Entry | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, metrics, log, isKnown } = this.#options;
    const { name, namespace = '' } = (desired ?? actual)?.metadata ?? { name: '' };
    // One that is on its way out comes back as a deletion, and is looked at again then.
    if (actual?.metadata.deletionTimestamp !== undefined) return;
    if (actual !== undefined && !isOurs(actual)) {
      if (desired !== undefined) metrics.refused.inc({ peer: '', code: 'PEERING_NOT_OURS' });
      if (desired !== undefined) log.warn({ code: 'PEERING_NOT_OURS', kind, namespace, name }, 'entry exists and is not ours');
      return;
    }
    if (desired !== undefined) {
      if (actual !== undefined && isAsDesired(actual, desired)) return;
      const object = { metadata: { ...desired.metadata, namespace }, spec: desired.spec };
      await client.apply(type, object, { fieldManager, signal });
      metrics.writes.inc({ kind, result: actual === undefined ? 'created' : 'updated' });
      return;
    }
    if (actual === undefined || !isKnown(actual.metadata.labels?.[labels.peer])) return;
    await client.delete(type, { name, namespace }, { signal, ...(actual.metadata.uid !== undefined && { uid: actual.metadata.uid }) });
    metrics.writes.inc({ kind, result: 'deleted' });
  }
}

function kindOf(queueKey: string): 'ServiceEntry' | 'WorkloadEntry' {
  return queueKey.startsWith('ServiceEntry ') ? 'ServiceEntry' : 'WorkloadEntry';
}

/** Written by a peering control plane: this one, or another that follows the same names. */
export function isOurs({ metadata }: KubeObject): boolean {
  return metadata.labels?.[labels.parentService] !== undefined && metadata.name.startsWith('autogen');
}

function isAsDesired(actual: Entry, desired: Entry): boolean {
  return (
    isDeepStrictEqual(actual.spec, desired.spec) &&
    ownedLabels.every((label) => actual.metadata.labels?.[label] === desired.metadata.labels?.[label]) &&
    ownedAnnotations.every((note) => actual.metadata.annotations?.[note] === desired.metadata.annotations?.[note])
  );
}
