import { asList, deepEqual, isObject, setField, type JsonObject } from '../json.ts';
import type { MergeStrategy, PathStep } from '../schema/index.ts';
import { fieldElement, fieldOf, FieldSet, FieldSetBuilder, keysElement, valueElement, type PathElement } from './field-set.ts';

/** How the type of an object wants the value at a path merged; a number stands for any item of a list. */
export type StrategyOf = (path: readonly PathStep[]) => MergeStrategy;

/** Where a walk stands: in the schema, and in the set of paths. */
interface Place {
  readonly schema: readonly PathStep[];
  readonly path: readonly PathElement[];
}

const root: Place = { schema: [], path: [] };

function intoField(place: Place, name: string): Place {
  return { schema: [...place.schema, name], path: [...place.path, fieldElement(name)] };
}

function intoItem(place: Place, element: PathElement): Place {
  return { schema: [...place.schema, 0], path: [...place.path, element] };
}

/** The fields that a configuration states (typed.ToFieldSet). */
export function toFieldSet(object: unknown, strategyOf: StrategyOf): FieldSet {
  const builder = new FieldSetBuilder();
  collect(object, root);
  return builder.build();

  function collect(value: unknown, place: Place): void {
    const strategy = strategyOf(place.schema);
    if (isObject(value) && strategy.apply !== 'atomic') {
      for (const [name, field] of Object.entries(value)) {
        const inside = intoField(place, name);
        collect(field, inside);
        const inMap = strategy.type === 'map' || strategy.type === 'untyped';
        if (inMap || field === null || (isObject(field) && Object.keys(field).length === 0)) builder.insert(inside.path);
      }
    } else if (Array.isArray(value) && isMergedList(strategy)) {
      for (const [element, item] of itemsByElement(value, strategy)) {
        const inside = intoItem(place, element);
        collect(item, inside);
        builder.insert(inside.path);
      }
    } else {
      builder.insert(place.path);
    }
  }
}

export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

/** What changed from one object to the next (typed.Compare). */
export function compare(before: unknown, after: unknown, strategyOf: StrategyOf): Comparison {
  const added = new FieldSetBuilder();
  const removed = new FieldSetBuilder();
  const modified = new FieldSetBuilder();
  walk(before, after, root);
  return { added: added.build(), modified: modified.build(), removed: removed.build() };

  function walk(left: unknown, right: unknown, place: Place): void {
    const strategy = strategyOf(place.schema);
    descend(left, right, place, strategy);
    if (left === undefined) added.insert(place.path);
    else if (right === undefined) removed.insert(place.path);
  }

  function descend(left: unknown, right: unknown, place: Place, strategy: MergeStrategy): void {
    const empty = isEmpty(left) && isEmpty(right);
    if (!empty && strategy.apply !== 'atomic' && isMapLike(left) && isMapLike(right)) {
      const [a, b] = [left ?? {}, right ?? {}];
      for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
        if (a[name] !== undefined || b[name] !== undefined) walk(a[name], b[name], intoField(place, name));
      }
    } else if (!empty && isMergedList(strategy) && isListLike(left) && isListLike(right)) {
      const a = itemsByElement(left ?? [], strategy);
      const b = itemsByElement(right ?? [], strategy);
      for (const element of new Set([...a.keys(), ...b.keys()])) walk(a.get(element), b.get(element), intoItem(place, element));
    } else if (left !== undefined && right !== undefined && !deepEqual(left, right)) {
      modified.insert(place.path);
    }
  }
}

