import type { ObjectMeta } from '../../../../api/kubernetes.ts';
import { equalJson } from '../json.ts';
import type { FieldError } from '../types.ts';
import { forbidden, invalid, required, tooLong } from './errors.ts';
import { labelMessages, labelValueMessages, qualifiedNameMessages, type NameCheck } from './names.ts';

const path = 'metadata';
/** All annotations of an object together, bytes. */
const maxAnnotations = 256 * 1024;

export interface MetaRules {
  readonly namespaced: boolean;
  readonly name: NameCheck;
}

/** The rules for the metadata of every object. */
export function validateMeta(meta: ObjectMeta, rules: MetaRules): FieldError[] {
  const errors: FieldError[] = [];
  const { generateName = '', namespace = '' } = meta;
  // An object that comes in has no name yet, whatever its type says.
  const name = (meta.name as string | undefined) ?? '';
  if (generateName !== '') {
    errors.push(...rules.name(generateName, true).map((message) => invalid(`${path}.generateName`, generateName, message)));
  }
  if (name === '') errors.push(required(`${path}.name`, 'name or generateName is required'));
  else errors.push(...rules.name(name).map((message) => invalid(`${path}.name`, name, message)));
  if (!rules.namespaced) {
    if (namespace !== '') errors.push(forbidden(`${path}.namespace`, 'not allowed on this type'));
  } else if (namespace === '') {
    errors.push(required(`${path}.namespace`));
  } else {
    errors.push(...labelMessages(namespace).map((message) => invalid(`${path}.namespace`, namespace, message)));
  }
  if ((meta.generation ?? 0) < 0) errors.push(invalid(`${path}.generation`, meta.generation, 'must be greater than or equal to 0'));
  return [
    ...errors,
    ...validateLabels(meta.labels ?? {}, `${path}.labels`),
    ...validateAnnotations(meta.annotations ?? {}, `${path}.annotations`),
    ...validateOwners(meta),
    ...validateFinalizers(meta.finalizers ?? []),
  ];
}

/** The rules for a change of metadata. */
export function validateMetaUpdate(meta: ObjectMeta, old: ObjectMeta): FieldError[] {
  const errors: FieldError[] = [];
  if (old.deletionTimestamp !== undefined) {
    const added = (meta.finalizers ?? []).filter((finalizer) => old.finalizers?.includes(finalizer) !== true);
    if (added.length > 0) {
      const list = added.map((finalizer) => JSON.stringify(finalizer)).join(', ');
      errors.push(
        forbidden(
          `${path}.finalizers`,
          `no new finalizers can be added if the object is being deleted, found new finalizers []string{${list}}`,
        ),
      );
    }
  }
  if ((meta.resourceVersion ?? '') === '') errors.push(invalid(`${path}.resourceVersion`, 0, 'must be specified for an update'));
  if ((meta.generation ?? 0) < (old.generation ?? 0))
    errors.push(invalid(`${path}.generation`, meta.generation ?? 0, 'must not be decremented'));
  for (const field of ['name', 'namespace', 'uid', 'creationTimestamp', 'deletionTimestamp', 'deletionGracePeriodSeconds'] as const) {
    if (!equalJson(meta[field], old[field])) errors.push(invalid(`${path}.${field}`, meta[field] ?? '', 'field is immutable'));
  }
  return [
    ...errors,
    ...validateLabels(meta.labels ?? {}, `${path}.labels`),
    ...validateAnnotations(meta.annotations ?? {}, `${path}.annotations`),
    ...validateOwners(meta),
  ];
}

/** `field`: the whole path of the map. */
export function validateLabels(labels: Readonly<Record<string, string>>, field: string): FieldError[] {
  return Object.entries(labels).flatMap(([key, value]) => [
    ...qualifiedNameMessages(key).map((message) => invalid(field, key, message)),
    ...labelValueMessages(value).map((message) => invalid(field, value, message)),
  ]);
}

function validateAnnotations(annotations: Readonly<Record<string, string>>, field: string): FieldError[] {
  const errors = Object.keys(annotations).flatMap((key) =>
    // Upper case is allowed in keys of annotations, for old ones.
    qualifiedNameMessages(key.toLowerCase()).map((message) => invalid(field, key, message)),
  );
  const size = Object.entries(annotations).reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);
  return size > maxAnnotations ? [...errors, tooLong(field, maxAnnotations)] : errors;
}

function validateOwners(meta: ObjectMeta): FieldError[] {
  const field = `${path}.ownerReferences`;
  const owners = meta.ownerReferences ?? [];
  const errors = owners.flatMap((owner) => [
    ...(owner.apiVersion === '' ? [invalid(`${field}.apiVersion`, '', 'version must not be empty')] : []),
    ...(owner.kind === '' ? [invalid(`${field}.kind`, '', 'must not be empty')] : []),
    ...(owner.name === '' ? [invalid(`${field}.name`, '', 'must not be empty')] : []),
    ...(owner.uid === '' ? [invalid(`${field}.uid`, '', 'must not be empty')] : []),
    ...(owner.kind === 'Event' && owner.apiVersion === 'v1'
      ? [invalid(field, owner, '/v1, Kind=Event is disallowed from being an owner')]
      : []),
  ]);
  const controllers = owners.filter((owner) => owner.controller === true).map((owner) => `${owner.kind}/${owner.name}`);
  if (controllers.length > 1) {
    const [first = '', second = ''] = controllers;
    const detail = `Only one reference can have Controller set to true. Found "true" in references for ${first} and ${second}`;
    errors.push(invalid(field, owners, detail));
  }
  return errors;
}

const standardFinalizers: ReadonlySet<string> = new Set(['kubernetes', 'orphan', 'foregroundDeletion']);

function validateFinalizers(finalizers: readonly string[]): FieldError[] {
  const field = `${path}.finalizers`;
  const errors = finalizers.flatMap((finalizer) => {
    const messages = qualifiedNameMessages(finalizer);
    if (messages.length > 0) return messages.map((message) => invalid(field, finalizer, message));
    if (finalizer.includes('/') || standardFinalizers.has(finalizer)) return [];
    return [invalid(field, finalizer, 'name is neither a standard finalizer name nor is it fully qualified')];
  });
  if (finalizers.includes('orphan') && finalizers.includes('foregroundDeletion')) {
    errors.push(invalid(field, finalizers, 'finalizer orphan and foregroundDeletion cannot be both set'));
  }
  return errors;
}
