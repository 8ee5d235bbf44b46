import type { AnyObject } from '../../../../api/kubernetes.ts';
import { numberAt, objectAt, objectsAt, stringAt, type Json } from '../json.ts';
import { age } from './age.ts';
import { jsonPath } from './json-path.ts';
import { ageColumn, nameColumn, type Column } from './printer.ts';

/** The columns of a custom resource in one version: those that its definition asks for, or name and age. */
export function customColumns(crd: AnyObject, version: string): readonly Column[] {
  const found = objectsAt(objectAt(crd, 'spec'), 'versions').find((candidate) => candidate['name'] === version);
  const columns = objectsAt(found, 'additionalPrinterColumns');
  return [nameColumn, ...(columns.length === 0 ? [{ ...ageColumn, type: 'date' }] : columns.map(customColumn))];
}

function customColumn(definition: Json): Column {
  const path = stringAt(definition, 'jsonPath') ?? '';
  const type = stringAt(definition, 'type') ?? 'string';
  return {
    name: stringAt(definition, 'name') ?? '',
    type,
    format: stringAt(definition, 'format') ?? '',
    description: stringAt(definition, 'description') || `Custom resource definition column (in JSONPath format): ${path}`,
    ...((numberAt(definition, 'priority') ?? 0) > 0 ? { wide: true } : {}),
    cell(object, now) {
      const [value] = jsonPath(path)(object);
      return value === undefined || value === null ? null : cellOf(type, value, now);
    },
  };
}

/** A value of another type than the column's is not shown, except that a string column shows anything as JSON. */
function cellOf(type: string, value: unknown, now: number): unknown {
  switch (type) {
    case 'string':
      return typeof value === 'string' ? value : JSON.stringify(value);
    case 'integer':
      return typeof value === 'number' ? Math.trunc(value) : null;
    case 'number':
      return typeof value === 'number' ? value : null;
    case 'boolean':
      return typeof value === 'boolean' ? value : null;
    case 'date':
      return typeof value === 'string' ? age(value, now) : null;
    default:
      return null;
  }
}
