import type { Schema } from '../../../../api/crds/schema.ts';
import { isObject } from '../json.ts';
import type { FieldError } from '../types.ts';
import { forbidden, invalid, required } from '../validation/errors.ts';
import { programOf } from './cel-environment.ts';
import { isTransitionRule } from './cel-validation.ts';
import { applyDefaults } from './defaults.ts';
import { regularExpression } from './regular-expression.ts';
import { validateStructure } from './structure.ts';

/** Whether a schema is structural, and whether its patterns, defaults and rules can be used. `path`: where it stands. */
export function validateDefinitionSchema(path: string, schema: Schema): FieldError[] {
  const errors = schema.type === 'object' ? [] : [invalid(`${path}.type`, schema.type ?? '', 'must be object at the root')];
  if ((schema as { readonly default?: unknown }).default !== undefined)
    errors.push(forbidden(`${path}.default`, 'must not be set at the root'));
  return [...errors, ...validateNode(path, schema, true)];
}

function validateNode(path: string, schema: Schema, correlatable: boolean): FieldError[] {
  const untyped =
    schema.type === undefined && schema['x-kubernetes-int-or-string'] !== true && schema['x-kubernetes-preserve-unknown-fields'] !== true;
  const below = correlatable && (schema.type !== 'array' || schema['x-kubernetes-list-type'] === 'map');
  return [
    ...(untyped ? [required(`${path}.type`, 'must not be empty for specified object fields')] : []),
    ...validatePattern(path, schema),
    ...validateListType(path, schema),
    ...validateDefault(path, schema),
    ...validateRuleTexts(path, schema, correlatable),
    ...(schema.type === 'array' && schema.items === undefined ? [required(`${path}.items`, 'must be specified')] : []),
    ...(schema.properties !== undefined && isObject(schema.additionalProperties)
      ? [forbidden(`${path}.additionalProperties`, 'additionalProperties and properties are mutual exclusive')]
      : []),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, property]) =>
      // Metadata is the server's own.
      validateNode(`${path}.properties[${name}]`, property, below),
    ),
    ...(schema.items === undefined ? [] : validateNode(`${path}.items`, schema.items, below)),
    ...(isObject(schema.additionalProperties) ? validateNode(`${path}.additionalProperties`, schema.additionalProperties, below) : []),
  ];
}

function validatePattern(path: string, { pattern }: Schema): FieldError[] {
  if (pattern === undefined) return [];
  try {
    regularExpression(pattern);
    return [];
  } catch (error) {
    return [
      invalid(
        `${path}.pattern`,
        pattern,
        `must be a valid regular expression, but isn't: ${error instanceof Error ? error.message : String(error)}`,
      ),
    ];
  }
}

function validateListType(path: string, schema: Schema): FieldError[] {
  if (schema['x-kubernetes-list-type'] !== 'map') return [];
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  if (keys.length === 0) return [required(`${path}.x-kubernetes-list-map-keys`, 'must not be empty if x-kubernetes-list-type is map')];
  return keys.flatMap((key, index) => {
    const property = schema.items?.properties?.[key];
    if (property === undefined)
      return [invalid(`${path}.x-kubernetes-list-map-keys[${index}]`, key, 'entries have to all be names of item properties')];
    const present = schema.items?.required?.includes(key) === true || property.default !== undefined;
    return present
      ? []
      : [
          required(
            `${path}.items.properties[${key}].default`,
            'this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property',
          ),
        ];
  });
}

function validateDefault(path: string, schema: Schema): FieldError[] {
  if (schema.default === undefined) return [];
  const { default: value, ...rest } = schema;
  return validateStructure(rest, applyDefaults(rest, value), `${path}.default`);
}

function validateRuleTexts(path: string, schema: Schema, correlatable: boolean): FieldError[] {
  return (schema['x-kubernetes-validations'] ?? []).flatMap((rule, index) => {
    const at = `${path}.x-kubernetes-validations[${index}]`;
    if (rule.rule.trim() === '') return [required(`${at}.rule`, 'rule is not specified')];
    if (!correlatable && isTransitionRule(rule)) {
      return [invalid(`${at}.rule`, rule.rule, 'oldSelf cannot be used on the uncorrelatable portion of the schema')];
    }
    try {
      programOf(rule.rule);
      return [];
    } catch (error) {
      return [
        invalid(
          `${at}.rule`,
          rule.rule,
          `compilation failed: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`,
        ),
      ];
    }
  });
}
