import type { AnyObject } from '../../../../api/kubernetes.ts';
import type { ResourceInfo, Table } from '../types.ts';
import { coreColumns } from './core.ts';
import { customColumns } from './custom.ts';
import { otherColumns } from './others.ts';
import { createdColumn, headOf, nameColumn, type Column } from './printer.ts';
import { workloadColumns } from './workloads.ts';

export interface TableOptions {
  /** What each row carries of its object; Metadata unless a client asks otherwise. */
  readonly includeObject: 'Metadata' | 'Object' | 'None';
  /** Milliseconds since 1970, for the ages. */
  readonly now: number;
  /** The definition, when the resource is a custom one. */
  readonly crd?: AnyObject;
  /** The metadata of the list, or of the one object. */
  readonly listMetadata?: Record<string, unknown>;
  /** Leaves the columns out, as in all events of a watch but the first. */
  readonly noHeaders?: boolean;
}

/** Objects as kubectl prints them. */
export function toTable(resource: ResourceInfo, objects: readonly AnyObject[], options: TableOptions): Table {
  const columns = columnsOf(resource, options.crd);
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: options.listMetadata ?? {},
    columnDefinitions: options.noHeaders === true ? [] : columns.map(headOf),
    rows: objects.map((object) => ({
      cells: columns.map((column) => column.cell(object, options.now)),
      ...embedded(object, options.includeObject),
    })),
  };
}

function embedded(object: AnyObject, include: TableOptions['includeObject']): { readonly object?: unknown } {
  switch (include) {
    case 'None':
      return {};
    case 'Object':
      return { object };
    case 'Metadata':
      return { object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata } };
  }
}

function columnsOf(resource: ResourceInfo, crd: AnyObject | undefined): readonly Column[] {
  if (crd !== undefined) return customColumns(crd, resource.version);
  const [table = ''] = resource.group.split('.');
  const columns = {
    '': coreColumns[resource.kind],
    events: coreColumns[resource.kind],
    apps: workloadColumns[resource.kind],
  }[table];
  return columns ?? otherColumns[table]?.[resource.kind] ?? [nameColumn, createdColumn];
}
