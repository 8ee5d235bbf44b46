import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

import type { AnyObject } from '../../../api/kubernetes.ts';
import { builtinStruct } from './builtin-schema.ts';
import { DecodeError } from './decode.ts';
import { structOf, structType, type Field, type FieldType, type Scalar, type StructType } from './field-table.ts';
import type { Json } from './json.ts';

const magic = 'k8s\0';

/**
 * Reads a body of content type application/vnd.kubernetes.protobuf: the magic number, then a runtime.Unknown with the kind and the bytes of the object, whose
 * fields are those of the field tables. The answer is what the same object is in JSON. Throws {@link DecodeError} when the bytes are none of this, or of a kind
 * that is not built in: clients send custom resources as JSON.
 */
export function decodeProtobuf(bytes: Uint8Array): AnyObject {
  if (Buffer.from(bytes.subarray(0, magic.length)).toString('latin1') !== magic) {
    throw new DecodeError('provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]');
  }
  const unknown = reading('runtime.Unknown', () => readUnknown(bytes.subarray(magic.length)));
  const { apiVersion, kind } = unknown;
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  const type = builtinStruct(group ?? '', kind);
  if (type === undefined) {
    throw new DecodeError(
      `no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(group === '' ? version : apiVersion)} in scheme`,
    );
  }
  // The cast: kinds with an endpoint have metadata, and options are read by what they are for.
  return { apiVersion, kind, ...reading(kind, () => readStruct(type, unknown.raw)) } as unknown as AnyObject;
}

