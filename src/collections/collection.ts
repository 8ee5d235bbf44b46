/** What a collection may hold: anything but null and undefined, which mean "not there". */
export type Value = string | number | bigint | boolean | object;

/** One net change of a collection in one batch. At least one of the two is set: `before` alone is a removal. */
export interface CollectionChange<T> {
  readonly key: string;
  readonly before: T | undefined;
  readonly after: T | undefined;
}

/**
 * A keyed set of values, kept up to date as its sources change. (Istio's krt has the same idea.)
 *
 * Guarantees, which the conformance suite holds for every kind of collection:
 *
 * 1. **Consistent.** Whoever reads, sees the whole graph after the same batch; never some collections before it and others after.
 * 2. **Exact.** A handler hears every net change once, in the order of the batches; a change to an equal value is none;
 *    the changes it heard, put one after another, give what the collection holds.
 * 3. **History-free.** What a collection holds depends on what the sources hold, not on how they came there.
 * 4. **Proportional.** A batch costs what it changes and what was derived from that, never the size of a collection.
 *
 * Values are shared: never change them.
 */
export interface Collection<T extends Value> {
  /** For logs, errors and the graph's table. */
  readonly name: string;
  readonly size: number;
  get(key: string): T | undefined;
  /** In no particular order. */
  entries(): IterableIterator<[key: string, value: T]>;
  values(): IterableIterator<T>;
  /**
   * Calls `handler` after every batch that changed this collection, and first, at once, with what there is.
   * A handler may change sources: that is another batch, right after this one. Returns the way to stop it.
   */
  subscribe(handler: (changes: readonly CollectionChange<T>[]) => void): () => void;
}

/** The values of a collection by a second key; a value may stand under any number of them. */
export interface Index<T extends Value> {
  readonly name: string;
  /** Ordered by the collection's key. */
  lookup(indexKey: string): readonly T[];
}

/**
 * How a derivation reads other collections: what it read is noted, and it runs again when that changes.
 * Only collections made before the derivation can be read (so there are no cycles), and only while it runs.
 */
export interface Fetch {
  get<T extends Value>(collection: Collection<T>, key: string): T | undefined;
  /** Ordered by the collection's key. Runs again when a value enters, leaves or changes under this index key. */
  lookup<T extends Value>(index: Index<T>, indexKey: string): readonly T[];
  /** Ordered by key. Runs again at any change of the collection: for small ones only. */
  list<T extends Value>(collection: Collection<T>): readonly T[];
}
