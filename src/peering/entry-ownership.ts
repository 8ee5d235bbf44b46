import { isDeepStrictEqual } from 'node:util';

import type { KubeObject, ServiceEntry, WorkloadEntry } from '../api/kubernetes.ts';
import { labels } from '../api/names.ts';
import { ownedAnnotations, ownedLabels } from './entries.ts';

export const fieldManager = 'isthmus-peering';

export type Entry = ServiceEntry | WorkloadEntry;

/** Whether a name is one that peering gives. */
export function hasOurName({ metadata }: KubeObject): boolean {
  return metadata.name.startsWith('autogen');
}

/**
 * Whether peering wrote an entry: its field manager applied it. Labels say nothing of that, for anyone can copy them; they count only for an object
 * whose managed fields are not known.
 */
export function isOurs(entry: KubeObject): boolean {
  if (!hasOurName(entry)) return false;
  const { managedFields, labels: given } = entry.metadata;
  if (managedFields === undefined) return given?.[labels.parentService] !== undefined;
  return managedFields.some(
    ({ manager, operation, subresource = '' }) => manager === fieldManager && operation === 'Apply' && subresource === '',
  );
}

/** Whether an entry of ours says what it is to say. Labels that others put on it are theirs. */
export function isAsDesired(actual: Entry, desired: Entry): boolean {
  const wanted = desired.metadata.labels ?? {};
  const ofOurs = new Set([...ownedLabels, ...Object.keys(wanted), ...appliedLabels(actual)]);
  return (
    isDeepStrictEqual(actual.spec, desired.spec) &&
    [...ofOurs].every((label) => actual.metadata.labels?.[label] === wanted[label]) &&
    ownedAnnotations.every((note) => actual.metadata.annotations?.[note] === desired.metadata.annotations?.[note])
  );
}

/** The labels that our field manager put on an entry, as its managed fields note them. */
function appliedLabels({ metadata }: KubeObject): string[] {
  const applied = metadata.managedFields?.find(({ manager, operation, subresource = '' }) => {
    return manager === fieldManager && operation === 'Apply' && subresource === '';
  });
  const fields = fieldOf(fieldOf(applied?.fieldsV1, 'f:metadata'), 'f:labels');
  return Object.keys(fields ?? {}).flatMap((field) => (field.startsWith('f:') ? [field.slice(2)] : []));
}

function fieldOf(fields: unknown, name: string): object | undefined {
  const field = typeof fields === 'object' && fields !== null ? (fields as Readonly<Record<string, unknown>>)[name] : undefined;
  return typeof field === 'object' && field !== null ? field : undefined;
}
