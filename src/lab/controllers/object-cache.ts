import type { KubeObject } from '../../api/kubernetes.ts';
import type { ResourceType } from '../../api/resources.ts';
import { IsthmusError, type Logger } from '../../core/index.ts';
import { Informer, keyOf, type Change, type KubeClient } from '../../kube/index.ts';

/** How long a write may take to come back by watch before a controller goes on without it, milliseconds. */
const catchUpTimeout = 10_000;

/** Whether a resourceVersion is the same as or later than another. They are decimal numbers (KEP-5504). */
export function isAtLeast(version: string | undefined, other: string | undefined): boolean {
  const [a, b] = [version ?? '', other ?? ''];
  return a.length === b.length ? a >= b : a.length > b.length;
}

/** uid of the controller that owns an object, if one does. */
function controllerUid(object: KubeObject): string | undefined {
  return object.metadata.ownerReferences?.find((reference) => reference.controller === true)?.uid;
}

/** Objects by a key that each has at most one of. */
class Index<T extends KubeObject> {
  readonly #groups = new Map<string, Map<string, T>>();
  readonly #groupOf: (object: T) => string | undefined;

  constructor(groupOf: (object: T) => string | undefined) {
    this.#groupOf = groupOf;
  }

  apply({ key, object, old }: Change<T>): void {
    const before = old && this.#groupOf(old);
    const after = object && this.#groupOf(object);
    if (before !== undefined && before !== after) {
      const group = this.#groups.get(before);
      group?.delete(key);
      if (group?.size === 0) this.#groups.delete(before);
    }
    if (object !== undefined && after !== undefined) {
      let group = this.#groups.get(after);
      if (group === undefined) this.#groups.set(after, (group = new Map<string, T>()));
      group.set(key, object);
    }
  }

  get(group: string): readonly T[] {
    return [...(this.#groups.get(group)?.values() ?? [])];
  }
}

/** A local copy of all objects of one kind, with the indexes that controllers need. Objects are shared: copy before changing. */
export class ObjectCache<T extends KubeObject> {
  readonly type: ResourceType<T>;
  readonly #informer: Informer<T>;
  readonly #byNamespace = new Index<T>((object) => object.metadata.namespace ?? '');
  readonly #byController = new Index<T>(controllerUid);
  readonly #waiters = new Set<(change: Change<T>) => void>();
  /** Rejects for those who wait when nothing will be seen any more. */
  readonly #stopped = Promise.withResolvers<never>();

  constructor(client: KubeClient, type: ResourceType<T>, log: Logger, options: { readonly metadataOnly?: boolean } = {}) {
    this.type = type;
    this.#stopped.promise.catch(() => undefined);
    this.#informer = new Informer({ client, type, log, ...options });
    this.#informer.onChange((changes) => {
      for (const change of changes) {
        this.#byNamespace.apply(change);
        this.#byController.apply(change);
      }
      // Afterwards, so that who is woken sees the whole batch.
      for (const change of changes) for (const waiter of this.#waiters) waiter(change);
    });
  }

  get synced(): Promise<void> {
    return this.#informer.synced;
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#informer.run(signal);
    this.#stopped.reject(signal.reason);
  }

  /** By `namespace/name`, or `name` where there are no namespaces. */
  get(key: string): T | undefined {
    return this.#informer.get(key);
  }

  list(): Iterable<T> {
    return this.#informer.list();
  }

  inNamespace(namespace: string | undefined): readonly T[] {
    return this.#byNamespace.get(namespace ?? '');
  }

  /** Those whose controlling owner has this uid. */
  controlledBy(uid: string | undefined): readonly T[] {
    return uid === undefined ? [] : this.#byController.get(uid);
  }

  /** Calls the handler for each change, after the cache shows it; first for each object there is. */
  onChange(handler: (change: Change<T>) => void): void {
    this.#informer.onChange((changes) => {
      for (const change of changes) handler(change);
    });
  }

  /**
   * Resolves when the cache shows what was written, or that the object is gone. A controller that creates or deletes waits
   * for it before it looks at the cache again: otherwise it would create or delete the same once more. Rejects when the cache
   * is stopped meanwhile.
   */
  caughtUp(written: T): Promise<void> {
    const key = keyOf(written);
    return this.#until(
      key,
      written.metadata.uid,
      (object) => object !== undefined && isAtLeast(object.metadata.resourceVersion, written.metadata.resourceVersion),
    );
  }

  /** Resolves when the cache shows that the object, which was just deleted, is ending or gone. */
  showsDeletion(deleted: T): Promise<void> {
    return this.shows(deleted, (seen) => seen.metadata.deletionTimestamp !== undefined);
  }

  /** Resolves when the cache shows this incarnation of the object as described, or that it is gone. */
  shows(object: T, described: (seen: T) => boolean): Promise<void> {
    return this.#until(
      keyOf(object),
      object.metadata.uid,
      (seen) => seen === undefined || seen.metadata.uid !== object.metadata.uid || described(seen),
    );
  }

  async #until(key: string, uid: string | undefined, satisfied: (object: T | undefined) => boolean): Promise<void> {
    if (satisfied(this.get(key))) return;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const waiter = (change: Change<T>): void => {
      if (change.key !== key) return;
      const gone = change.type === 'delete' && change.old.metadata.uid === uid;
      if (gone || satisfied(change.object)) resolve(undefined);
    };
    this.#waiters.add(waiter);
    const timer = setTimeout(resolve, catchUpTimeout, undefined);
    try {
      await Promise.race([promise, this.#stopped.promise]);
    } finally {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
    }
  }
}

/** One cache a kind, shared by all controllers: each kind is listed and watched once. */
export class ObjectCaches {
  readonly #client: KubeClient;
  readonly #log: Logger;
  readonly #caches = new Map<string, ObjectCache<KubeObject>>();
  #started = false;

  constructor(client: KubeClient, log: Logger) {
    this.#client = client;
    this.#log = log;
  }

  /** The cache of this kind. It has to be asked for before {@link run}: one that nobody fills would show nothing for ever. */
  for<T extends KubeObject>(type: ResourceType<T>): ObjectCache<T> {
    const name = `${type.plural}.${type.group}`;
    let cache = this.#caches.get(name);
    if (cache === undefined) {
      if (this.#started) throw new IsthmusError('ISTHMUS_INTERNAL', `the cache of ${name} is asked for after the caches were started`);
      // The map holds caches of many kinds; the name ties each to the T it was made for.
      cache = new ObjectCache(this.#client, type, this.#log) as unknown as ObjectCache<KubeObject>;
      this.#caches.set(name, cache);
    }
    return cache as unknown as ObjectCache<T>;
  }

  /** The cache of a kind that some controller asked for, if one did. */
  find(type: ResourceType): ObjectCache<KubeObject> | undefined {
    return this.#caches.get(`${type.plural}.${type.group}`);
  }

  async synced(): Promise<void> {
    await Promise.all([...this.#caches.values()].map((cache) => cache.synced));
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#started = true;
    await Promise.all([...this.#caches.values()].map((cache) => cache.run(signal)));
  }
}
