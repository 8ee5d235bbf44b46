import type { Rule, Schema } from '../../../../api/crds/schema.ts';
import { equalJson, isObject } from '../json.ts';
import type { FieldError } from '../types.ts';
import { duplicate, forbidden, invalid, invalidUnshown, required } from '../validation/errors.ts';
import { programOf, type Program } from './cel-environment.ts';
import { toCel } from './cel-values.ts';
import { correlate, hasIdentity } from './correlation.ts';
import { valuesOf } from './prune.ts';

/** Whether there is any rule in the schema; kept, because every write asks. */
export function hasRules(schema: Schema): boolean {
  let known = withRules.get(schema);
  if (known === undefined) {
    known =
      (schema['x-kubernetes-validations'] ?? []).length > 0 ||
      Object.values(schema.properties ?? {}).some(hasRules) ||
      (schema.items !== undefined && hasRules(schema.items)) ||
      (isObject(schema.additionalProperties) && hasRules(schema.additionalProperties));
    withRules.set(schema, known);
  }
  return known;
}

const withRules = new WeakMap<Schema, boolean>();
/** A rule about a change: it is judged only when there is an old value. */
export function isTransitionRule(rule: Rule): boolean {
  return /\boldSelf\b/.test(rule.rule);
}

/**
 * Evaluates the rules (`x-kubernetes-validations`) of a schema on a value that has the schema's structure. `old` is the value before an update; rules without
 * `oldSelf` are not judged where nothing changed.
 */
export function validateRules(schema: Schema, value: unknown, path: string, old?: unknown): FieldError[] {
  if (!hasRules(schema) || value === null || value === undefined) return [];
  const errors = (schema['x-kubernetes-validations'] ?? []).flatMap((rule) => judge(rule, schema, value, path, old));
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items === undefined) return errors;
    return [
      ...errors,
      ...value.flatMap((item, index) => {
        const before = hasIdentity(schema) || equalJson(old, value) ? correlate(schema, old, item, index) : undefined;
        return validateRules(items, item, `${path}[${index}]`, before);
      }),
    ];
  }
  if (!isObject(value)) return errors;
  const before = isObject(old) ? old : {};
  const values = valuesOf(schema);
  return [
    ...errors,
    ...Object.entries(value).flatMap(([key, item]) => {
      const property = schema.properties?.[key];
      if (property !== undefined) return validateRules(property, item, path === '' ? key : `${path}.${key}`, before[key]);
      return values === undefined ? [] : validateRules(values, item, `${path}[${key}]`, before[key]);
    }),
  ];
}

function judge(rule: Rule, schema: Schema, value: unknown, path: string, old: unknown): FieldError[] {
  const transition = isTransitionRule(rule);
  if (transition ? old === undefined && rule.optionalOldSelf !== true : old !== undefined && equalJson(old, value)) return [];
  const variables = { self: toCel(schema, value), ...(transition ? { oldSelf: toCel(schema, old) } : {}) };
  try {
    if (programOf(rule.rule)(variables) === true) return [];
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    return [broken(rule, value, path, `${reason} evaluating rule: ${rule.message ?? rule.rule}`)];
  }
  return [broken(rule, value, path, explain(rule, variables))];
}

function explain(rule: Rule, variables: Parameters<Program>[0]): string {
  if (rule.messageExpression !== undefined) {
    try {
      const message = programOf(rule.messageExpression)(variables);
      if (typeof message === 'string' && message.trim() !== '' && !message.includes('\n')) return message;
    } catch {
      // As on a server: a message that cannot be made gives way to the fixed one.
    }
  }
  return rule.message ?? `failed rule: ${rule.rule}`;
}

function broken(rule: Rule, value: unknown, path: string, message: string): FieldError {
  const field = `${path}${rule.fieldPath ?? ''}`;
  switch (rule.reason) {
    case 'FieldValueRequired':
      return required(field, message);
    case 'FieldValueForbidden':
      return forbidden(field, message);
    case 'FieldValueDuplicate':
      return duplicate(field, value);
    default:
      return typeof value === 'object' ? invalidUnshown(field, message) : invalid(field, value, message);
  }
}
