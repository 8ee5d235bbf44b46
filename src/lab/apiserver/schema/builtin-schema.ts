import type { AnyObject } from '../../../api/kubernetes.ts';
import { decodeStruct } from './decode.ts';
import { defaulterOf } from './defaults/index.ts';
import { structType, type StructType } from './field-table.ts';
import { structMergeStrategy } from './merge.ts';
import type { FieldError, MergeStrategy, PathStep, PruneOptions, PruneResult, ResourceInfo, TypeSchema } from './types.ts';
import { validateBuiltin } from './validation/index.ts';

const cache = new Map<string, TypeSchema>();

/**
 * The schema of a built-in kind; of a kind of meta/v1 (DeleteOptions, Status) in any group, as they are served in each.
 * Throws for a kind that is not built in: that is a mistake of the caller.
 */
export function schemaFor(type: Pick<ResourceInfo, 'group' | 'version' | 'kind'>): TypeSchema {
  const key = `${type.group}/${type.version}/${type.kind}`;
  let schema = cache.get(key);
  if (schema === undefined) {
    const struct = builtinStruct(type.group, type.kind);
    if (struct === undefined) throw new Error(`${type.kind} of ${type.group}/${type.version} is no built-in kind`);
    schema = new BuiltinSchema(type, struct);
    cache.set(key, schema);
  }
  return schema;
}

/** The struct behind a kind: groups are tables by the first word of their name. */
export function builtinStruct(group: string, kind: string): StructType | undefined {
  return structType(group === '' ? 'core' : (group.split('.')[0] ?? ''), kind) ?? structType('meta', kind);
}

class BuiltinSchema implements TypeSchema {
  readonly #type: Pick<ResourceInfo, 'group' | 'version' | 'kind'>;
  readonly #struct: StructType;

  constructor(type: Pick<ResourceInfo, 'group' | 'version' | 'kind'>, struct: StructType) {
    this.#type = type;
    this.#struct = struct;
  }

  prune(object: unknown, options: PruneOptions): PruneResult {
    const { value, unknownFields } = decodeStruct(this.#struct, object, { keepUnknown: options.mode === 'keep' });
    return { object: this.#named(value), unknownFields };
  }

  default(object: AnyObject): AnyObject {
    const { value } = decodeStruct(this.#struct, structuredClone(object), { fillDefaults: true });
    const defaulter = defaulterOf(this.#struct.table, this.#type.kind);
    if (defaulter === undefined) return this.#named(value);
    defaulter(value);
    // Again, for the order of fields and for the defaults of what the first pass added.
    return this.#named(decodeStruct(this.#struct, value, { fillDefaults: true }).value);
  }

  validate(object: AnyObject, old?: AnyObject): FieldError[] {
    return validateBuiltin(this.#struct.table, this.#type.kind, object, old);
  }

  validateStatus(object: AnyObject, old: AnyObject): FieldError[] {
    return validateBuiltin(this.#struct.table, this.#type.kind, object, old, 'status');
  }

  mergeStrategy(path: readonly PathStep[]): MergeStrategy {
    return structMergeStrategy(this.#struct, path);
  }

  #named(value: Record<string, unknown>): AnyObject {
    const { group, version, kind } = this.#type;
    // The cast: every kind with a schema of its own has metadata, except meta/v1's options, of which no caller reads it.
    return { kind, apiVersion: group === '' ? version : `${group}/${version}`, ...value } as unknown as AnyObject;
  }
}
