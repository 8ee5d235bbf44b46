import type { Schema } from '../../../../api/crds/schema.ts';
import { isObject, type Json } from '../json.ts';

/**
 * A copy of a value without what its schema does not name, keys in order. Paths of what was unknown are added to `unknown`;
 * with `keep` it stays.
 */
export function prune(schema: Schema | undefined, value: unknown, path: string, unknown: string[], keep: boolean): unknown {
  if (schema === undefined) return sorted(value);
  if (Array.isArray(value)) return value.map((item, index) => prune(schema.items, item, `${path}[${index}]`, unknown, keep));
  if (!isObject(value)) return value;
  const result: Json = {};
  for (const key of Object.keys(value).sort()) {
    const inner = path === '' ? key : `${path}.${key}`;
    const property = schema.properties?.[key] ?? valuesOf(schema) ?? (isResourceField(schema, key) ? {} : undefined);
    if (property !== undefined) {
      result[key] = prune(property, value[key], inner, unknown, keep);
    } else if (schema['x-kubernetes-preserve-unknown-fields'] === true || isFree(schema)) {
      result[key] = sorted(value[key]);
    } else {
      unknown.push(inner);
      if (keep) result[key] = value[key];
    }
  }
  return result;
}

/** The schema of the values of a map; an empty one when anything goes. */
export function valuesOf(schema: Schema): Schema | undefined {
  const values = schema.additionalProperties;
  return values === true ? {} : values === false ? undefined : values;
}

/** A schema that says nothing at all, as the values of `additionalProperties: true` have. */
function isFree(schema: Schema): boolean {
  return Object.keys(schema).length === 0;
}

function isResourceField(schema: Schema, key: string): boolean {
  return schema['x-kubernetes-embedded-resource'] === true && (key === 'apiVersion' || key === 'kind' || key === 'metadata');
}

/** The same value with the keys of all objects in order, as a server writes what it keeps as it came. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}
