/** One of a CRD's rules: a CEL expression that must hold, and what to say when it does not. */
export interface Rule {
  readonly rule: string;
  readonly message?: string;
  readonly messageExpression?: string;
  readonly reason?: string;
  readonly fieldPath?: string;
  readonly optionalOldSelf?: boolean;
}

/** A structural schema: what apiextensions.k8s.io/v1 JSONSchemaProps allows in a CRD. */
export interface Schema {
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly description?: string;
  readonly format?: string;
  readonly nullable?: boolean;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: boolean;
  readonly exclusiveMaximum?: boolean;
  readonly multipleOf?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly allOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly not?: Schema;
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
  readonly 'x-kubernetes-embedded-resource'?: boolean;
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-map-type'?: 'atomic' | 'granular';
  readonly 'x-kubernetes-validations'?: readonly Rule[];
}

/** What a schema says beside its type; `rules` and the list keys under shorter names. */
export interface Limits extends Omit<Schema, 'type' | 'properties' | 'items' | 'additionalProperties'> {
  readonly rules?: readonly Rule[];
  /** A list of type map, with these keys. */
  readonly keys?: readonly string[];
  /** A list or object that has one owner as a whole. */
  readonly atomic?: boolean;
}

function limits({ rules, keys, atomic, ...rest }: Limits, kind: 'list' | 'map' = 'map'): Schema {
  return {
    ...rest,
    ...(keys === undefined ? {} : { 'x-kubernetes-list-map-keys': keys, 'x-kubernetes-list-type': 'map' }),
    ...(atomic === true ? { [`x-kubernetes-${kind}-type`]: 'atomic' } : {}),
    ...(rules === undefined ? {} : { 'x-kubernetes-validations': rules }),
  };
}

export const object = (properties: Readonly<Record<string, Schema>>, more: Limits = {}): Schema => ({
  type: 'object',
  properties,
  ...limits(more),
});

/** An object whose keys are free. */
export const map = (values: Schema, more: Limits = {}): Schema => ({ type: 'object', additionalProperties: values, ...limits(more) });

/** An object of which nothing is known, and of which nothing is dropped. */
export const anyObject = (more: Limits = {}): Schema => ({ type: 'object', 'x-kubernetes-preserve-unknown-fields': true, ...limits(more) });

export const list = (items: Schema, more: Limits = {}): Schema => ({ type: 'array', items, ...limits(more, 'list') });

export const string = (more: Limits = {}): Schema => ({ type: 'string', ...limits(more) });

/** A string out of a few. */
export const oneOfStrings = (...values: readonly string[]): Schema => ({ type: 'string', enum: values });

export const integer = (more: Limits = {}): Schema => ({ type: 'integer', ...limits(more) });

export const int32 = (more: Limits = {}): Schema => integer({ format: 'int32', ...more });

export const number = (more: Limits = {}): Schema => ({ type: 'number', ...limits(more) });

export const boolean = (more: Limits = {}): Schema => ({ type: 'boolean', ...limits(more) });

export const dateTime = (): Schema => ({ type: 'string', format: 'date-time' });

export const intOrString = (more: Limits = {}): Schema => ({
  anyOf: [{ type: 'integer' }, { type: 'string' }],
  'x-kubernetes-int-or-string': true,
  ...limits(more),
});

export const rule = (message: string, expression: string): Rule => ({ message, rule: expression });

/**
 * At most one of the fields may be set. Written out for each pair: the API server estimates what a rule costs at worst, and refuses a CRD
 * whose rules loop inside of lists without a bound.
 */
export const atMostOne = (message: string, ...fields: readonly string[]): Rule => {
  const pairs = fields.flatMap((one, index) => fields.slice(index + 1).map((other) => `!(has(self.${one}) && has(self.${other}))`));
  return rule(message, pairs.join(' && '));
};

/** Of the fields, one at most and none if need be: the way that a protobuf `oneof` looks in a schema. */
export const oneof = (...fields: readonly string[]): Schema => {
  const alternatives = fields.map((field): Schema => ({ required: [field] }));
  return { oneOf: [{ not: { anyOf: alternatives } }, ...alternatives] };
};

/** A rule for the keys of a map, or the items of a list: `item` names one of them. */
export const every = (message: string, condition: string): Rule => rule(message, `self.all(item, ${condition})`);
