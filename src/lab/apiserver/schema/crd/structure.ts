import type { Schema } from '../../../../api/crds/schema.ts';
import { equalJson, isObject } from '../json.ts';
import type { FieldError } from '../types.ts';
import { duplicate, invalid, notSupported, required, tooLong, tooMany, typeInvalid } from '../validation/errors.ts';
import { matchesFormat } from './formats.ts';
import { correlate } from './correlation.ts';
import { valuesOf } from './prune.ts';
import { regularExpression } from './regular-expression.ts';

/**
 * What is wrong with a value under an OpenAPI schema, with the messages that a server prints. On an update (`old` given) a part that did
 * not change is not judged again ("ratcheting"), so that tightened rules do not block what was there before.
 */
export function validateStructure(schema: Schema, value: unknown, path: string, old?: unknown): FieldError[] {
  if (old !== undefined && path !== '' && equalJson(value, old)) return [];
  const types = typesOf(schema);
  if (value === null) return schema.nullable === true || types.length === 0 ? [] : [wrongType(path, types, value)];
  if (types.length > 0 && !types.some((type) => hasType(value, type))) return [wrongType(path, types, value)];
  return [
    ...combinations(schema, value, path),
    ...(typeof value === 'string' ? validateString(schema, value, path) : []),
    ...(typeof value === 'number' ? validateNumber(schema, value, path) : []),
    ...(Array.isArray(value) ? validateArray(schema, value, path, old) : []),
    ...validateEnum(schema, value, path),
    ...(isObject(value) ? validateObject(schema, value, path, old) : []),
  ];
}

function typesOf(schema: Schema): readonly string[] {
  if (schema['x-kubernetes-int-or-string'] === true) return ['integer', 'string'];
  return schema.type === undefined ? [] : [schema.type];
}

function hasType(value: unknown, type: string): boolean {
  const actual = typeName(value);
  return actual === type || (type === 'number' && actual === 'integer');
}

export function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function wrongType(path: string, types: readonly string[], value: unknown): FieldError {
  const actual = typeName(value);
  return typeInvalid(path, actual, `${path} in body must be of type ${types.join(',')}: "${actual}"`);
}

function validateString(schema: Schema, value: string, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const length = Array.from(value).length;
  if (schema.maxLength !== undefined && length > schema.maxLength) errors.push(tooLong(path, schema.maxLength));
  if (schema.minLength !== undefined && length < schema.minLength) {
    errors.push(invalid(path, value, `${path} in body should be at least ${schema.minLength} chars long`));
  }
  if (schema.pattern !== undefined && !regularExpression(schema.pattern).test(value)) {
    errors.push(invalid(path, value, `${path} in body should match '${schema.pattern}'`));
  }
  if (schema.format !== undefined && !matchesFormat(schema.format, value)) {
    errors.push(typeInvalid(path, value, `${path} in body must be of type ${schema.format}: ${JSON.stringify(value)}`));
  }
  return errors;
}

function validateNumber(schema: Schema, value: number, path: string): FieldError[] {
  const { minimum, maximum, multipleOf } = schema;
  const should = (what: string): FieldError => invalid(path, value, `${path} in body should be ${what}`);
  if (multipleOf !== undefined && !Number.isInteger(value / multipleOf)) return [should(`a multiple of ${multipleOf}`)];
  if (maximum !== undefined && (schema.exclusiveMaximum === true ? value >= maximum : value > maximum)) {
    return [should(`less than ${schema.exclusiveMaximum === true ? '' : 'or equal to '}${maximum}`)];
  }
  if (minimum !== undefined && (schema.exclusiveMinimum === true ? value <= minimum : value < minimum)) {
    return [should(`greater than ${schema.exclusiveMinimum === true ? '' : 'or equal to '}${minimum}`)];
  }
  return [];
}

function validateEnum(schema: Schema, value: unknown, path: string): FieldError[] {
  if (schema.enum === undefined || schema.enum.some((allowed) => equalJson(allowed, value))) return [];
  return [notSupported(path, value, schema.enum.map(String))];
}

