import type { Schema } from '../../../../api/crds/schema.ts';
import { equalJson, isObject } from '../json.ts';

/**
 * The item of the old list that a new item continues: in a list of type map the one with the same keys, in a set the same value. Undefined when there
 * is none, or when the list has no identity for its items.
 */
export function correlate(schema: Schema, old: unknown, item: unknown, index: number): unknown {
  if (!Array.isArray(old)) return undefined;
  switch (schema['x-kubernetes-list-type']) {
    case 'map':
      return old.find((candidate) => isObject(candidate) && isObject(item) && sameKeys(schema, candidate, item));
    case 'set':
      return old.find((candidate) => equalJson(candidate, item));
    default: {
      // Only for "nothing changed here": an equal item at the same place.
      const there: unknown = old[index];
      return equalJson(there, item) ? there : undefined;
    }
  }
}

function sameKeys(schema: Schema, a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): boolean {
  return (schema['x-kubernetes-list-map-keys'] ?? []).every((key) => equalJson(keyValue(schema, a, key), keyValue(schema, b, key)));
}

/** An absent key has its default. */
export function keyValue(schema: Schema, item: Readonly<Record<string, unknown>>, key: string): unknown {
  return item[key] ?? schema.items?.properties?.[key]?.default;
}

/** Whether rules about the change of an item can be judged at all. */
export function hasIdentity(schema: Schema): boolean {
  return schema['x-kubernetes-list-type'] === 'map';
}
