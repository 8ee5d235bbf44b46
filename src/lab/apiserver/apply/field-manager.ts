import type { AnyObject } from '../../../api/kubernetes.ts';
import { deepEqual, omit, type JsonObject } from '../json.ts';
import { StatusError } from '../status.ts';
import { fieldElement, FieldSet, printPath, type PathElement } from './field-set.ts';
import {
  decodeManagers,
  encodeManagers,
  managerKey,
  printManager,
  type ManagedSet,
  type ManagerId,
  type Managers,
} from './managed-fields.ts';
import { compare, type Comparison, merge, removeItems, toFieldSet, withNamedFields, type StrategyOf } from './typed-value.ts';

/** Fields that nobody owns: the server writes them, or they say which object it is. */
const unowned = FieldSet.of([
  ['f:apiVersion'],
  ['f:kind'],
  ...['name', 'namespace', 'creationTimestamp', 'selfLink', 'uid', 'clusterName', 'generation', 'managedFields', 'resourceVersion'].map(
    (name) => ['f:metadata', fieldElement(name)],
  ),
]);

export interface FieldManagerOptions {
  readonly strategyOf: StrategyOf;
  /** Who writes. */
  readonly id: ManagerId;
  /** Paths that the endpoint does not let one write (`status` of the object itself, `spec` through its status). */
  readonly resetFields: readonly (readonly string[])[];
  /** RFC 3339; absent where the time of a change is not recorded. */
  readonly now: string | undefined;
}

/**
 * Records who owns the fields that an update (or creation) changed: the writer owns what it added or modified, everybody loses
 * what was removed, others lose what was modified (structured-merge-diff's Updater.Update). `from` is the live object, or for a
 * creation an empty one of the type. The records that the client sent are taken as they are; none sent means unchanged;
 * one empty entry clears them. Returns the object with its new managedFields.
 */
export function recordUpdate(from: AnyObject, next: AnyObject, options: FieldManagerOptions): AnyObject {
  const sent = next.metadata.managedFields ?? [];
  if (sent.length === 1 && Object.keys(sent[0] ?? {}).length === 0) return withManagers(next, new Map());
  const managers = decodeManagers(sent.length > 0 ? sent : from.metadata.managedFields);
  const key = managerKey(options.id);
  const comparison = changes(from, next, options);
  const written = comparison.modified.union(comparison.added);

  const previous = managers.get(key);
  const taken = strip(written, unowned);
  const own = (previous?.fields ?? FieldSet.empty).difference(comparison.removed).union(taken);
  const result = new Map(dispossess(managers, key, written, comparison.removed));
  if (own.isEmpty) result.delete(key);
  else result.set(key, { id: options.id, fields: own, time: taken.isEmpty ? previous?.time : options.now });
  return withManagers(next, result);
}

export interface ApplyResult {
  readonly object: AnyObject;
  /** False when the live object has everything already, so that only records may differ. */
  readonly changed: boolean;
}

/**
 * Server-side apply: merges what `config` states into the live object, takes away what this manager stated before and nobody
 * else owns, and records the ownership. Throws the API's 409 when another manager owns what would change, unless `force`
 * (structured-merge-diff's Updater.Apply).
 */
export function applyConfiguration(
  live: AnyObject,
  config: AnyObject,
  options: FieldManagerOptions & { readonly force: boolean },
): ApplyResult {
  const { strategyOf, id, force } = options;
  const key = managerKey(id);
  const before = withoutManagedFields(live);
  const managers = new Map(decodeManagers(live.metadata.managedFields));
  const ignored = unowned.union(resetSet(options.resetFields));
  const stated = strip(toFieldSet(config, strategyOf), ignored);

  const last = managers.get(key);
  managers.set(key, { id, fields: stated, time: last?.time });
  const merged = merge(before, config, strategyOf) as AnyObject;
  const object = last === undefined || last.fields.isEmpty ? merged : prune(merged, managers, last.fields, strategyOf);

  const comparison = changes(before, object, options);
  const written = comparison.modified.union(comparison.added);
  if (!force) refuseConflicts(managers, key, written);
  const changed = !deepEqual(before, object);
  const result = new Map(dispossess(managers, key, written, comparison.removed));
  if (stated.isEmpty) result.delete(key);
  else result.set(key, { id, fields: stated, time: changed ? options.now : last?.time });
  return { object: withManagers(object, result), changed };
}