/** The library's errors in the API's words. */
function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new DecodeError(`proto: cannot parse ${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function readUnknown(bytes: Uint8Array): { apiVersion: string; kind: string; raw: Uint8Array } {
  const unknown: ReturnType<typeof readUnknown> = { apiVersion: '', kind: '', raw: new Uint8Array() };
  each(bytes, {
    1: (reader) =>
      each(reader.bytes(), {
        1: (inner) => void (unknown.apiVersion = inner.string()),
        2: (inner) => void (unknown.kind = inner.string()),
      }),
    2: (reader) => void (unknown.raw = reader.bytes()),
  });
  return unknown;
}

/** Reads a message field by field; numbers that are not listed are skipped. */
function each(bytes: Uint8Array, fields: Readonly<Record<number, (reader: BinaryReader, wire: WireType) => void>>): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    const read = fields[number];
    if (read === undefined) reader.skip(wire, number);
    else read(reader, wire);
  }
}

const byNumber = new WeakMap<StructType, ReadonlyMap<number, Field>>();

function fieldsOf(type: StructType): ReadonlyMap<number, Field> {
  let fields = byNumber.get(type);
  if (fields === undefined) {
    fields = new Map(type.fields.map((field) => [field.number, field]));
    byNumber.set(type, fields);
  }
  return fields;
}

function readStruct(type: StructType, bytes: Uint8Array): Json {
  const reader = new BinaryReader(bytes);
  const fields = fieldsOf(type);
  const result: Json = {};
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    const field = fields.get(number);
    if (field === undefined) reader.skip(wire, number);
    else readField(field, reader, wire, result);
  }
  return result;
}

function readField({ name, type, inline }: Field, reader: BinaryReader, wire: WireType, into: Json): void {
  if (inline && type.kind === 'struct') {
    Object.assign(into, readStruct(structOf(type), reader.bytes()));
  } else if (type.kind === 'list') {
    const list = (into[name] ??= []) as unknown[];
    if (wire === WireType.LengthDelimited && isVarint(type.of)) {
      const packed = new BinaryReader(reader.bytes());
      while (packed.pos < packed.len) list.push(readValue(type.of, packed));
    } else {
      list.push(readValue(type.of, reader));
    }
  } else if (type.kind === 'map') {
    const [key, value] = readEntry(type.of, reader.bytes());
    const map = (into[name] ??= {}) as Json;
    map[key] = value;
  } else {
    into[name] = readValue(type, reader);
  }
}

function isVarint(type: FieldType): boolean {
  return type.kind === 'scalar' && ['int32', 'int64', 'bool'].includes(type.name);
}

function readEntry(type: FieldType, bytes: Uint8Array): [string, unknown] {
  let key = '';
  let value: unknown = type.kind === 'scalar' && type.name === 'string' ? '' : null;
  each(bytes, {
    1: (reader) => void (key = reader.string()),
    2(reader) {
      // A map's values cannot be lists: they are messages with one.
      if (type.kind !== 'list') value = readValue(type, reader);
      else {
        const list: unknown[] = [];
        each(reader.bytes(), { 1: (inner) => void list.push(readValue(type.of, inner)) });
        value = list;
      }
    },
  });
  return [key, value];
}

function readValue(type: FieldType, reader: BinaryReader): unknown {
  switch (type.kind) {
    case 'scalar':
      return readScalar(type.name, reader);
    case 'struct':
      return readStruct(structOf(type), reader.bytes());
    case 'raw':
      return readRaw(type.name, reader.bytes());
    default:
      throw new Error('lists and maps have no value of their own');
  }
}

function readScalar(name: Scalar, reader: BinaryReader): unknown {
  switch (name) {
    case 'string':
      return reader.string();
    case 'bool':
      return reader.bool();
    case 'int32':
      return reader.int32();
    case 'int64':
      return Number(reader.int64());
    case 'float64':
      return reader.double();
    case 'bytes':
      return Buffer.from(reader.bytes()).toString('base64');
    case 'Time':
    case 'MicroTime':
      return readTime(name, reader.bytes());
    case 'Duration': {
      let nanoseconds = 0n;
      each(reader.bytes(), { 1: (inner) => void (nanoseconds = BigInt(inner.int64())) });
      return `${Number(nanoseconds) / 1e9}s`;
    }
    case 'Quantity': {
      let text = '0';
      each(reader.bytes(), { 1: (inner) => void (text = inner.string()) });
      return text;
    }
    case 'IntOrString': {
      const value = { isString: false, number: 0, text: '' };
      each(reader.bytes(), {
        1: (inner) => void (value.isString = Number(inner.int64()) === 1),
        2: (inner) => void (value.number = inner.int32()),
        3: (inner) => void (value.text = inner.string()),
      });
      return value.isString ? value.text : value.number;
    }
  }
}

/** Seconds and nanoseconds; an empty message is Go's zero time, which JSON writes as null. */
function readTime(name: 'Time' | 'MicroTime', bytes: Uint8Array): string | null {
  if (bytes.length === 0) return null;
  let seconds = 0;
  let nanoseconds = 0;
  each(bytes, {
    1: (reader) => void (seconds = Number(reader.int64())),
    2: (reader) => void (nanoseconds = reader.int32()),
  });
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19);
  return name === 'Time' ? `${whole}Z` : `${whole}.${String(nanoseconds).padStart(9, '0').slice(0, 6)}Z`;
}

/** Free-form JSON is JSON in protobuf too, except for the unions of a CRD's schema. */
function readRaw(name: string, bytes: Uint8Array): unknown {
  const schema = structType('apiextensions', 'JSONSchemaProps');
  const found: { json?: unknown; allows?: boolean; list: unknown[] } = { list: [] };
  const readSchema = (reader: BinaryReader): unknown => (schema === undefined ? {} : readStruct(schema, reader.bytes()));
  switch (name) {
    case 'JSONSchemaPropsOrBool':
      each(bytes, { 1: (reader) => void (found.allows = reader.bool()), 2: (reader) => void (found.json = readSchema(reader)) });
      return found.json ?? found.allows ?? false;
    case 'JSONSchemaPropsOrArray':
      each(bytes, { 1: (reader) => void (found.json = readSchema(reader)), 2: (reader) => void found.list.push(readSchema(reader)) });
      return found.json ?? found.list;
    case 'JSONSchemaPropsOrStringArray':
      each(bytes, { 1: (reader) => void (found.json = readSchema(reader)), 2: (reader) => void found.list.push(reader.string()) });
      return found.json ?? found.list;
    default:
      each(bytes, { 1: (reader) => void (found.json = parseJson(reader.bytes())) });
      return found.json ?? null;
  }
}

function parseJson(bytes: Uint8Array): unknown {
  const text = Buffer.from(bytes).toString('utf8');
  return text === '' ? null : JSON.parse(text);
}
