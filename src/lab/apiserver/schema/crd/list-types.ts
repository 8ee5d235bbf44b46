import type { Schema } from '../../../../api/crds/schema.ts';
import { equalJson, isObject } from '../json.ts';
import type { FieldError } from '../types.ts';
import { duplicate } from '../validation/errors.ts';
import { keyValue } from './correlation.ts';
import { valuesOf } from './prune.ts';

/** Items that a set or a list of type map has twice. */
export function validateListTypes(schema: Schema | undefined, value: unknown, path: string): FieldError[] {
  if (schema === undefined) return [];
  if (Array.isArray(value)) {
    return [
      ...repeated(schema, value, path),
      ...value.flatMap((item, index) => validateListTypes(schema.items, item, `${path}[${index}]`)),
    ];
  }
  if (!isObject(value)) return [];
  const values = valuesOf(schema);
  return Object.entries(value).flatMap(([key, item]) =>
    validateListTypes(schema.properties?.[key] ?? values, item, path === '' ? key : `${path}.${key}`),
  );
}

function repeated(schema: Schema, value: readonly unknown[], path: string): FieldError[] {
  const type = schema['x-kubernetes-list-type'];
  if (type !== 'map' && type !== 'set') return [];
  const identities = value.map((item) => (type === 'set' ? item : keysOf(schema, item)));
  return identities.flatMap((identity, index) =>
    identity !== undefined && identities.slice(0, index).some((earlier) => equalJson(earlier, identity))
      ? [duplicate(`${path}[${index}]`, identity)]
      : [],
  );
}

function keysOf(schema: Schema, item: unknown): unknown {
  if (!isObject(item)) return undefined;
  const keys = [...(schema['x-kubernetes-list-map-keys'] ?? [])].sort();
  return Object.fromEntries(keys.map((key) => [key, keyValue(schema, item, key)]).filter(([, value]) => value !== undefined));
}
