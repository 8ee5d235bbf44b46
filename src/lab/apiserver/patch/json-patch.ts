import { clone, deepEqual, isObject, setField } from '../json.ts';

/** Thrown when a JSON patch does not apply: a test that fails, a path that is not there, an operation that is unknown. */
export class JsonPatchError extends Error {}

/** JSON patch (RFC 6902). The target is not changed. */
export function jsonPatch(target: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw new JsonPatchError('a JSON patch is a list of operations');
  const root = { document: clone(target) };
  for (const operation of patch as unknown[]) {
    if (!isObject(operation)) throw new JsonPatchError('an operation is an object');
    apply(root, operation);
  }
  return root.document;
}

function apply(root: { document: unknown }, operation: Record<string, unknown>): void {
  const path = pointer(operation['path']);
  switch (operation['op']) {
    case 'add':
      add(root, path, given(operation));
      return;
    case 'remove':
      remove(root, path);
      return;
    case 'replace':
      get(root, path);
      if (path.length > 0) remove(root, path);
      add(root, path, given(operation));
      return;
    case 'move': {
      const from = pointer(operation['from']);
      const value = get(root, from);
      remove(root, from);
      add(root, path, value);
      return;
    }
    case 'copy':
      add(root, path, clone(get(root, pointer(operation['from']))));
      return;
    case 'test':
      if (!deepEqual(tested(root, path), given(operation))) throw new JsonPatchError('test failed');
      return;
    default:
      throw new JsonPatchError('unknown operation');
  }
}

function given(operation: Record<string, unknown>): unknown {
  if (!('value' in operation)) throw new JsonPatchError('the operation has no value');
  return operation['value'];
}

/** A JSON pointer (RFC 6901) as its keys. */
function pointer(value: unknown): readonly string[] {
  if (value === '') return [];
  if (typeof value !== 'string' || !value.startsWith('/')) throw new JsonPatchError('a path begins with /');
  return value
    .slice(1)
    .split('/')
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function get(root: { document: unknown }, path: readonly string[]): unknown {
  let value = root.document;
  for (const key of path) {
    if (Array.isArray(value)) value = (value as unknown[])[indexOf(key, value.length - 1)];
    else if (isObject(value) && Object.hasOwn(value, key)) value = value[key];
    else throw new JsonPatchError(`nothing at ${key}`);
  }
  return value;
}

/** What a test looks at: a member that is not there counts as null, as a real server has it (the RFC does not say so). */
function tested(root: { document: unknown }, path: readonly string[]): unknown {
  const key = path.at(-1);
  const parent = key === undefined ? undefined : get(root, path.slice(0, -1));
  return key !== undefined && isObject(parent) && !Object.hasOwn(parent, key) ? null : get(root, path);
}

function add(root: { document: unknown }, path: readonly string[], value: unknown): void {
  const key = path.at(-1);
  if (key === undefined) {
    root.document = value;
    return;
  }
  const parent = get(root, path.slice(0, -1));
  if (Array.isArray(parent)) parent.splice(key === '-' ? parent.length : indexOf(key, parent.length), 0, value);
  else if (isObject(parent)) setField(parent, key, value);
  else throw new JsonPatchError('the parent is neither object nor list');
}

function remove(root: { document: unknown }, path: readonly string[]): void {
  const key = path.at(-1);
  if (key === undefined) throw new JsonPatchError('the whole document cannot be removed');
  const parent = get(root, path.slice(0, -1));
  if (Array.isArray(parent)) parent.splice(indexOf(key, parent.length - 1), 1);
  else if (isObject(parent) && Object.hasOwn(parent, key)) Reflect.deleteProperty(parent, key);
  else throw new JsonPatchError(`nothing at ${key}`);
}

function indexOf(key: string, last: number): number {
  const index = /^(0|[1-9]\d*)$/.test(key) ? Number(key) : Number.NaN;
  if (!(index <= last)) throw new JsonPatchError(`no item ${key}`);
  return index;
}
