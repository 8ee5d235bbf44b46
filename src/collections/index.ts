/**
 * Derived collections: keyed, incremental, pure. Each output is a function of inputs, computed again only when what it
 * read changed. Nothing about Kubernetes or the mesh may enter, and no I/O.
 *
 * The rule that users break: a derivation reads nothing but its arguments and what it fetches.
 */
export type { Collection, CollectionChange, Fetch, Index, Value } from './collection.ts';
export { Graph, type DerivationFailure } from './graph.ts';
export { source, type Source, type SourceOptions } from './source.ts';
export { flatMap, map, type DeriveOptions } from './derive.ts';
export { join } from './join.ts';
export { indexBy } from './index-by.ts';
