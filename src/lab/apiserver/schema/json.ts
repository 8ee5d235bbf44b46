/** Reading JSON whose shape the decoder has checked already, without casts at every step. */
export type Json = Record<string, unknown>;

/** A plain JSON object (no array, no null). */
export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object at a key, if one is there. */
export function objectAt(parent: Json | undefined, key: string): Json | undefined {
  const value = parent?.[key];
  return isObject(value) ? value : undefined;
}

/** The objects of the list at a key; empty when there is none. */
export function objectsAt(parent: Json | undefined, key: string): Json[] {
  const value = parent?.[key];
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** The strings of the list at a key; empty when there is none. */
export function stringsAt(parent: Json | undefined, key: string): string[] {
  const value = parent?.[key];
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

export function stringAt(parent: Json | undefined, key: string): string | undefined {
  const value = parent?.[key];
  return typeof value === 'string' ? value : undefined;
}

export function numberAt(parent: Json | undefined, key: string): number | undefined {
  const value = parent?.[key];
  return typeof value === 'number' ? value : undefined;
}

/** The map of strings at a key; empty when there is none. */
export function stringMapAt(parent: Json | undefined, key: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(objectAt(parent, key) ?? {}).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

/** Sets a key that is not set (undefined or null), and answers what it holds then. */
export function fill(parent: Json, key: string, value: unknown): unknown {
  return (parent[key] ??= value);
}

/** The object at a key, made when there is none. */
export function fillObject(parent: Json, key: string): Json {
  const there = objectAt(parent, key);
  if (there !== undefined) return there;
  const made: Json = {};
  parent[key] = made;
  return made;
}

/** Equality of JSON values; the order of keys does not count. */
export function equalJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, index) => equalJson(item, b[index]));
  if (!isObject(a) || !isObject(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => key in b && equalJson(a[key], b[key]));
}
