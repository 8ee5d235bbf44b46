import type { AnyObject } from '../../../api/kubernetes.ts';

/** An object as it is stored; never changed in place. */
export interface StoredObject {
  readonly object: AnyObject;
  /** metadata.resourceVersion as a number. */
  readonly version: number;
  /** The object's JSON, encoded once for the database, for answers and for watches. */
  readonly json: string;
}

/** One write, as watches see it. */
export interface Change {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly version: number;
  /** After the write; for a removal the last state, at the removal's version. */
  readonly current: StoredObject;
  /** Before the write; absent for a creation. */
  readonly previous: StoredObject | undefined;
}

/** How much of a resource's past is kept; beyond it a watch is told to start anew. */
export interface HistoryWindow {
  /** Changes. */
  readonly count: number;
  /** Characters of JSON, for resources with large objects. */
  readonly characters: number;
}

/** The objects of one resource and their last changes. */
export class Bucket {
  readonly name: string;
  readonly #objects = new Map<string, StoredObject>();
  readonly #listeners = new Set<() => void>();
  readonly #window: HistoryWindow;
  #changes: Change[] = [];
  /** Length of the kept changes' JSON. */
  #kept = 0;
  #floor: number;
  #sorted: readonly StoredObject[] | undefined;

  constructor(options: { name: string; floor: number; window: HistoryWindow }) {
    this.name = options.name;
    this.#floor = options.floor;
    this.#window = options.window;
  }

  get(namespace: string, name: string): StoredObject | undefined {
    return this.#objects.get(keyOf(namespace, name));
  }

  /** All objects by namespace and name, in the order of a list. */
  all(): readonly StoredObject[] {
    this.#sorted ??= [...this.#objects.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, stored]) => stored);
    return this.#sorted;
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Every change after this version is kept: a watch can start here, but not earlier. */
  get floor(): number {
    return this.#floor;
  }

  /** The changes after a version, oldest first; undefined when some of them are not kept any more. */
  changesAfter(version: number): readonly Change[] | undefined {
    if (version < this.#floor) return undefined;
    let low = 0;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#changes[middle]?.version ?? 0) <= version) low = middle + 1;
      else high = middle;
    }
    return low === this.#changes.length ? [] : this.#changes.slice(low);
  }

  /** The objects as they were at a version; undefined when that is too long ago. */
  at(version: number): readonly StoredObject[] | undefined {
    const since = this.changesAfter(version);
    if (since === undefined) return undefined;
    if (since.length === 0) return this.all();
    const past = new Map(this.#objects);
    for (const { current, previous } of since.toReversed()) {
      const { namespace = '', name } = current.object.metadata;
      if (previous === undefined) past.delete(keyOf(namespace, name));
      else past.set(keyOf(namespace, name), previous);
    }
    return [...past.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, stored]) => stored);
  }

  /** Calls back after each change, synchronously; the result ends it. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Used by the store alone, as are put and remove: an object that was there before this process. */
  load(stored: StoredObject): void {
    this.#objects.set(keyOf(stored.object.metadata.namespace ?? '', stored.object.metadata.name), stored);
    this.#sorted = undefined;
  }

  put(stored: StoredObject): void {
    const key = keyOf(stored.object.metadata.namespace ?? '', stored.object.metadata.name);
    const previous = this.#objects.get(key);
    this.#objects.set(key, stored);
    this.#record({ type: previous === undefined ? 'ADDED' : 'MODIFIED', version: stored.version, current: stored, previous });
  }

  remove(last: StoredObject): void {
    const key = keyOf(last.object.metadata.namespace ?? '', last.object.metadata.name);
    const previous = this.#objects.get(key);
    this.#objects.delete(key);
    this.#record({ type: 'DELETED', version: last.version, current: last, previous });
  }

  #record(change: Change): void {
    this.#sorted = undefined;
    this.#changes.push(change);
    this.#kept += change.current.json.length;
    // Cut in halves, so that a change costs the same however long the window is.
    if (this.#changes.length > this.#window.count || this.#kept > this.#window.characters) {
      const dropped = this.#changes.splice(0, Math.ceil(this.#changes.length / 2));
      this.#floor = dropped.at(-1)?.version ?? this.#floor;
      for (const { current } of dropped) this.#kept -= current.json.length;
    }
    for (const listener of this.#listeners) listener();
  }
}

/** Sorts as the API lists: as paths do. */
export function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}