function validateArray(schema: Schema, value: readonly unknown[], path: string, old: unknown): FieldError[] {
  const errors = value.flatMap((item, index) =>
    schema.items === undefined ? [] : validateStructure(schema.items, item, `${path}[${index}]`, correlate(schema, old, item, index)),
  );
  if (schema.minItems !== undefined && value.length < schema.minItems) {
    errors.push(invalid(path, value.length, `${path} in body should have at least ${schema.minItems} items`));
  }
  if (schema.maxItems !== undefined && value.length > schema.maxItems) errors.push(tooMany(path, value.length, schema.maxItems));
  if (schema.uniqueItems === true) {
    const repeated = value.findIndex((item, index) => value.slice(0, index).some((earlier) => equalJson(earlier, item)));
    if (repeated >= 0) errors.push(duplicate(`${path}[${repeated}]`, value[repeated]));
  }
  return errors;
}

function validateObject(schema: Schema, value: Readonly<Record<string, unknown>>, path: string, old: unknown): FieldError[] {
  const errors: FieldError[] = [];
  const before = isObject(old) ? old : {};
  const size = Object.keys(value).length;
  if (schema.minProperties !== undefined && size < schema.minProperties) {
    errors.push(invalid(path, size, `${path} in body should have at least ${schema.minProperties} properties`));
  }
  if (schema.maxProperties !== undefined && size > schema.maxProperties) errors.push(tooMany(path, size, schema.maxProperties));
  for (const name of schema.required ?? []) {
    if (!(name in value)) errors.push(required(join(path, name)));
  }
  const values = valuesOf(schema);
  for (const [key, item] of Object.entries(value)) {
    const property = schema.properties?.[key] ?? values;
    if (property === undefined) continue;
    errors.push(...validateStructure(property, item, join(path, key), before[key]));
  }
  return errors;
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/** allOf, anyOf, oneOf and not: where alternatives fail, the errors of the one that came closest are told too. */
function combinations(schema: Schema, value: unknown, path: string): FieldError[] {
  const errors: FieldError[] = [];
  // A server tells of these without a field.
  const fail = (what: string): void => void errors.push(invalid('<nil>', '', `"${path}" must ${what}`));
  const judge = (alternatives: readonly Schema[]): FieldError[][] =>
    alternatives.map((alternative) => validateStructure(alternative, value, path));
  const closest = (alternatives: readonly Schema[], failures: readonly FieldError[][]): FieldError[] => {
    const matches = alternatives.map((alternative) => matchCount(alternative, value));
    return failures[matches.indexOf(Math.max(...matches))] ?? [];
  };
  if (schema.anyOf !== undefined && schema['x-kubernetes-int-or-string'] !== true) {
    const failures = judge(schema.anyOf);
    if (failures.every((failure) => failure.length > 0)) {
      fail('validate at least one schema (anyOf)');
      errors.push(...closest(schema.anyOf, failures));
    }
  }
  if (schema.oneOf !== undefined) {
    const failures = judge(schema.oneOf);
    const valid = failures.filter((failure) => failure.length === 0).length;
    if (valid !== 1)
      fail(`validate one and only one schema (oneOf). ${valid === 0 ? 'Found none valid' : `Found ${valid} valid alternatives`}`);
    if (valid === 0) errors.push(...closest(schema.oneOf, failures));
  }
  if (schema.allOf !== undefined) {
    const failures = judge(schema.allOf);
    if (failures.some((failure) => failure.length > 0)) {
      fail('validate all the schemas (allOf)');
      errors.push(...failures.flat());
    }
  }
  if (schema.not !== undefined && validateStructure(schema.not, value, path).length === 0) fail('not validate the schema (not)');
  return errors;
}

/** How close an alternative comes: the number of its properties that the value satisfies. */
function matchCount(schema: Schema, value: unknown): number {
  if (!isObject(value)) return 0;
  return Object.entries(schema.properties ?? {}).filter(
    ([key, property]) => key in value && validateStructure(property, value[key], key).length === 0,
  ).length;
}
