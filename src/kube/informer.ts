import type { KubeObject } from '../api/kubernetes.ts';
import type { ResourceType } from '../api/resources.ts';
import { Backoff, describeError, sleep, type Logger } from '../core/index.ts';
import { isExpired } from './api-error.ts';
import type { KubeClient } from './client.ts';

/** What happened to one object. `old` is the last one seen. */
export type Change<T> =
  | { readonly type: 'add'; readonly key: string; readonly object: T; readonly old?: undefined }
  | { readonly type: 'update'; readonly key: string; readonly object: T; readonly old: T }
  | { readonly type: 'delete'; readonly key: string; readonly object?: undefined; readonly old: T };

/** `namespace/name`, or `name` for an object without a namespace. */
export function keyOf(object: KubeObject): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}

export interface InformerOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly type: ResourceType<T>;
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Ask for metadata alone; see ListOptions. */
  readonly metadataOnly?: boolean | undefined;
  /** What is kept of an object, so that a copy of many takes little memory; default: all. Its metadata's name, namespace, uid and resourceVersion have to stay. */
  readonly keep?: ((object: T) => T) | undefined;
  readonly log?: Logger | undefined;
}

/**
 * A local copy of the objects of one kind, kept by list and watch.
 *
 * Guarantees: handlers hear every change of the copy exactly once, in the order of the copy's own changes, after `get`
 * shows it; after a lost watch the copy is repaired from a new list, and the difference is told as changes (an object
 * deleted meanwhile is a `delete`). Several states of one object in between may be seen as one. Objects are shared: do
 * not change them.
 */
export class Informer<T extends KubeObject> {
  readonly type: ResourceType<T>;
  /** Resolves once the first list is in and its handlers have run. */
  readonly synced: Promise<void>;
  readonly #options: InformerOptions<T>;
  readonly #objects = new Map<string, T>();
  readonly #handlers = new Set<(changes: readonly Change<T>[]) => void>();
  readonly #resolveSynced: () => void;
  #version = '';
  #hasSynced = false;

  constructor(options: InformerOptions<T>) {
    this.type = options.type;
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.synced = promise;
    this.#resolveSynced = () => resolve(undefined);
  }

  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** The object with this {@link keyOf key}. */
  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): IterableIterator<T> {
    return this.#objects.values();
  }

  get size(): number {
    return this.#objects.size;
  }

  /**
   * Calls `handler` with every batch of changes from now on, and first, at once, with what there is as additions.
   * Returns the way to stop it.
   */
  onChange(handler: (changes: readonly Change<T>[]) => void): () => void {
    if (this.#objects.size > 0) handler([...this.#objects].map(([key, object]) => ({ type: 'add', key, object })));
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Keeps the copy until the signal is aborted; outlives every failure of the API server. */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff({ initial: 200, max: 5_000 });
    const stopped = (): boolean => signal.aborted;
    while (!stopped()) {
      try {
        if (this.#version === '') await this.#relist(signal);
        await this.#follow(signal, () => backoff.reset());
      } catch (error) {
        if (stopped()) return;
        if (isExpired(error)) {
          this.#version = '';
          continue;
        }
        const wait = backoff.next();
        this.#options.log?.warn({ kind: this.type.kind, error: describeError(error), retryMs: wait }, 'watch failed');
        // After a failure the server may be another one than before (restored, recreated): compare with a whole list.
        this.#version = '';
        await sleep(wait, signal).catch(() => undefined);
      }
    }
  }

  async #relist(signal: AbortSignal): Promise<void> {
    const { client, type, namespace, labelSelector, fieldSelector, metadataOnly } = this.#options;
    const objects: T[] = [];
    let version = '';
    for await (const page of client.pages(type, { namespace, labelSelector, fieldSelector, metadataOnly, signal })) {
      for (const object of page.items) objects.push(this.#kept(object));
      version = page.resourceVersion;
    }
    const gone = new Set(this.#objects.keys());
    const changes: Change<T>[] = [];
    for (const object of objects) {
      gone.delete(keyOf(object));
      this.#put(object, changes);
    }
    for (const key of gone) this.#remove(key, changes);
    this.#version = version;
    this.#tell(changes);
    if (!this.#hasSynced) {
      this.#hasSynced = true;
      this.#resolveSynced();
    }
  }

  async #follow(signal: AbortSignal, onEvent: () => void): Promise<void> {
    const { client, type, namespace, labelSelector, fieldSelector, metadataOnly } = this.#options;
    const watch = client.watch(type, { namespace, labelSelector, fieldSelector, metadataOnly, resourceVersion: this.#version, signal });
    for await (const event of watch) {
      onEvent();
      const changes: Change<T>[] = [];
      if (event.type === 'DELETED') this.#remove(keyOf(event.object), changes);
      else if (event.type !== 'BOOKMARK') this.#put(this.#kept(event.object), changes);
      this.#version = event.object.metadata.resourceVersion ?? this.#version;
      this.#tell(changes);
    }
  }

  #kept(object: T): T {
    return this.#options.keep?.(object) ?? object;
  }

  #put(object: T, changes: Change<T>[]): void {
    const key = keyOf(object);
    const old = this.#objects.get(key);
    if (old !== undefined && old.metadata.resourceVersion === object.metadata.resourceVersion && old.metadata.uid === object.metadata.uid)
      return;
    this.#objects.set(key, object);
    changes.push(old === undefined ? { type: 'add', key, object } : { type: 'update', key, object, old });
  }

  #remove(key: string, changes: Change<T>[]): void {
    const old = this.#objects.get(key);
    if (old === undefined) return;
    this.#objects.delete(key);
    changes.push({ type: 'delete', key, old });
  }

  #tell(changes: readonly Change<T>[]): void {
    if (changes.length === 0) return;
    for (const handler of this.#handlers) handler(changes);
  }
}
