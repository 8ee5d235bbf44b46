import admissionregistration from './fields/admissionregistration.ts';
import apiextensions from './fields/apiextensions.ts';
import apps from './fields/apps.ts';
import authentication from './fields/authentication.ts';
import authorization from './fields/authorization.ts';
import autoscaling from './fields/autoscaling.ts';
import coordination from './fields/coordination.ts';
import corePodSpec from './fields/core-pod-spec.ts';
import corePod from './fields/core-pod.ts';
import coreVolumes from './fields/core-volumes.ts';
import core from './fields/core.ts';
import discovery from './fields/discovery.ts';
import events from './fields/events.ts';
import meta from './fields/meta.ts';
import networking from './fields/networking.ts';
import policy from './fields/policy.ts';
import rbac from './fields/rbac.ts';
import scheduling from './fields/scheduling.ts';

/**
 * The types behind the built-in kinds, as tables: one table says how a kind is read from JSON and from protobuf, what is left out when it is written,
 * how its lists merge, and what OpenAPI says of it. The facts (names, numbers, types, keys) are those of the Go types of k8s.io/api (Apache-2.0).
 *
 * A table is a list of types: a line with the type's name (`@atomic`: server-side apply owns it as a whole), then one indented line per field,
 * `<protobuf number> <JSON name><mark> <type> [@list type] [~patch strategy] [=default]`, in the order in which a server writes them.
 *
 * Marks: none, a required field, always written; `?` optional and left out when empty (a nested struct is never empty); `??` the same, and a zero
 * struct is left out too; `+` optional, yet always written.
 * Types: `string bool int32 int64 float64 bytes`, special values (`Time MicroTime Duration Quantity IntOrString`), free-form JSON
 * (`RawExtension FieldsV1 JSON`...), a struct of this or of another table (`meta.ObjectMeta`), `*T` a pointer, `[]T` a list, `{T}` a map from strings. `...T`
 * has no name: T's fields stand in its place in JSON (in protobuf it is a message of its own).
 * Lists: `@map(keys)`, `@set`, `@atomic`; `~merge(key)`, `~replace`, `~retainKeys` as in a strategic merge patch.
 */
const sources: Readonly<Record<string, readonly string[]>> = {
  admissionregistration: [admissionregistration],
  apiextensions: [apiextensions],
  apps: [apps],
  authentication: [authentication],
  authorization: [authorization],
  autoscaling: [autoscaling],
  coordination: [coordination],
  core: [core, corePodSpec, corePod, coreVolumes],
  discovery: [discovery],
  events: [events],
  meta: [meta],
  networking: [networking],
  policy: [policy],
  rbac: [rbac],
  scheduling: [scheduling],
};

export type Scalar =
  'string' | 'bool' | 'int32' | 'int64' | 'float64' | 'bytes' | 'Time' | 'MicroTime' | 'Duration' | 'Quantity' | 'IntOrString';

/** The type of a field. `raw` is JSON that nothing here looks into; `name` tells how OpenAPI and protobuf call it. */
export type FieldType =
  | { readonly kind: 'scalar'; readonly name: Scalar; readonly pointer: boolean }
  | { readonly kind: 'raw'; readonly name: string; readonly pointer: boolean }
  | { readonly kind: 'struct'; readonly table: string; readonly name: string; readonly pointer: boolean }
  | { readonly kind: 'list'; readonly of: FieldType }
  | { readonly kind: 'map'; readonly of: FieldType };

export interface Field {
  /** The protobuf field number. */
  readonly number: number;
  readonly name: string;
  readonly type: FieldType;
  readonly required: boolean;
  /** When the field is left out of what is written. */
  readonly omit: 'never' | 'empty' | 'zero';
  /** The fields of the struct stand in place of this one. */
  readonly inline: boolean;
  readonly list?: { readonly type: 'map' | 'set' | 'atomic'; readonly keys: readonly string[] };
  readonly patch?: { readonly strategy: 'merge' | 'replace'; readonly retainKeys: boolean; readonly mergeKey?: string };
  readonly default?: string | boolean;
}

export interface StructType {
  /** The table, by the last part of its Go package's path before the version: `core`, `apps`, `meta`. */
  readonly table: string;
  readonly name: string;
  readonly atomic: boolean;
  readonly fields: readonly Field[];
  /** By JSON name, inlined structs resolved; in the order of writing. */
  readonly byName: ReadonlyMap<string, Field>;
}

