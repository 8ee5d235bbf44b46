import type { FieldError } from '../types.ts';
import { invalid } from './errors.ts';
import { portNameMessages } from './names.ts';

export const portRange = 'must be between 1 and 65535, inclusive';

export function validatePort(path: string, port: unknown): FieldError[] {
  return typeof port === 'number' && port >= 1 && port <= 65_535 ? [] : [invalid(path, port, portRange)];
}

/** A port by its number, or by the name that a container gives it. */
export function validatePortOrName(path: string, port: unknown): FieldError[] {
  if (typeof port === 'string') return portNameMessages(port).map((message) => invalid(path, port, message));
  return validatePort(path, port);
}

export function validateNonNegative(path: string, value: unknown): FieldError[] {
  return typeof value === 'number' && value < 0 ? [invalid(path, value, 'must be greater than or equal to 0')] : [];
}

/** The error of every field that is fixed once the object exists. */
export const immutable = 'field is immutable';
