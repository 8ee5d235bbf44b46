import { isDeepStrictEqual } from 'node:util';

import type { Collection, Fetch, Index, Value } from './collection.ts';
import { CollectionNode, compareKeys, nodeOf, type Graph, type Tracked } from './graph.ts';
import { indexNodeOf } from './index-by.ts';

export interface DeriveOptions<O> {
  readonly name: string;
  /** Whether two values are the same to everyone downstream; default deep equality. */
  readonly equals?: (a: O, b: O) => boolean;
}

/**
 * Derives one value, or none, from each value of `input`, under the same key. `derive` must be pure: all it reads
 * beside its arguments it reads through `fetch`.
 */
export function map<I extends Value, O extends Value>(
  graph: Graph,
  input: Collection<I>,
  derive: (value: I, fetch: Fetch, key: string) => O | undefined,
  options: DeriveOptions<O>,
): Collection<O> {
  const one = (value: I, fetch: Fetch, key: string): Iterable<readonly [string, O]> => {
    const derived = derive(value, fetch, key);
    return derived === undefined ? [] : [[key, derived]];
  };
  return new DerivedNode(graph, nodeOf(input, graph), one, options);
}

/**
 * Derives any number of values from each value of `input`, under keys that `derive` chooses. Where several inputs
 * derive the same key, the input with the least key counts (and within one input the last).
 */
export function flatMap<I extends Value, O extends Value>(
  graph: Graph,
  input: Collection<I>,
  derive: (value: I, fetch: Fetch, key: string) => Iterable<readonly [key: string, value: O]>,
  options: DeriveOptions<O>,
): Collection<O> {
  return new DerivedNode(graph, nodeOf(input, graph), derive, options);
}

/** What one input gave in its last run. */
interface Run<O> {
  readonly outputs: ReadonlyMap<string, O>;
  readonly reads: readonly (readonly [Tracked, string])[];
}

class DerivedNode<I extends Value, O extends Value> extends CollectionNode<O> {
  readonly #input: CollectionNode<I>;
  readonly #derive: (value: I, fetch: Fetch, key: string) => Iterable<readonly [string, O]>;
  readonly #runs = new Map<string, Run<O>>();
  /** Output key to the inputs that derive it. */
  readonly #producers = new Map<string, Set<string>>();
  /** Who read what: place, key there, inputs to run again. */
  readonly #readers = new Map<Tracked, Map<string, Set<string>>>();

  constructor(
    graph: Graph,
    input: CollectionNode<I>,
    derive: (value: I, fetch: Fetch, key: string) => Iterable<readonly [string, O]>,
    options: DeriveOptions<O>,
  ) {
    super(graph, options.name, options.equals ?? isDeepStrictEqual);
    this.#input = input;
    this.#derive = derive;
    this.#rerun(new Set([...input.entries()].map(([key]) => key)));
    this.forgetChanges();
  }

  override update(): void {
    const inputs = new Set(this.#input.touched());
    for (const [place, byKey] of this.#readers) {
      for (const key of place.touched()) for (const reader of byKey.get(key) ?? []) inputs.add(reader);
    }
    if (inputs.size > 0) this.#rerun(inputs);
  }

  #rerun(inputs: ReadonlySet<string>): void {
    const affected = new Set<string>();
    for (const key of inputs) {
      this.#withdraw(key, affected);
      const value = this.#input.get(key);
      if (value !== undefined) this.#enter(key, this.#run(key, value), affected);
    }
    for (const key of affected) this.put(key, this.#winner(key));
  }

  #run(key: string, value: I): Run<O> {
    const fetch = new TrackingFetch(this.graph, this.name, this.rank);
    try {
      return { outputs: new Map(this.#derive(value, fetch, key)), reads: fetch.close() };
    } catch (error) {
      this.graph.failed({ collection: this.name, key, error });
      return { outputs: new Map(), reads: fetch.close() };
    }
  }

  #enter(key: string, run: Run<O>, affected: Set<string>): void {
    this.#runs.set(key, run);
    for (const outputKey of run.outputs.keys()) {
      let producers = this.#producers.get(outputKey);
      if (producers === undefined) this.#producers.set(outputKey, (producers = new Set()));
      producers.add(key);
      affected.add(outputKey);
    }
    for (const [place, readKey] of run.reads) {
      let byKey = this.#readers.get(place);
      if (byKey === undefined) this.#readers.set(place, (byKey = new Map<string, Set<string>>()));
      let readers = byKey.get(readKey);
      if (readers === undefined) byKey.set(readKey, (readers = new Set()));
      readers.add(key);
    }
  }

  #withdraw(key: string, affected: Set<string>): void {
    const run = this.#runs.get(key);
    if (run === undefined) return;
    this.#runs.delete(key);
    for (const outputKey of run.outputs.keys()) {
      const producers = this.#producers.get(outputKey);
      producers?.delete(key);
      if (producers?.size === 0) this.#producers.delete(outputKey);
      affected.add(outputKey);
    }
    for (const [place, readKey] of run.reads) {
      const byKey = this.#readers.get(place);
      const readers = byKey?.get(readKey);
      readers?.delete(key);
      if (readers?.size === 0) byKey?.delete(readKey);
    }
  }

  #winner(outputKey: string): O | undefined {
    let least: string | undefined;
    for (const producer of this.#producers.get(outputKey) ?? []) {
      if (least === undefined || compareKeys(producer, least) < 0) least = producer;
    }
    return least === undefined ? undefined : this.#runs.get(least)?.outputs.get(outputKey);
  }
}

/** Notes each place and key that is read, once. */
class TrackingFetch implements Fetch {
  readonly #graph: Graph;
  readonly #name: string;
  readonly #rank: number;
  readonly #reads = new Map<Tracked, Set<string>>();
  #open = true;

  constructor(graph: Graph, name: string, rank: number) {
    this.#graph = graph;
    this.#name = name;
    this.#rank = rank;
  }

  get<T extends Value>(collection: Collection<T>, key: string): T | undefined {
    const node = nodeOf(collection, this.#graph);
    this.#note(node, key, node.name);
    return node.get(key);
  }

  lookup<T extends Value>(index: Index<T>, indexKey: string): readonly T[] {
    const node = indexNodeOf(index, this.#graph);
    this.#note(node, indexKey, node.name);
    return node.lookup(indexKey);
  }

  list<T extends Value>(collection: Collection<T>): readonly T[] {
    const node = nodeOf(collection, this.#graph);
    this.#note(node.whole, '', node.name);
    return [...node.entries()].sort(([a], [b]) => compareKeys(a, b)).map(([, value]) => value);
  }

  close(): (readonly [Tracked, string])[] {
    this.#open = false;
    return [...this.#reads].flatMap(([place, keys]) => [...keys].map((key) => [place, key] as const));
  }

  #note(place: Tracked, key: string, name: string): void {
    if (!this.#open) throw new Error(`${this.#name}: ${name} was read after the derivation ended`);
    if (place.rank >= this.#rank) throw new Error(`${this.#name}: ${name} was made later and cannot be read`);
    let keys = this.#reads.get(place);
    if (keys === undefined) this.#reads.set(place, (keys = new Set()));
    keys.add(key);
  }
}
