import { indexBy, type Collection, type Fetch, type Graph, type Index, type Value } from '../collections/index.ts';

type Labels = Readonly<Record<string, string>>;

/** Something that selects by labels within a namespace. */
export interface Selecting {
  readonly selector: Labels | undefined;
}

export function matches(selector: Labels, labels: Labels): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

const indexKey = (namespace: string, label: string, value: string): string => `${namespace}|${label}=${value}`;

/**
 * Who selects a set of labels. Indexed by one label of each selector (the first by name), so that a changed selector
 * concerns only objects with that label, and an object asks only for the labels it has.
 */
export class SelectorIndex<T extends Value & Selecting> {
  readonly #index: Index<T>;

  constructor(graph: Graph, input: Collection<T>, options: { readonly name: string; readonly namespaceOf: (value: T) => string }) {
    this.#index = indexBy(graph, input, {
      name: options.name,
      keysOf: (value) => {
        const first = Object.entries(value.selector ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))[0];
        return first === undefined ? [] : [indexKey(options.namespaceOf(value), ...first)];
      },
    });
  }

  /** What selects these labels in a namespace. An empty selector selects nothing here. */
  selecting(fetch: Fetch, namespace: string, labels: Labels): T[] {
    return Object.entries(labels)
      .flatMap(([label, value]) => fetch.lookup(this.#index, indexKey(namespace, label, value)))
      .filter(({ selector }) => selector !== undefined && matches(selector, labels));
  }
}
