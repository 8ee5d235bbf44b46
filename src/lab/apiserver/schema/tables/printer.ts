import { describeColumn } from '../descriptions.ts';
import { objectAt, stringAt, stringMapAt, type Json } from '../json.ts';
import type { TableColumn } from '../types.ts';
import { age } from './age.ts';

/** One column of a kind's table: what its head says, and what stands in it for an object. */
export interface Column {
  readonly name: string;
  /** Default string. */
  readonly type?: string;
  readonly format?: string;
  /** The field whose documentation describes the column, as `core.ServiceSpec.type`; or a sentence of our own. */
  readonly from?: string;
  readonly description?: string;
  /** Only with `-o wide`. */
  readonly wide?: true;
  /** `now`: milliseconds since 1970. */
  cell(object: Json, now: number): unknown;
}

/** What kubectl prints where there is nothing. */
export const none = '<none>';

export function headOf(column: Column): TableColumn {
  const [table = '', type = '', field = ''] = column.from?.split('.') ?? [];
  return {
    name: column.name,
    type: column.type ?? 'string',
    format: column.format ?? '',
    description: column.description ?? describeColumn(table, type, field),
    priority: column.wide === true ? 1 : 0,
  };
}

export const nameColumn: Column = {
  name: 'Name',
  format: 'name',
  from: 'meta.ObjectMeta.name',
  cell: (object) => stringAt(objectAt(object, 'metadata'), 'name') ?? '',
};

export const ageColumn: Column = {
  name: 'Age',
  from: 'meta.ObjectMeta.creationTimestamp',
  cell: (object, now) => age(objectAt(object, 'metadata')?.['creationTimestamp'], now),
};

export const createdColumn: Column = {
  name: 'Created At',
  type: 'date',
  from: 'meta.ObjectMeta.creationTimestamp',
  cell: (object) => objectAt(object, 'metadata')?.['creationTimestamp'] ?? '',
};

/** `a=b,c=d` in the order of the keys. */
export function formatLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? none : pairs.sort().join(',');
}

/** A label selector as a query writes it. */
export function formatSelector(selector: Json | undefined): string {
  if (selector === undefined) return none;
  const terms = Object.entries(stringMapAt(selector, 'matchLabels')).map(([key, value]) => `${key}=${value}`);
  const expressions = Array.isArray(selector['matchExpressions']) ? (selector['matchExpressions'] as Json[]) : [];
  for (const expression of expressions) {
    const key = stringAt(expression, 'key') ?? '';
    const values = Array.isArray(expression['values']) ? expression['values'].map(String).sort().join(',') : '';
    switch (expression['operator']) {
      case 'In':
        terms.push(`${key} in (${values})`);
        break;
      case 'NotIn':
        terms.push(`${key} notin (${values})`);
        break;
      case 'Exists':
        terms.push(key);
        break;
      default:
        terms.push(`!${key}`);
    }
  }
  return terms.length === 0 ? none : terms.sort().join(',');
}

/** The first three, and how many more there are. */
export function firstThree(items: readonly string[], ifEmpty: string): string {
  if (items.length === 0) return ifEmpty;
  const shown = items.slice(0, 3).join(',');
  return items.length > 3 ? `${shown} + ${items.length - 3} more...` : shown;
}