/** What changes from one object to the next, but for what the endpoint puts back anyway. */
function changes(from: AnyObject, next: AnyObject, { strategyOf, resetFields }: FieldManagerOptions): Comparison {
  const { added, modified, removed } = compare(withoutManagedFields(from), withoutManagedFields(next), strategyOf);
  const reset = resetSet(resetFields);
  return {
    added: added.recursiveDifference(reset),
    modified: modified.recursiveDifference(reset),
    removed: removed.recursiveDifference(reset),
  };
}

/** Others lose the fields that one manager wrote, and everybody the fields that are gone. */
function dispossess(managers: Managers, writer: string, written: FieldSet, removed: FieldSet): Managers {
  const result = new Map<string, ManagedSet>();
  for (const [key, set] of managers) {
    const fields = key === writer ? set.fields : set.fields.difference(written).difference(removed);
    if (key === writer || !fields.isEmpty) result.set(key, { ...set, fields });
  }
  return result;
}

function refuseConflicts(managers: Managers, writer: string, written: FieldSet): void {
  const conflicts: { manager: string; path: string }[] = [];
  for (const [key, set] of managers) {
    if (key === writer) continue;
    for (const path of set.fields.intersection(written).paths()) {
      conflicts.push({ manager: printManager(set), path: printPath(path) });
    }
  }
  if (conflicts.length === 0) return;
  const causes = conflicts.map(({ manager, path }) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with ${manager}`,
    field: path,
  }));
  throw new StatusError({ code: 409, reason: 'Conflict', message: conflictMessage(conflicts), details: { causes } });
}

function conflictMessage(conflicts: readonly { manager: string; path: string }[]): string {
  const [only] = conflicts;
  if (conflicts.length === 1 && only !== undefined) return `Apply failed with 1 conflict: conflict with ${only.manager}: ${only.path}`;
  const lines: string[] = [];
  for (const manager of [...new Set(conflicts.map((conflict) => conflict.manager))].sort()) {
    lines.push(`conflicts with ${manager}:`, ...conflicts.filter((c) => c.manager === manager).map(({ path }) => `- ${path}`));
  }
  return `Apply failed with ${String(conflicts.length)} conflicts: ${lines.join('\n')}`;
}

/** Takes away what the manager's last configuration stated, and puts back what somebody (this manager's new configuration among them) owns. */
function prune(merged: AnyObject, managers: Managers, last: FieldSet, strategyOf: StrategyOf): AnyObject {
  const named = (set: FieldSet): FieldSet => withNamedFields(set, strategyOf);
  const fieldsOf = (object: unknown): FieldSet => named(toFieldSet(object, strategyOf));
  const all = fieldsOf(merged);
  const lastNamed = named(last);
  let pruned = removeItems(merged, lastNamed, strategyOf);
  let owned = unowned;
  for (const { fields } of managers.values()) owned = owned.union(fields);
  pruned = removeItems(merged, all.difference(fieldsOf(pruned)).difference(named(owned)), strategyOf);
  pruned = removeItems(merged, all.difference(fieldsOf(pruned)).intersection(lastNamed), strategyOf);
  return pruned as AnyObject;
}

function resetSet(paths: readonly (readonly string[])[]): FieldSet {
  return FieldSet.of(paths.map((path): readonly PathElement[] => path.map(fieldElement)));
}

/** Metadata as a whole is nobody's, but what is in it may be somebody's. */
function strip(set: FieldSet, ignored: FieldSet): FieldSet {
  return set.recursiveDifference(ignored).difference(FieldSet.of([[fieldElement('metadata')]]));
}

function withoutManagedFields(object: AnyObject): AnyObject {
  return { ...object, metadata: omit(object.metadata, 'managedFields') };
}

function withManagers(object: AnyObject, managers: Managers): AnyObject {
  const metadata = omit(object.metadata, 'managedFields');
  const entries = encodeManagers(managers);
  return { ...object, metadata: { ...metadata, ...(entries.length > 0 && { managedFields: entries }) } };
}

/** Whether two objects differ in nothing but the times in their managedFields: then there is nothing to write. */
export function sameButTimes(a: AnyObject, b: AnyObject): boolean {
  return deepEqual(withoutTimes(a), withoutTimes(b));
}

function withoutTimes(object: AnyObject): JsonObject {
  const { managedFields, ...metadata } = object.metadata;
  return { ...object, metadata: { ...metadata, managedFields: (managedFields ?? []).map((entry) => omit(entry, 'time')) } };
}