const parsed = new Map<string, Map<string, StructType>>();

/** The struct of that name; undefined when the tables do not have it. */
export function structType(table: string, name: string): StructType | undefined {
  let types = parsed.get(table);
  if (types === undefined) {
    types = parseTable(table, sources[table] ?? []);
    parsed.set(table, types);
  }
  return types.get(name);
}

/** The struct that a field's type names; the tables are complete, so a miss is a defect of theirs. */
export function structOf(type: FieldType & { readonly kind: 'struct' }): StructType {
  const found = structType(type.table, type.name);
  if (found === undefined) throw new Error(`the field tables have no ${type.table}.${type.name}`);
  return found;
}

function parseTable(table: string, texts: readonly string[]): Map<string, StructType> {
  const types = new Map<string, StructType>();
  for (const block of texts.join('\n').split('\n\n')) {
    const [head, ...lines] = block.split('\n').filter((line) => line.trim() !== '');
    if (head === undefined) continue;
    const [name = '', mark] = head.split(' ');
    const fields = lines.map((line) => parseField(table, line));
    let byName: Map<string, Field> | undefined;
    types.set(name, {
      table,
      name,
      atomic: mark === '@atomic',
      fields,
      // Not at once: an inlined struct may stand further down, or in another table.
      get byName() {
        return (byName ??= new Map(flatten(fields).map((field) => [field.name, field])));
      },
    });
  }
  return types;
}

function flatten(fields: readonly Field[]): Field[] {
  return fields.flatMap((field) => (field.inline && field.type.kind === 'struct' ? flatten(structOf(field.type).fields) : [field]));
}

function parseField(table: string, line: string): Field {
  const [number = '', ...words] = line.trim().split(' ');
  const inline = words[0]?.startsWith('...') ?? false;
  const label = inline ? '' : (words.shift() ?? '');
  const [, name = '', mark = ''] = /^([^?+]*)(\?\?|\?|\+)?$/.exec(label) ?? [];
  const type = parseType(table, (words.shift() ?? '').replace('...', ''));
  let extra: Pick<Field, 'list' | 'patch' | 'default'> = {};
  for (const word of words) {
    const [, sign, value = '', argument] = /^([@~=])([^(]*)(?:\((.*)\))?$/.exec(word) ?? [];
    if (sign === '@') {
      extra = { ...extra, list: { type: value as 'map' | 'set' | 'atomic', keys: argument?.split(',') ?? [] } };
    } else if (sign === '~') {
      const strategies = value.split(',');
      const merge = {
        strategy: strategies.includes('merge') ? 'merge' : 'replace',
        retainKeys: strategies.includes('retainKeys'),
      } as const;
      extra = { ...extra, patch: argument === undefined ? merge : { ...merge, mergeKey: argument } };
    } else if (sign === '=') {
      extra = { ...extra, default: type.kind === 'scalar' && type.name === 'bool' ? value === 'true' : value === '""' ? '' : value };
    }
  }
  const omit = mark === '?' ? 'empty' : mark === '??' ? 'zero' : 'never';
  return { number: Number(number), name, type, required: mark === '' && !inline, omit, inline, ...extra };
}

const scalars: ReadonlySet<string> = new Set<Scalar>([
  'string',
  'bool',
  'int32',
  'int64',
  'float64',
  'bytes',
  'Time',
  'MicroTime',
  'Duration',
  'Quantity',
  'IntOrString',
]);
const raws: ReadonlySet<string> = new Set([
  'RawExtension',
  'FieldsV1',
  'JSON',
  'JSONSchemaPropsOrArray',
  'JSONSchemaPropsOrBool',
  'JSONSchemaPropsOrStringArray',
]);

function parseType(table: string, text: string): FieldType {
  if (text.startsWith('[]')) return { kind: 'list', of: parseType(table, text.slice(2)) };
  if (text.startsWith('{')) return { kind: 'map', of: parseType(table, text.slice(1, -1)) };
  const pointer = text.startsWith('*');
  const full = pointer ? text.slice(1) : text;
  if (scalars.has(full)) return { kind: 'scalar', name: full as Scalar, pointer };
  if (raws.has(full)) return { kind: 'raw', name: full, pointer };
  const dot = full.indexOf('.');
  return dot < 0
    ? { kind: 'struct', table, name: full, pointer }
    : { kind: 'struct', table: full.slice(0, dot), name: full.slice(dot + 1), pointer };
}
