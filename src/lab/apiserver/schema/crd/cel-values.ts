import type { Schema } from '../../../../api/crds/schema.ts';
import { isObject } from '../json.ts';
import { valuesOf } from './prune.ts';

/** Names that CEL keeps for itself; a field of such a name is reached as `__name__`. */
const reserved: ReadonlySet<string> = new Set([
  'true',
  'false',
  'null',
  'in',
  'as',
  'break',
  'const',
  'continue',
  'else',
  'for',
  'function',
  'if',
  'import',
  'let',
  'loop',
  'package',
  'namespace',
  'return',
  'var',
  'void',
  'while',
]);

/** The name under which a rule reaches a field. */
export function celFieldName(name: string): string {
  if (reserved.has(name)) return `__${name}__`;
  return name.replaceAll('__', '__underscores__').replaceAll('.', '__dot__').replaceAll('-', '__dash__').replaceAll('/', '__slash__');
}

/** A JSON value as CEL sees it under its schema: integers are 64 bit, times and durations are values of their own, fields have CEL's names. */
export function toCel(schema: Schema | undefined, value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (typeof value === 'number') return schema?.type !== 'number' && Number.isInteger(value) ? BigInt(value) : value;
  if (typeof value === 'string') return schema?.format === 'date-time' ? new Date(value) : value;
  if (Array.isArray(value)) return value.map((item) => toCel(schema?.items, item));
  if (!isObject(value)) return value;
  const values = schema === undefined ? {} : valuesOf(schema);
  const entries = Object.entries(value).flatMap(([key, item]): [string, unknown][] => {
    const property = schema?.properties?.[key];
    // Where null is not allowed it means that nothing is there.
    if (item === null && property?.nullable !== true) return [];
    return [[property === undefined ? key : celFieldName(key), toCel(property ?? values, item)]];
  });
  return Object.fromEntries(entries);
}
