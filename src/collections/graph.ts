import type { Collection, CollectionChange, Index, Value } from './collection.ts';

/** A derivation threw: it counts as if it had derived nothing from this input, until that or what it read changes. */
export interface DerivationFailure {
  readonly collection: string;
  readonly key: string;
  readonly error: unknown;
}

/**
 * A set of collections that change together. Collections are made once, at start, and live as long as the graph.
 *
 * A batch settles in rank order (the order in which the collections were made, inputs always before what derives from
 * them): each collection is brought up to date once, after everything it reads. Handlers run when all is settled.
 */
export class Graph {
  readonly #onFailure: (failure: DerivationFailure) => void;
  readonly #nodes: GraphNode[] = [];
  #held = 0;
  #settling = false;
  #changed = false;

  constructor(options: { readonly onFailure: (failure: DerivationFailure) => void }) {
    this.#onFailure = options.onFailure;
  }

  /** Everything that `work` changes becomes one batch. Batches nest: the outermost settles. */
  batch(work: () => void): void {
    const release = this.hold();
    try {
      work();
    } finally {
      release();
    }
  }

  /** Gathers all changes until the returned function is called: a batch that outlives one function. */
  hold(): () => void {
    this.#held++;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#held--;
      this.#settle();
    };
  }

  /** One line a collection, in rank order. */
  table(): readonly { readonly name: string; readonly size: number }[] {
    return this.#nodes.map(({ name, size }) => ({ name, size }));
  }

  /** For the collections of this room: takes a place in the order. */
  register(node: GraphNode): number {
    this.#refuseWhileDeriving(node.name);
    return this.#nodes.push(node) - 1;
  }

  /** For the sources of this room: something waits to be settled. */
  sourceChanged(name: string): void {
    this.#refuseWhileDeriving(name);
    this.#changed = true;
    if (this.#held === 0) this.#settle();
  }

  /** For the derivations of this room. */
  failed(failure: DerivationFailure): void {
    this.#onFailure(failure);
  }

  #deriving = false;

  #refuseWhileDeriving(name: string): void {
    if (this.#deriving) throw new Error(`${name}: a derivation may not change the graph`);
  }

  #settle(): void {
    if (this.#settling || this.#held > 0) return;
    this.#settling = true;
    const errors: unknown[] = [];
    try {
      while (this.#changed) {
        this.#changed = false;
        this.#deriving = true;
        for (const node of this.#nodes) node.update();
        this.#deriving = false;
        // First gather, then call: a handler that subscribes here starts with the settled state and must not hear this batch again.
        const deliveries = this.#nodes.flatMap((node) => node.deliveries());
        for (const node of this.#nodes) node.forgetChanges();
        for (const deliver of deliveries) {
          try {
            deliver();
          } catch (error) {
            errors.push(error);
          }
        }
      }
    } finally {
      this.#deriving = false;
      this.#settling = false;
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, 'handlers of collections failed');
  }
}

/** Something whose changes a derivation can follow by key. */
export interface Tracked {
  readonly rank: number;
  /** The keys whose answer may have changed in the batch that settles now. */
  touched(): Iterable<string>;
}

/** A place in the graph. */
export interface GraphNode extends Tracked {
  readonly name: string;
  readonly size: number;
  /** Takes in what changed below; called once a batch, in rank order. */
  update(): void;
  /** One call for each handler that has something to hear. */
  deliveries(): (() => void)[];
  forgetChanges(): void;
}

type Handler<T> = (changes: readonly CollectionChange<T>[]) => void;

/** The common part of all collections: the values, their changes in the current batch, the handlers. */
export abstract class CollectionNode<T extends Value> implements Collection<T>, GraphNode {
  readonly name: string;
  readonly rank: number;
  readonly graph: Graph;
  /** Follows the collection as a whole, under the key ''. */
  readonly whole: Tracked;
  readonly #equals: (a: T, b: T) => boolean;
  readonly #values = new Map<string, T>();
  /** Keys changed in this batch, with the value before it. */
  readonly #changes = new Map<string, T | undefined>();
  readonly #handlers = new Set<Handler<T>>();

  constructor(graph: Graph, name: string, equals: (a: T, b: T) => boolean) {
    this.graph = graph;
    this.name = name;
    this.#equals = equals;
    this.rank = graph.register(this);
    const changes = this.#changes;
    this.whole = { rank: this.rank, touched: () => (changes.size > 0 ? [''] : []) };
  }

  abstract update(): void;

  get size(): number {
    return this.#values.size;
  }

  get(key: string): T | undefined {
    return this.#values.get(key);
  }

  entries(): IterableIterator<[string, T]> {
    return this.#values.entries();
  }

  values(): IterableIterator<T> {
    return this.#values.values();
  }

  subscribe(handler: Handler<T>): () => void {
    // A wrapper of its own, so that one function can be subscribed twice and each stopped alone.
    const own: Handler<T> = (changes) => handler(changes);
    this.#handlers.add(own);
    if (this.#values.size > 0) own([...this.#values].map(([key, after]) => ({ key, before: undefined, after })));
    return () => this.#handlers.delete(own);
  }

  touched(): Iterable<string> {
    return this.#changes.keys();
  }

  /** The changes of the batch that settles now. */
  *changes(): Generator<CollectionChange<T>, void, void> {
    for (const [key, before] of this.#changes) yield { key, before, after: this.#values.get(key) };
  }

  deliveries(): (() => void)[] {
    if (this.#changes.size === 0 || this.#handlers.size === 0) return [];
    const changes = [...this.changes()];
    return [...this.#handlers].map((handler) => () => {
      if (this.#handlers.has(handler)) handler(changes);
    });
  }

  forgetChanges(): void {
    this.#changes.clear();
  }

  /** States what a key holds now; called at most once a key and batch, from {@link update}. */
  protected put(key: string, value: T | undefined): void {
    const before = this.#values.get(key);
    if (value === undefined) {
      if (before === undefined) return;
      this.#values.delete(key);
    } else {
      if (before !== undefined && this.#equals(before, value)) return;
      this.#values.set(key, value);
    }
    this.#changes.set(key, before);
  }
}

/** The room's own collection behind the interface; throws for one that is of another make or another graph. */
export function nodeOf<T extends Value>(collection: Collection<T>, graph: Graph): CollectionNode<T> {
  if (!(collection instanceof CollectionNode) || collection.graph !== graph) {
    throw new Error(`${collection.name} is not a collection of this graph`);
  }
  return collection as CollectionNode<T>;
}

/** Order of keys everywhere in this room: by UTF-16 code unit, the same on every machine. */
export function compareKeys(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What an {@link Index} of this room is in the graph. */
export interface IndexNode<T extends Value> extends Index<T>, Tracked {
  readonly graph: Graph;
}
