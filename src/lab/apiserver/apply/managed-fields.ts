import type { ManagedFieldsEntry } from '../../../api/kubernetes.ts';
import { FieldSet } from './field-set.ts';

/** Who owns fields: a name, how it wrote, and through which subresource. */
export interface ManagerId {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly subresource: string;
  readonly apiVersion: string;
}

export interface ManagedSet {
  readonly id: ManagerId;
  readonly fields: FieldSet;
  /** RFC 3339; absent when the manager never changed the object itself. */
  readonly time: string | undefined;
}

/** Who owns which fields of one object, by {@link managerKey}. */
export type Managers = ReadonlyMap<string, ManagedSet>;

/** An applier is one manager in all versions, an updater one per version. */
export function managerKey(id: ManagerId): string {
  return JSON.stringify([id.operation, id.manager, id.subresource, id.operation === 'Apply' ? '' : id.apiVersion]);
}

export function decodeManagers(entries: readonly ManagedFieldsEntry[] | undefined): Managers {
  const managers = new Map<string, ManagedSet>();
  for (const entry of entries ?? []) {
    const id: ManagerId = {
      manager: entry.manager ?? '',
      operation: entry.operation === 'Apply' ? 'Apply' : 'Update',
      subresource: entry.subresource ?? '',
      apiVersion: entry.apiVersion ?? '',
    };
    managers.set(managerKey(id), { id, fields: FieldSet.fromFieldsV1(entry.fieldsV1), time: entry.time });
  }
  return managers;
}

/** As metadata.managedFields, in Kubernetes' order: appliers first, then by time (in seconds), manager and subresource. */
export function encodeManagers(managers: Managers): ManagedFieldsEntry[] {
  const sets = [...managers.values()].sort(
    (a, b) =>
      order(a.id.operation, b.id.operation) ||
      order(a.time ?? '', b.time ?? '') ||
      order(a.id.manager, b.id.manager) ||
      order(a.id.apiVersion, b.id.apiVersion) ||
      order(a.id.subresource, b.id.subresource),
  );
  return sets.map(({ id, fields, time }) => ({
    manager: id.manager,
    operation: id.operation,
    apiVersion: id.apiVersion,
    ...(time !== undefined && { time }),
    fieldsType: 'FieldsV1',
    fieldsV1: fields.toFieldsV1(),
    ...(id.subresource !== '' && { subresource: id.subresource }),
  }));
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** As conflict messages name a manager. */
export function printManager({ id }: ManagedSet): string {
  const name = `${JSON.stringify(id.manager)}${id.subresource === '' ? '' : ` with subresource ${JSON.stringify(id.subresource)}`}`;
  if (id.operation === 'Apply') return name;
  return `${name} using ${id.apiVersion}`;
}
