import type { AnyObject } from '../../../../api/kubernetes.ts';
import type { Schema } from '../../../../api/crds/schema.ts';
import { decodeStruct } from '../decode.ts';
import { structType } from '../field-table.ts';
import { isObject, objectAt, objectsAt, stringAt, type Json } from '../json.ts';
import { structMergeStrategy, untypedStrategy } from '../merge.ts';
import type { FieldError, MergeStrategy, PathStep, PruneOptions, PruneResult, TypeSchema } from '../types.ts';
import { invalid } from '../validation/errors.ts';
import { validateMeta, validateMetaUpdate } from '../validation/meta.ts';
import { subdomainMessages } from '../validation/names.ts';
import { hasRules, validateRules } from './cel-validation.ts';
import { applyDefaults } from './defaults.ts';
import { validateListTypes } from './list-types.ts';
import { prune, valuesOf } from './prune.ts';
import { validateStructure } from './structure.ts';

/** The schema of one version of a CustomResourceDefinition; throws when the definition has no such version. */
export function crdSchema(crd: AnyObject, version: string): TypeSchema {
  const spec = objectAt(crd, 'spec');
  const found = objectsAt(spec, 'versions').find((candidate) => candidate['name'] === version);
  if (found === undefined) throw new Error(`${crd.metadata.name} has no version ${version}`);
  // The cast: validateCrd() has checked that the schema is structural.
  const schema = (objectAt(objectAt(found, 'schema'), 'openAPIV3Schema') ?? {}) as Schema;
  return new CustomSchema(schema, spec?.['scope'] !== 'Cluster', objectAt(objectAt(found, 'subresources'), 'scale'));
}

const uncheckedRules =
  'some validation rules were not checked because the object was invalid; correct the existing errors to complete validation';
/** After an error of these kinds the rules are not evaluated: they may rely on what is wrong. */
const blocking: ReadonlySet<string> = new Set([
  'FieldValueNotSupported',
  'FieldValueRequired',
  'FieldValueTooLong',
  'FieldValueTooMany',
  'FieldValueTypeInvalid',
]);

class CustomSchema implements TypeSchema {
  readonly #schema: Schema;
  readonly #namespaced: boolean;
  readonly #scale: Json | undefined;

  constructor(schema: Schema, namespaced: boolean, scale: Json | undefined) {
    this.#schema = schema;
    this.#namespaced = namespaced;
    this.#scale = scale;
  }

