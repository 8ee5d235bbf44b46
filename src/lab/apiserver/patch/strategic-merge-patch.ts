import { asList, clone, deepEqual, isObject, printed, type JsonObject } from '../json.ts';
import type { MergeStrategy, PathStep } from '../schema/index.ts';
import { badRequest } from '../status.ts';

type StrategyOf = (path: readonly PathStep[]) => MergeStrategy;

const orderPrefix = '$setElementOrder/';
const deletePrefix = '$deleteFromPrimitiveList/';
const retainKeys = '$retainKeys';
const directive = '$patch';

/**
 * Kubernetes' strategic merge patch: as a JSON merge patch, but lists that have a merge key are merged by item, and directives
 * in the patch delete, replace or order. `strategyOf` tells how the type wants the value at a path patched.
 * Neither argument is changed; throws the API's 400 for directives that cannot be understood.
 */
export function strategicMergePatch(original: JsonObject, patch: JsonObject, strategyOf: StrategyOf): JsonObject {
  return mergeMap(original, patch, [], strategyOf);
}

function mergeMap(original: JsonObject, patch: JsonObject, path: readonly PathStep[], strategyOf: StrategyOf): JsonObject {
  const how = patch[directive];
  if (how === 'replace') return withoutDirectives(patch, [directive]);
  if (how === 'delete') return {};
  if (how !== undefined && how !== 'merge') throw badRequest(`Unknown patch type found: ${printed(how)}`);

  const retained = patch[retainKeys];
  const result: JsonObject = { ...original };
  if (Array.isArray(retained)) {
    for (const key of Object.keys(result)) if (!retained.includes(key)) Reflect.deleteProperty(result, key);
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key === directive || key === retainKeys || key.startsWith(orderPrefix)) continue;
    if (key.startsWith(deletePrefix)) {
      const field = key.slice(deletePrefix.length);
      result[field] = asList(result[field]).filter((item) => !asList(value).some((gone) => deepEqual(gone, item)));
      continue;
    }
    const at = [...path, key];
    if (value === null) Reflect.deleteProperty(result, key);
    else if (isObject(value)) result[key] = mergeObject(result[key], value, at, strategyOf);
    else if (Array.isArray(value)) result[key] = mergeList(result[key], value, patch[orderPrefix + key], at, strategyOf);
    else result[key] = value;
  }
  // An order may be asked for without a change of the items.
  for (const [key, order] of Object.entries(patch)) {
    const field = key.startsWith(orderPrefix) ? key.slice(orderPrefix.length) : undefined;
    if (field === undefined || patch[field] !== undefined || !Array.isArray(result[field])) continue;
    const { mergeKey } = strategyOf([...path, field]).patch;
    result[field] = inOrder(result[field] as unknown[], asList(order), asList(original[field]), mergeKey);
  }
  return result;
}

function mergeObject(original: unknown, patch: JsonObject, path: readonly PathStep[], strategyOf: StrategyOf): JsonObject {
  const { strategy } = strategyOf(path).patch;
  if (!isObject(original) || strategy === 'replace') return withoutDirectives(mergeMap({}, patch, path, strategyOf), []);
  return mergeMap(original, patch, path, strategyOf);
}

function mergeList(
  original: unknown,
  patch: readonly unknown[],
  order: unknown,
  path: readonly PathStep[],
  strategyOf: StrategyOf,
): unknown[] {
  const how = strategyOf(path).patch;
  if (how.strategy !== 'merge') return patch.map((item) => clone(item));
  const before = asList(original);
  const items = patch.filter((item) => !(isObject(item) && item[directive] !== undefined));
  const directives = patch.filter((item): item is JsonObject => isObject(item) && item[directive] !== undefined);
  if (directives.some((item) => item[directive] === 'replace')) return items.map((item) => clone(item));
  const merged = how.mergeKey === undefined ? mergePrimitives(before, items) : mergeByKey(before, items, directives, how.mergeKey);
  return inOrder(merged, Array.isArray(order) ? (order as unknown[]) : items, before, how.mergeKey);

  function mergeByKey(from: readonly unknown[], changes: readonly unknown[], special: readonly JsonObject[], key: string): unknown[] {
    const result = from.filter(
      (item) => !special.some((gone) => gone[directive] === 'delete' && isObject(item) && sameKey(item, gone, key)),
    );
    for (const change of changes) {
      if (!isObject(change)) throw badRequest(`expected an object in the list at ${path.join('.')}`);
      if (change[key] === undefined) {
        throw badRequest(`map: ${JSON.stringify(change)} does not contain declared merge key: ${key}`);
      }
      const index = result.findIndex((item) => isObject(item) && sameKey(item, change, key));
      const item = index < 0 ? {} : result[index];
      const next = mergeMap(isObject(item) ? item : {}, change, [...path, 0], strategyOf);
      if (index < 0) result.push(next);
      else result[index] = next;
    }
    return result;
  }
}

function mergePrimitives(original: readonly unknown[], patch: readonly unknown[]): unknown[] {
  const result = [...original];
  for (const item of patch) if (!result.some((present) => deepEqual(present, item))) result.push(item);
  return result;
}

function sameKey(a: JsonObject, b: JsonObject, key: string): boolean {
  return deepEqual(a[key], b[key]);
}

/**
 * The order of a merged list (apimachinery, strategicpatch.normalizeElementOrder): items that the patch names stand in the patch's
 * order, the others in the server's, and where the two meet the server's order decides if it knows both.
 */
function inOrder(
  merged: readonly unknown[],
  patchOrder: readonly unknown[],
  serverOrder: readonly unknown[],
  mergeKey: string | undefined,
): unknown[] {
  const indexIn = (list: readonly unknown[], item: unknown): number =>
    list.findIndex((other) =>
      mergeKey === undefined ? deepEqual(other, item) : isObject(other) && isObject(item) && sameKey(other, item, mergeKey),
    );
  const named = merged.filter((item) => indexIn(patchOrder, item) >= 0).sort((a, b) => indexIn(patchOrder, a) - indexIn(patchOrder, b));
  const others = merged.filter((item) => indexIn(patchOrder, item) < 0);
  const result: unknown[] = [];
  while (others.length > 0 && named.length > 0) {
    const left = indexIn(serverOrder, others[0]);
    const right = indexIn(serverOrder, named[0]);
    result.push(left >= 0 && right >= 0 && left < right ? others.shift() : named.shift());
  }
  return [...result, ...others, ...named];
}

/** New values may carry directives in their depth; they are for the patcher, not for the object. */
function withoutDirectives(value: JsonObject, extra: readonly string[]): JsonObject {
  const entries = Object.entries(value).filter(
    ([key]) => !extra.includes(key) && key !== retainKeys && !key.startsWith(orderPrefix) && !key.startsWith(deletePrefix),
  );
  return Object.fromEntries(entries);
}
