import type { Schema } from '../../../../api/crds/schema.ts';
import { isObject, type Json } from '../json.ts';
import { valuesOf } from './prune.ts';

/**
 * A copy of a value with the schema's defaults where nothing is set. A null that the schema does not allow counts as not set:
 * it goes, or gives way to the default.
 */
export function applyDefaults(schema: Schema | undefined, value: unknown): unknown {
  if (schema === undefined) return value;
  if (Array.isArray(value)) return value.map((item) => applyDefaults(schema.items, item));
  if (!isObject(value)) return value;
  const { properties = {} } = schema;
  const values = valuesOf(schema);
  const keys = new Set([...Object.keys(value), ...Object.keys(properties).filter((key) => properties[key]?.default !== undefined)]);
  const result: Json = {};
  for (const key of [...keys].sort()) {
    const property = properties[key] ?? values;
    const given = value[key];
    const unset = given === undefined || (given === null && property?.nullable !== true && property !== undefined);
    const chosen = unset ? structuredClone(property?.default) : given;
    if (chosen !== undefined) result[key] = applyDefaults(property, chosen);
  }
  return result;
}
