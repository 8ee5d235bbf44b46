import type { Collection, Value } from './collection.ts';
import { CollectionNode, type Graph } from './graph.ts';

/** A collection fed from outside: by an informer, by configuration, by a test. */
export interface Source<T extends Value> extends Collection<T> {
  set(key: string, value: T): void;
  delete(key: string): void;
  /** Makes this the whole content. */
  replace(content: ReadonlyMap<string, T>): void;
}

export interface SourceOptions<T> {
  readonly name: string;
  /** Whether two values are the same to everyone; default identity. */
  readonly equals?: (a: T, b: T) => boolean;
}

/** Makes an empty source. */
export function source<T extends Value>(graph: Graph, options: SourceOptions<T>): Source<T> {
  return new SourceNode(graph, options);
}

class SourceNode<T extends Value> extends CollectionNode<T> implements Source<T> {
  /** Held back until the batch settles, so that readers never see half of one. */
  readonly #incoming = new Map<string, T | undefined>();

  constructor(graph: Graph, options: SourceOptions<T>) {
    super(graph, options.name, options.equals ?? Object.is);
  }

  set(key: string, value: T): void {
    this.#incoming.set(key, value);
    this.graph.sourceChanged(this.name);
  }

  delete(key: string): void {
    this.#incoming.set(key, undefined);
    this.graph.sourceChanged(this.name);
  }

  replace(content: ReadonlyMap<string, T>): void {
    for (const [key] of this.entries()) this.#incoming.set(key, undefined);
    for (const key of this.#incoming.keys()) this.#incoming.set(key, undefined);
    for (const [key, value] of content) this.#incoming.set(key, value);
    this.graph.sourceChanged(this.name);
  }

  override update(): void {
    for (const [key, value] of this.#incoming) this.put(key, value);
    this.#incoming.clear();
  }
}
