import { isDeepStrictEqual } from 'node:util';

import type { Collection, Value } from './collection.ts';
import { CollectionNode, nodeOf, type Graph } from './graph.ts';

/** The union of collections. Under a key that several hold, the value of the first of them counts. */
export function join<T extends Value>(
  graph: Graph,
  inputs: readonly Collection<T>[],
  options: { readonly name: string; readonly equals?: (a: T, b: T) => boolean },
): Collection<T> {
  return new JoinNode(
    graph,
    inputs.map((input) => nodeOf(input, graph)),
    options,
  );
}

class JoinNode<T extends Value> extends CollectionNode<T> {
  readonly #inputs: readonly CollectionNode<T>[];
  #started = false;

  constructor(
    graph: Graph,
    inputs: readonly CollectionNode<T>[],
    options: { readonly name: string; readonly equals?: (a: T, b: T) => boolean },
  ) {
    super(graph, options.name, options.equals ?? isDeepStrictEqual);
    this.#inputs = inputs;
    this.update();
    this.forgetChanges();
  }

  override update(): void {
    const keys = new Set<string>();
    for (const input of this.#inputs) {
      if (this.#started) for (const key of input.touched()) keys.add(key);
      else for (const [key] of input.entries()) keys.add(key);
    }
    this.#started = true;
    for (const key of keys) this.put(key, this.#first(key));
  }

  #first(key: string): T | undefined {
    for (const input of this.#inputs) {
      const value = input.get(key);
      if (value !== undefined) return value;
    }
    return undefined;
  }
}
