import { structOf, structType, type Field, type FieldType, type Scalar, type StructType } from './field-table.ts';
import { isObject } from './json.ts';
import { canonicalQuantity, quantityFormatError } from './quantity.ts';

/** A body that cannot be read as its type, in the words of Go's decoder; the server puts `<Kind> in version "<version>" cannot be handled as a <Kind>: ` before it. */
export class DecodeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DecodeError';
  }
}

export interface Decoded {
  readonly value: Record<string, unknown>;
  /** As Kubernetes prints them, in the order in which they stand: `spec.ports[0].nme`. */
  readonly unknownFields: readonly string[];
}

/**
 * Reads a JSON value as a Go program reads it into the struct and writes it back: fields in the struct's order, empty optional ones gone,
 * nested structs and required fields there even if they were not given, times and quantities in their canonical form.
 * Unknown fields are reported, and kept only when `keepUnknown` is set. The argument is not changed.
 */
export function decodeStruct(type: StructType, value: unknown, options: { keepUnknown?: boolean; fillDefaults?: boolean } = {}): Decoded {
  const decoder = new Decoder(options.keepUnknown ?? false, options.fillDefaults ?? false);
  const decoded = decoder.struct(type, value, { display: '', fields: [], owner: type.name });
  return { value: decoded, unknownFields: decoder.unknownFields };
}

/** Where the decoder stands: as Kubernetes prints paths, and as Go's decoder does (without indexes and map keys). */
interface Place {
  readonly display: string;
  readonly fields: readonly string[];
  readonly owner: string;
}

class Decoder {
  readonly unknownFields: string[] = [];
  readonly #keepUnknown: boolean;
  readonly #fillDefaults: boolean;

  constructor(keepUnknown: boolean, fillDefaults: boolean) {
    this.#keepUnknown = keepUnknown;
    this.#fillDefaults = fillDefaults;
  }

