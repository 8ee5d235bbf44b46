import type { FieldError } from '../types.ts';

/** The errors of Kubernetes' field package, with the messages that it prints. `path` is the whole path of the field. */
export const required = (path: string, detail = ''): FieldError => error('FieldValueRequired', path, 'Required value', detail);

export const invalid = (path: string, value: unknown, detail: string): FieldError =>
  error('FieldValueInvalid', path, `Invalid value: ${show(value)}`, detail);

/** An error of a type: the value reads like the name of the type found. */
export const typeInvalid = (path: string, value: unknown, detail: string): FieldError =>
  error('FieldValueTypeInvalid', path, `Invalid value: ${show(value)}`, detail);

/** For values that are not shown: whole objects and lists. */
export const invalidUnshown = (path: string, detail: string): FieldError => error('FieldValueInvalid', path, 'Invalid value', detail);

export const notSupported = (path: string, value: unknown, supported: readonly string[]): FieldError => {
  const list = supported.map((item) => JSON.stringify(item)).join(', ');
  return error('FieldValueNotSupported', path, `Unsupported value: ${show(value)}`, `supported values: ${list}`);
};

export const duplicate = (path: string, value: unknown): FieldError =>
  error('FieldValueDuplicate', path, `Duplicate value: ${show(value)}`, '');

export const forbidden = (path: string, detail: string): FieldError => error('FieldValueForbidden', path, 'Forbidden', detail);

/** `max` in bytes. */
export const tooLong = (path: string, max: number): FieldError =>
  error('FieldValueTooLong', path, 'Too long', `may not be more than ${max} bytes`);

export const tooMany = (path: string, actual: number, max: number): FieldError =>
  error('FieldValueTooMany', path, `Too many: ${actual}`, `must have at most ${max} items`);

export const notFound = (path: string, value: unknown): FieldError => error('FieldValueNotFound', path, `Not found: ${show(value)}`, '');

function error(reason: FieldError['reason'], field: string, what: string, detail: string): FieldError {
  return { reason, field, message: detail === '' ? what : `${what}: ${detail}` };
}

function show(value: unknown): string {
  return JSON.stringify(value ?? null);
}

/**
 * The errors as the message of a 422 answer lists them after `... is invalid: `: one as it is, several in brackets, each once.
 */
export function aggregate(errors: readonly FieldError[]): string {
  const messages = [...new Set(errors.map(({ field, message }) => `${field}: ${message}`))];
  return messages.length === 1 ? messages.join('') : `[${messages.join(', ')}]`;
}