  prune(object: unknown, options: PruneOptions): PruneResult {
    const given = isObject(object) ? object : {};
    const unknown: string[] = [];
    const keep = options.mode === 'keep';
    const { apiVersion, kind, metadata, ...rest } = given;
    const pruned = prune({ ...this.#schema, 'x-kubernetes-embedded-resource': false }, rest, '', unknown, keep) as Json;
    const meta = this.#metadata(metadata, unknown, keep);
    // The cast: a resource has these three whatever its schema says.
    return { object: { apiVersion, kind, metadata: meta, ...pruned } as unknown as AnyObject, unknownFields: unknown };
  }

  /** Metadata is read as for built-in kinds, and written with its keys in order. */
  #metadata(given: unknown, unknown: string[], keep: boolean): Json {
    const type = structType('meta', 'ObjectMeta');
    if (type === undefined) return {};
    const { value, unknownFields } = decodeStruct(type, given ?? {}, { keepUnknown: keep });
    unknown.push(...unknownFields.map((field) => `metadata.${field}`));
    return prune({ 'x-kubernetes-preserve-unknown-fields': true }, value, 'metadata', [], true) as Json;
  }

  default(object: AnyObject): AnyObject {
    const { apiVersion, kind, metadata, ...rest } = object;
    return { apiVersion, kind, metadata, ...(applyDefaults(this.#schema, rest) as Json) };
  }

  validate(object: AnyObject, old?: AnyObject): FieldError[] {
    return [
      ...validateMeta(object.metadata, { namespaced: this.#namespaced, name: subdomainMessages }),
      ...(old === undefined ? [] : validateMetaUpdate(object.metadata, old.metadata)),
      ...this.#validateContent(object, old),
    ];
  }

  validateStatus(object: AnyObject, old: AnyObject): FieldError[] {
    return [...validateMetaUpdate(object.metadata, old.metadata), ...this.#validateContent(object, old)];
  }

  #validateContent(object: AnyObject, old: AnyObject | undefined): FieldError[] {
    const schema = this.#schema;
    const errors = [
      ...validateStructure(schema, object, '', old),
      ...this.#validateScale(object),
      ...validateListTypes(schema, object, ''),
    ];
    if (!hasRules(schema)) return errors;
    if (errors.some((error) => blocking.has(error.reason))) return [...errors, invalid('<nil>', null, uncheckedRules)];
    return [...errors, ...validateRules(schema, object, '', old)];
  }

  #validateScale(object: AnyObject): FieldError[] {
    return ['specReplicasPath', 'statusReplicasPath'].flatMap((field) => {
      const path = stringAt(this.#scale, field);
      const value = path === undefined ? undefined : at(object, path.slice(1).split('.'));
      if (path === undefined || value === undefined) return [];
      if (typeof value !== 'number') {
        return [
          invalid(
            path,
            0,
            `${path} accessor error: ${typeof value === 'string' ? value : JSON.stringify(value)} is of the type ${goTypeOf(value)}, expected int64`,
          ),
        ];
      }
      if (value < 0) return [invalid(path, value, 'should be a non-negative integer')];
      return value > 0x7fffffff ? [invalid(path, value, 'should be less than or equal to 2147483647')] : [];
    });
  }

  mergeStrategy(path: readonly PathStep[]): MergeStrategy {
    const [first, ...rest] = path;
    if (first === 'metadata') {
      const type = structType('meta', 'ObjectMeta');
      return type === undefined ? untypedStrategy : structMergeStrategy(type, rest);
    }
    let schema: Schema | undefined = this.#schema;
    for (const step of path) {
      if (schema === undefined) return untypedStrategy;
      schema = schema.type === 'array' ? schema.items : (schema.properties?.[String(step)] ?? valuesOf(schema));
    }
    return schema === undefined ? untypedStrategy : strategyOf(schema);
  }
}

function at(object: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) => (isObject(value) ? value[key] : undefined), object);
}

function goTypeOf(value: unknown): string {
  if (Array.isArray(value)) return '[]interface {}';
  return typeof value === 'object' ? 'map[string]interface {}' : typeof value === 'boolean' ? 'bool' : typeof value;
}

function strategyOf(schema: Schema): MergeStrategy {
  const patch = { strategy: 'merge', retainKeys: false } as const;
  const listType = schema['x-kubernetes-list-type'] ?? 'atomic';
  switch (schema.type) {
    case 'array':
      return {
        type: 'list',
        apply: listType === 'map' ? 'associative' : listType,
        keys: (schema['x-kubernetes-list-map-keys'] ?? []).map((name) => {
          const value = schema.items?.properties?.[name]?.default;
          return value === undefined ? { name } : { name, default: value };
        }),
        patch: { strategy: 'replace', retainKeys: false },
      };
    case 'object': {
      const apply = schema['x-kubernetes-map-type'] === 'atomic' ? 'atomic' : 'granular';
      if (schema.properties === undefined && schema.additionalProperties === undefined) return { ...untypedStrategy, apply };
      return { type: schema.properties === undefined ? 'map' : 'object', apply, keys: [], patch };
    }
    case undefined:
      if (schema['x-kubernetes-int-or-string'] !== true) return untypedStrategy;
  }
  return { type: 'scalar', apply: 'atomic', keys: [], patch: { strategy: 'replace', retainKeys: false } };
}
