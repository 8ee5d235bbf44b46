import type { Collection, Index, Value } from './collection.ts';
import { compareKeys, nodeOf, type CollectionNode, type Graph, type IndexNode } from './graph.ts';

/**
 * Finds values of a collection by other keys than their own. `keysOf` must be pure; repeated keys count once.
 */
export function indexBy<T extends Value>(
  graph: Graph,
  input: Collection<T>,
  options: { readonly name: string; readonly keysOf: (value: T, key: string) => Iterable<string> },
): Index<T> {
  return new IndexByNode(graph, nodeOf(input, graph), options);
}

class IndexByNode<T extends Value> implements IndexNode<T> {
  readonly name: string;
  readonly graph: Graph;
  readonly rank: number;
  readonly #input: CollectionNode<T>;
  readonly #keysOf: (value: T, key: string) => Iterable<string>;
  readonly #members = new Map<string, Map<string, T>>();
  readonly #touched = new Set<string>();

  constructor(
    graph: Graph,
    input: CollectionNode<T>,
    options: { readonly name: string; readonly keysOf: (value: T, key: string) => Iterable<string> },
  ) {
    this.name = options.name;
    this.graph = graph;
    this.#input = input;
    this.#keysOf = options.keysOf;
    for (const [key, value] of input.entries()) this.#enter(key, value);
    this.#touched.clear();
    this.rank = graph.register(this);
  }

  /** Number of index keys. */
  get size(): number {
    return this.#members.size;
  }

  lookup(indexKey: string): readonly T[] {
    const members = this.#members.get(indexKey);
    if (members === undefined) return [];
    if (members.size === 1) return [...members.values()];
    return [...members].sort(([a], [b]) => compareKeys(a, b)).map(([, value]) => value);
  }

  touched(): Iterable<string> {
    return this.#touched;
  }

  update(): void {
    for (const { key, before, after } of this.#input.changes()) {
      if (before !== undefined) this.#leave(key, before);
      if (after !== undefined) this.#enter(key, after);
    }
  }

  deliveries(): (() => void)[] {
    return [];
  }

  forgetChanges(): void {
    this.#touched.clear();
  }

  /** A `keysOf` that throws counts as one that gives no key, in both directions. */
  #keys(key: string, value: T): readonly string[] {
    try {
      return [...this.#keysOf(value, key)];
    } catch (error) {
      this.graph.failed({ collection: this.name, key, error });
      return [];
    }
  }

  #enter(key: string, value: T): void {
    for (const indexKey of this.#keys(key, value)) {
      let members = this.#members.get(indexKey);
      if (members === undefined) this.#members.set(indexKey, (members = new Map<string, T>()));
      members.set(key, value);
      this.#touched.add(indexKey);
    }
  }

  #leave(key: string, value: T): void {
    for (const indexKey of this.#keys(key, value)) {
      const members = this.#members.get(indexKey);
      members?.delete(key);
      if (members?.size === 0) this.#members.delete(indexKey);
      this.#touched.add(indexKey);
    }
  }
}

/** The room's own index behind the interface; throws for one that is of another make or another graph. */
export function indexNodeOf<T extends Value>(index: Index<T>, graph: Graph): IndexNode<T> {
  if (!(index instanceof IndexByNode) || index.graph !== graph) throw new Error(`${index.name} is not an index of this graph`);
  return index as IndexByNode<T>;
}
