/**
 * Compares parts of API objects by meaning, as Kubernetes' semantic deep equal does: order of keys does not matter, and
 * a field that is absent, null, or an empty list or map counts as the same. Statuses are compared with it before a write,
 * so that a reconcile without news writes nothing.
 */

type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };

/** Whether two values mean the same to Kubernetes. */
export function semanticallyEqual(a: unknown, b: unknown): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

/** A text that is equal for values that mean the same. */
export function canonicalJson(value: unknown): string {
  const kept = canonical(value);
  return kept === undefined ? 'null' : JSON.stringify(kept);
}

function canonical(value: unknown): Json | undefined {
  if (value === null || value === undefined) return undefined;
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  if (Array.isArray(value)) {
    const items = value.map((item) => canonical(item) ?? {});
    return items.length === 0 ? undefined : items;
  }
  const entries: [string, Json][] = [];
  for (const [key, inner] of Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const kept = canonical(inner);
    if (kept !== undefined) entries.push([key, kept]);
  }
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}
