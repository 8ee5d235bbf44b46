import { equalJson, objectAt, stringAt, stringMapAt, type Json } from '../json.ts';
import type { FieldError } from '../types.ts';
import { forbidden, invalid, required, tooLong } from './errors.ts';
import { configKeyMessages } from './names.ts';
import { immutable } from './numbers.ts';

/** All values of a ConfigMap or Secret together, bytes. */
const maxData = 1024 * 1024;

function validateKeys(object: Json, field: string): FieldError[] {
  return Object.keys(objectAt(object, field) ?? {}).flatMap((key) =>
    configKeyMessages(key).map((message) => invalid(`${field}[${key}]`, key, message)),
  );
}

const base64Size = (text: string): number => Buffer.byteLength(text, 'base64');
const sum = (values: readonly string[], size: (text: string) => number): number => values.reduce((total, value) => total + size(value), 0);

export function validateConfigMap(configMap: Json): FieldError[] {
  const [data, binary] = [stringMapAt(configMap, 'data'), stringMapAt(configMap, 'binaryData')];
  const size = sum(Object.values(data), Buffer.byteLength) + sum(Object.values(binary), base64Size);
  return [
    ...validateKeys(configMap, 'data'),
    ...validateKeys(configMap, 'binaryData'),
    ...Object.keys(data)
      .filter((key) => key in binary)
      .map((key) => invalid(`data[${key}]`, key, 'duplicate of key present in binaryData')),
    ...(size > maxData ? [tooLong('', maxData)] : []),
  ];
}

/** What a Secret of a type must hold. */
const requiredKeys: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
};

export function validateSecret(secret: Json): FieldError[] {
  const data = stringMapAt(secret, 'data');
  const type = stringAt(secret, 'type') ?? '';
  const errors = validateKeys(secret, 'data');
  if (sum(Object.values(data), base64Size) > maxData) errors.push(tooLong('data', maxData));
  errors.push(...(requiredKeys[type] ?? []).filter((key) => !(key in data)).map((key) => required(`data[${key}]`)));
  const account = 'kubernetes.io/service-account.name';
  if (type === 'kubernetes.io/service-account-token' && (stringMapAt(objectAt(secret, 'metadata'), 'annotations')[account] ?? '') === '') {
    errors.push(required(`metadata.annotations[${account}]`));
  }
  return errors;
}

const unchangeable = 'field is immutable when `immutable` is set';

/** What `immutable: true` forbids; for Secrets, their type never changes. */
export function validateDataUpdate(fields: readonly string[], object: Json, old: Json): FieldError[] {
  const errors: FieldError[] = [];
  if (old['immutable'] === true) {
    if (object['immutable'] !== true) errors.push(forbidden('immutable', unchangeable));
    errors.push(
      ...fields.filter((field) => !equalJson(object[field] ?? {}, old[field] ?? {})).map((field) => forbidden(field, unchangeable)),
    );
  }
  if (object['type'] !== old['type']) errors.push(invalid('type', object['type'], immutable));
  return errors;
}