/** The live object with what a configuration states (typed.Merge): its values win, its list items are merged by their keys. */
export function merge(live: unknown, config: unknown, strategyOf: StrategyOf): unknown {
  return mergeAt(live, config, root);

  function mergeAt(left: unknown, right: unknown, place: Place): unknown {
    const strategy = strategyOf(place.schema);
    if (right === undefined) return left;
    if (left === undefined || left === null || strategy.apply === 'atomic') return right;
    if (isObject(left) && isObject(right)) {
      const result: JsonObject = { ...left };
      for (const [name, value] of Object.entries(right)) setField(result, name, mergeAt(left[name], value, intoField(place, name)));
      return result;
    }
    if (Array.isArray(left) && Array.isArray(right) && isMergedList(strategy)) return mergeLists(left, right, place, strategy);
    return right;
  }

  /** Items of both keep the configuration's order among themselves; the others stay where the live list has them. */
  function mergeLists(left: readonly unknown[], right: readonly unknown[], place: Place, strategy: MergeStrategy): unknown[] {
    const leftItems = itemsByElement(left, strategy);
    const rightItems = itemsByElement(right, strategy);
    const leftOrder = [...leftItems.keys()];
    const rightOrder = [...rightItems.keys()];
    const shared = rightOrder.filter((element) => leftItems.has(element));
    const merged = new Set<PathElement>();
    const result: unknown[] = [];
    const take = (element: PathElement): void => {
      merged.add(element);
      result.push(mergeAt(leftItems.get(element), rightItems.get(element), intoItem(place, element)));
      if (shared[0] === element) shared.shift();
    };
    for (let l = 0, r = 0; l < leftOrder.length || r < rightOrder.length;) {
      const [fromLeft, fromRight] = [leftOrder[l], rightOrder[r]];
      if (fromLeft !== undefined && fromRight !== undefined) {
        if (fromLeft === fromRight) {
          take(fromLeft);
          l++;
          r++;
          continue;
        }
        if (rightItems.has(fromLeft) && shared[0] !== undefined && shared[0] !== fromLeft) {
          l++;
          continue;
        }
      }
      if (fromLeft !== undefined) {
        if (!rightItems.has(fromLeft)) {
          result.push(leftItems.get(fromLeft));
          l++;
          continue;
        }
        if (merged.has(fromLeft)) l++;
      }
      if (fromRight !== undefined) {
        if (!merged.has(fromRight)) take(fromRight);
        r++;
      }
    }
    return result;
  }
}

/** The object without the values at these paths; a map or list that becomes empty goes as well (typed.RemoveItems). */
export function removeItems(object: unknown, gone: FieldSet, strategyOf: StrategyOf): unknown {
  return removeAt(object, gone, []);

  function removeAt(value: unknown, set: FieldSet, place: readonly PathStep[]): unknown {
    const strategy = strategyOf(place);
    if (strategy.apply === 'atomic' || set.isEmpty) return value;
    if (isObject(value)) {
      const result: JsonObject = {};
      for (const [name, field] of Object.entries(value)) {
        const element = fieldElement(name);
        if (set.members.has(element)) continue;
        const left = removeAt(field, set.child(element), [...place, name]);
        if (left !== undefined) setField(result, name, left);
      }
      return Object.keys(result).length === 0 && Object.keys(value).length > 0 ? undefined : result;
    }
    if (Array.isArray(value) && isMergedList(strategy)) {
      const result = [...itemsByElement(value, strategy)].flatMap(([element, item]) => {
        if (set.members.has(element)) return [];
        const left = removeAt(item, set.child(element), [...place, 0]);
        return left === undefined ? [] : [left];
      });
      return result.length === 0 ? undefined : result;
    }
    return value;
  }
}

/**
 * The set with the fields of structs that have something below them as members too: taking away everything inside a field takes
 * the field (fieldpath.EnsureNamedFieldsAreMembers). Keys of maps are not fields.
 */
export function withNamedFields(set: FieldSet, strategyOf: StrategyOf, place: readonly PathStep[] = []): FieldSet {
  const members = new Set(set.members);
  const isStruct = strategyOf(place).type === 'object';
  const children = new Map<PathElement, FieldSet>();
  for (const [element, child] of set.children) {
    const name = fieldOf(element);
    if (isStruct && name !== undefined) members.add(element);
    children.set(element, withNamedFields(child, strategyOf, [...place, name ?? 0]));
  }
  return new FieldSet(members, children);
}

function isMergedList(strategy: MergeStrategy): boolean {
  return strategy.type === 'list' && (strategy.apply === 'associative' || strategy.apply === 'set');
}

function isMapLike(value: unknown): value is JsonObject | null | undefined {
  return value === undefined || value === null || isObject(value);
}

function isListLike(value: unknown): value is readonly unknown[] | null | undefined {
  return value === undefined || value === null || Array.isArray(value);
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/** The items of a merged list by their path elements, in order; the first wins where two have the same keys. */
function itemsByElement(list: readonly unknown[], strategy: MergeStrategy): Map<PathElement, unknown> {
  const result = new Map<PathElement, unknown>();
  for (const item of asList(list)) {
    const element = strategy.apply === 'set' ? valueElement(item) : keysElement(keysOf(item, strategy));
    if (!result.has(element)) result.set(element, item);
  }
  return result;
}

function keysOf(item: unknown, strategy: MergeStrategy): JsonObject {
  const keys: JsonObject = {};
  for (const { name, default: fallback } of strategy.keys) {
    const value = isObject(item) ? (item[name] ?? fallback) : undefined;
    if (value !== undefined) keys[name] = value;
  }
  return keys;
}
