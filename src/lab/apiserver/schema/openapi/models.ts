import { describeType } from '../descriptions.ts';
import { structOf, structType, type Field, type FieldType, type StructType } from '../field-table.ts';
import { groupVersionOf } from '../discovery.ts';
import type { ResourceInfo } from '../types.ts';

/** A document's place for schemas: what comes before a model's name in a `$ref`. */
export type RefPrefix = '#/components/schemas/' | '#/definitions/';

type Model = Record<string, unknown>;

const meta = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const specialNames: Readonly<Record<string, string>> = {
  Time: `${meta}.Time`,
  MicroTime: `${meta}.MicroTime`,
  Duration: `${meta}.Duration`,
  FieldsV1: `${meta}.FieldsV1`,
  Quantity: 'io.k8s.apimachinery.pkg.api.resource.Quantity',
  IntOrString: 'io.k8s.apimachinery.pkg.util.intstr.IntOrString',
  RawExtension: 'io.k8s.apimachinery.pkg.runtime.RawExtension',
};

/** The models that are no struct. */
const specialModels: Readonly<Record<string, Model>> = {
  [`${meta}.Time`]: { type: 'string', format: 'date-time' },
  [`${meta}.MicroTime`]: { type: 'string', format: 'date-time' },
  [`${meta}.Duration`]: { type: 'string' },
  [`${meta}.FieldsV1`]: { type: 'object' },
  'io.k8s.apimachinery.pkg.api.resource.Quantity': { oneOf: [{ type: 'string' }, { type: 'number' }] },
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': { format: 'int-or-string', oneOf: [{ type: 'integer' }, { type: 'string' }] },
  'io.k8s.apimachinery.pkg.runtime.RawExtension': { type: 'object' },
};

/** The name of a table's struct in OpenAPI. */
export function modelName(table: string, name: string): string {
  if (table === 'meta') return `${meta}.${name}`;
  if (table === 'apiextensions') return `io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.${name}`;
  return `io.k8s.api.${table}.v1.${name}`;
}

/** Collects the models of a document: those that are asked for, and all that they refer to. */
export class Models {
  readonly #prefix: RefPrefix;
  readonly #models = new Map<string, Model>();

  constructor(prefix: RefPrefix) {
    this.#prefix = prefix;
  }

  /** By name, in order. */
  all(): Record<string, Model> {
    return Object.fromEntries([...this.#models].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** A reference to a struct, which becomes part of the document. */
  struct(type: StructType): Model {
    const name = modelName(type.table, type.name);
    if (!this.#models.has(name)) {
      // Before its fields are read: a type may contain itself.
      const model: Model = {};
      this.#models.set(name, model);
      Object.assign(model, this.#object(type));
    }
    return this.#ref(name);
  }

  /** A model that is made elsewhere, such as a custom resource's. */
  add(name: string, model: Model): Model {
    this.#models.set(name, model);
    return this.#ref(name);
  }

  /** Says which kinds a model is: clients find the model of an object by it. */
  identify(type: StructType, kinds: readonly Pick<ResourceInfo, 'group' | 'version' | 'kind'>[]): void {
    this.struct(type);
    const model = this.#models.get(modelName(type.table, type.name));
    if (model === undefined) return;
    model['properties'] = { apiVersion: { type: 'string' }, kind: { type: 'string' }, ...(model['properties'] as Model | undefined) };
    model['x-kubernetes-group-version-kind'] = kinds.map(({ group, version, kind }) => ({ group, version, kind }));
  }

  /** The list of a kind; `item` refers to the kind's model. */
  list(name: string, item: Model, type: Pick<ResourceInfo, 'group' | 'version' | 'listKind'>): Model {
    const listMeta = structType('meta', 'ListMeta');
    return this.add(name, {
      description: `${type.listKind} is a list of objects of ${groupVersionOf(type)}.`,
      type: 'object',
      required: ['items'],
      properties: {
        apiVersion: { type: 'string' },
        items: { type: 'array', items: item },
        kind: { type: 'string' },
        ...(listMeta === undefined ? {} : { metadata: { allOf: [this.struct(listMeta)] } }),
      },
      'x-kubernetes-group-version-kind': [{ group: type.group, kind: type.listKind, version: type.version }],
    });
  }

  #ref(name: string): Model {
    return { $ref: `${this.#prefix}${name}` };
  }

  #object(type: StructType): Model {
    const documentation = describeType(type.table, type.name);
    const fields = [...type.byName.values()];
    const required = fields.filter((field) => field.required).map((field) => field.name);
    return {
      ...(documentation.type === undefined ? {} : { description: documentation.type }),
      type: 'object',
      ...(required.length === 0 ? {} : { required }),
      properties: Object.fromEntries(fields.map((field) => [field.name, this.#property(field, documentation.fields.get(field.name))])),
      ...(type.atomic ? { 'x-kubernetes-map-type': 'atomic' } : {}),
    };
  }

  #property(field: Field, description: string | undefined): Model {
    const model = this.#type(field.type);
    return {
      ...(description === undefined ? {} : { description }),
      // Beside a $ref nothing else counts in OpenAPI 3.0, hence allOf.
      ...('$ref' in model ? { allOf: [model] } : model),
      ...(field.default === undefined ? {} : { default: field.default }),
      ...mergeExtensions(field),
    };
  }

  #type(type: FieldType): Model {
    switch (type.kind) {
      case 'list':
        return { type: 'array', items: this.#item(type.of) };
      case 'map':
        return { type: 'object', additionalProperties: this.#item(type.of) };
      case 'struct':
        return this.struct(structOf(type));
      case 'raw': {
        const name = specialNames[type.name];
        return name === undefined ? {} : this.#special(name);
      }
      case 'scalar':
        return this.#scalar(type.name);
    }
  }

  #item(type: FieldType): Model {
    const model = this.#type(type);
    return '$ref' in model ? { allOf: [model], default: {} } : model;
  }

  #scalar(name: string): Model {
    switch (name) {
      case 'string':
        return { type: 'string' };
      case 'bool':
        return { type: 'boolean' };
      case 'int32':
      case 'int64':
        return { type: 'integer', format: name };
      case 'float64':
        return { type: 'number', format: 'double' };
      case 'bytes':
        return { type: 'string', format: 'byte' };
      default:
        return this.#special(specialNames[name] ?? name);
    }
  }

  #special(name: string): Model {
    return this.add(name, specialModels[name] ?? {});
  }
}

/** How lists and maps merge, as clients read it: for patches (`x-kubernetes-patch-*`) and for server-side apply. */
function mergeExtensions({ list, patch, type }: Field): Model {
  const extensions: Model = {};
  if (list !== undefined && type.kind === 'list') {
    extensions['x-kubernetes-list-type'] = list.type;
    if (list.keys.length > 0) extensions['x-kubernetes-list-map-keys'] = list.keys;
  } else if (list?.type === 'atomic') {
    extensions['x-kubernetes-map-type'] = 'atomic';
  }
  if (patch !== undefined) {
    if (patch.mergeKey !== undefined) extensions['x-kubernetes-patch-merge-key'] = patch.mergeKey;
    const strategies = [...(patch.strategy === 'merge' ? ['merge'] : []), ...(patch.retainKeys ? ['retainKeys'] : [])];
    if (strategies.length > 0) extensions['x-kubernetes-patch-strategy'] = strategies.join(',');
  }
  return extensions;
}
