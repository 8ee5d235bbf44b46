import type { FieldError } from '../types.ts';

export function validateBuiltin(_table: string, _kind: string, _object: unknown, _old?: unknown, _subresource?: 'status'): FieldError[] {
  return [];
}