  struct(type: StructType, value: unknown, place: Place): Record<string, unknown> {
    if (value !== undefined && value !== null && !isObject(value)) throw mismatch(value, place, `v1.${type.name}`);
    const given = value ?? {};
    const result: Record<string, unknown> = {};
    for (const field of type.byName.values()) {
      // Most fields of a schema are not there, and there are many schemas in a CustomResourceDefinition: these cost no Place.
      if ((given[field.name] ?? null) === null && this.#leftOut(field)) continue;
      const inner = { display: join(place.display, field.name), fields: [...place.fields, field.name], owner: type.name };
      const read = this.#field(field, given[field.name], inner);
      if (read !== undefined) result[field.name] = read;
    }
    for (const key of Object.keys(given)) {
      // Every object may say what it is, wherever it stands; nothing is written of it.
      if (type.byName.has(key) || (isTopLevel(type) && (key === 'apiVersion' || key === 'kind'))) continue;
      this.unknownFields.push(join(place.display, key));
      if (this.#keepUnknown) result[key] = given[key];
    }
    return result;
  }

  /** Whether nothing is written of a field that was not given; false when that takes a closer look. */
  #leftOut({ omit, type, default: value }: Field): boolean {
    if (omit === 'never' || (this.#fillDefaults && value !== undefined)) return false;
    return omit === 'zero' || type.kind === 'list' || type.kind === 'map' || type.pointer || (type.kind === 'scalar' && !isTime(type));
  }

  /** Undefined when the field is left out. */
  #field(field: Field, given: unknown, place: Place): unknown {
    const { type } = field;
    if (given === undefined || given === null) {
      if (this.#fillDefaults && field.default !== undefined) return field.default;
      if (type.kind === 'struct' && !type.pointer) return field.omit === 'zero' ? undefined : this.struct(structOf(type), {}, place);
      if (isTime(type) && !type.pointer) return field.omit === 'zero' ? undefined : null;
      return field.omit === 'never' ? zero(type) : undefined;
    }
    const value = this.#value(type, given, place);
    return field.omit !== 'never' && isEmpty(type, value) ? undefined : value;
  }

  #value(type: FieldType, value: unknown, place: Place): unknown {
    switch (type.kind) {
      case 'struct':
        return this.struct(structOf(type), value, place);
      case 'raw':
        return this.#raw(type.name, value, place);
      case 'scalar':
        return value === null ? zero({ ...type, pointer: false }) : scalar(type.name, value, place);
      case 'list':
        if (value === null) return null;
        if (!Array.isArray(value)) throw mismatch(value, place, goType(type));
        return value.map((item, index) => this.#value(type.of, item, { ...place, display: `${place.display}[${index}]` }));
      case 'map': {
        if (value === null) return null;
        if (!isObject(value)) throw mismatch(value, place, goType(type));
        const keys = Object.keys(value).sort();
        return Object.fromEntries(
          keys.map((key) => [key, this.#value(type.of, value[key], { ...place, display: `${place.display}.${key}` })]),
        );
      }
    }
  }

  /** Free-form JSON, except where a schema may stand beside a list of schemas or a bool. */
  #raw(name: string, value: unknown, place: Place): unknown {
    const schema = structType('apiextensions', 'JSONSchemaProps');
    if (schema === undefined || !name.startsWith('JSONSchemaPropsOr')) return value;
    if (Array.isArray(value)) return name === 'JSONSchemaPropsOrArray' ? value.map((item) => this.struct(schema, item, place)) : value;
    return isObject(value) ? this.struct(schema, value, place) : value;
  }
}

function isTopLevel(type: StructType): boolean {
  return type.byName.has('metadata') || type.table === 'meta';
}

const isTime = (type: FieldType): type is FieldType & { kind: 'scalar' } =>
  type.kind === 'scalar' && (type.name === 'Time' || type.name === 'MicroTime');

function join(path: string, field: string): string {
  return path === '' ? field : `${path}.${field}`;
}

/** What Go writes for a field that was never set. */
function zero(type: FieldType): unknown {
  if (type.kind !== 'scalar' || type.pointer) return null;
  switch (type.name) {
    case 'string':
      return '';
    case 'bool':
      return false;
    case 'int32':
    case 'int64':
    case 'float64':
    case 'IntOrString':
      return 0;
    case 'Quantity':
      return '0';
    case 'Duration':
      return '0s';
    default:
      return null;
  }
}

/** What `omitempty` leaves out: never a pointer that is set, never a struct. */
function isEmpty(type: FieldType, value: unknown): boolean {
  if (type.kind === 'list' || type.kind === 'map') return value === null || Object.keys(value as object).length === 0;
  if (type.kind !== 'scalar' || type.pointer || isTime(type) || type.name === 'Quantity' || type.name === 'IntOrString') return false;
  return value === zero(type);
}

const integerRange = { int32: 2 ** 31, int64: 2 ** 63 };

function scalar(name: Scalar, value: unknown, place: Place): unknown {
  switch (name) {
    case 'string':
      if (typeof value === 'string') return value;
      throw mismatch(value, place, 'string');
    case 'bool':
      if (typeof value === 'boolean') return value;
      throw mismatch(value, place, 'bool');
    case 'int32':
    case 'int64':
      if (typeof value !== 'number') throw mismatch(value, place, name);
      if (!Number.isInteger(value) || Math.abs(value) >= integerRange[name]) throw mismatch(value, place, name, `number ${value}`);
      return value;
    case 'float64':
      if (typeof value === 'number') return value;
      throw mismatch(value, place, 'float64');
    case 'bytes':
      if (typeof value !== 'string') throw mismatch(value, place, '[]uint8');
      return base64(value);
    case 'Time':
    case 'MicroTime':
      if (typeof value !== 'string') throw mismatch(value, place, 'string');
      return time(name, value);
    case 'Duration':
      if (typeof value !== 'string') throw mismatch(value, place, 'string');
      return value;
    case 'Quantity': {
      const canonical = typeof value === 'string' || typeof value === 'number' ? canonicalQuantity(String(value)) : undefined;
      if (canonical === undefined) throw new DecodeError(quantityFormatError);
      return canonical;
    }
    case 'IntOrString':
      if (typeof value === 'string' || (typeof value === 'number' && Number.isInteger(value))) return value;
      throw mismatch(value, place, 'int32');
  }
}

/** Go's decoder names the first byte that is not base64. */
function base64(text: string): string {
  const bad = /[^A-Za-z0-9+/\r\n]/.exec(text.replace(/={1,2}$/, ''));
  const length = text.replace(/[\r\n]/g, '').length;
  if (bad !== null) throw new DecodeError(`illegal base64 data at input byte ${bad.index}`);
  if (length % 4 !== 0) throw new DecodeError(`illegal base64 data at input byte ${text.length - (text.length % 4)}`);
  return text.replace(/[\r\n]/g, '');
}

function time(name: 'Time' | 'MicroTime', text: string): string {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|[+-]\d\d:\d\d)$/.exec(text);
  const date = new Date(text);
  if (match === null || Number.isNaN(date.getTime())) {
    const layout = name === 'Time' ? '2006-01-02T15:04:05Z07:00' : '2006-01-02T15:04:05.000000Z07:00';
    throw new DecodeError(`parsing time "${text}" as "${layout}": cannot parse "${text}" as "2006"`);
  }
  const seconds = date.toISOString().slice(0, 19);
  return name === 'Time' ? `${seconds}Z` : `${seconds}.${(match[2] ?? '').slice(0, 6).padEnd(6, '0')}Z`;
}

function mismatch(value: unknown, place: Place, type: string, shown = jsonType(value)): DecodeError {
  return new DecodeError(`json: cannot unmarshal ${shown} into Go struct field ${place.owner}.${place.fields.join('.')} of type ${type}`);
}

function jsonType(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

function goType(type: FieldType): string {
  switch (type.kind) {
    case 'list':
      return `[]${goType(type.of)}`;
    case 'map':
      return `map[string]${goType(type.of)}`;
    case 'struct':
      return `v1.${type.name}`;
    default:
      return type.name === 'bytes' ? '[]uint8' : type.name;
  }
}
