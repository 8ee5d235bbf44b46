import { isObject } from '../json.ts';

/** One step of a path: a key, an index, all items, or the items whose field equals a value. */
type Step =
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'all' }
  | { readonly kind: 'filter'; readonly path: readonly Step[]; readonly equal: boolean; readonly value: unknown };

/** Finds the values of a path in a JSON value, in order. */
export type JsonPath = (value: unknown) => unknown[];

const compiled = new Map<string, JsonPath>();

/**
 * A path of Kubernetes' JSONPath dialect, as printer columns use it: `.a.b`, `['a.b']`, `.a\.b`, `[0]`, `[-1]`, `[*]`, `[?(@.type=="Ready")]`.
 * Throws a SyntaxError for what it does not understand.
 */
export function jsonPath(path: string): JsonPath {
  let find = compiled.get(path);
  if (find === undefined) {
    const steps = parse(path);
    find = (value) => follow(steps, [value]);
    compiled.set(path, find);
  }
  return find;
}

const token =
  /^(?:\.?\[\s*\*\s*\]|\.\*|\.?\[\s*(?<index>-?\d+)\s*\]|\.?\[\s*(?:'(?<single>[^']*)'|"(?<double>[^"]*)")\s*\]|\.?\[\?\(\s*@(?<field>[^=!\s]+)\s*(?<operator>==|!=)\s*(?<value>[^)]*?)\s*\)\]|\.?(?<key>(?:\\.|[^.[\]\\])+))/;

function parse(path: string): Step[] {
  const steps: Step[] = [];
  let rest = path.replace(/^\{(.*)\}$/, '$1').replace(/^\$/, '');
  while (rest !== '' && rest !== '.') {
    const match = token.exec(rest);
    if (match === null) throw new SyntaxError(`cannot read ${JSON.stringify(rest)} of the path ${JSON.stringify(path)}`);
    const { index, single, double, field, operator, value, key } = match.groups ?? {};
    if (index !== undefined) steps.push({ kind: 'index', index: Number(index) });
    else if (key !== undefined) steps.push({ kind: 'key', key: key.replace(/\\(.)/g, '$1') });
    else if (single !== undefined || double !== undefined) steps.push({ kind: 'key', key: single ?? double ?? '' });
    else if (field !== undefined) steps.push({ kind: 'filter', path: parse(field), equal: operator === '==', value: literal(value ?? '') });
    else steps.push({ kind: 'all' });
    rest = rest.slice(match[0].length);
  }
  return steps;
}

function literal(text: string): unknown {
  const quoted = /^(["'])(.*)\1$/.exec(text);
  if (quoted !== null) return quoted[2];
  return text === 'true' ? true : text === 'false' ? false : Number(text);
}

function follow(steps: readonly Step[], values: readonly unknown[]): unknown[] {
  return steps.reduce<unknown[]>((found, step) => found.flatMap((value) => take(step, value)), [...values]);
}

function take(step: Step, value: unknown): unknown[] {
  switch (step.kind) {
    case 'key':
      return isObject(value) && value[step.key] !== undefined ? [value[step.key]] : [];
    case 'index':
      return Array.isArray(value) && value.at(step.index) !== undefined ? [value.at(step.index)] : [];
    case 'all':
      return Array.isArray(value) ? value : isObject(value) ? Object.values(value) : [];
    case 'filter':
      return Array.isArray(value) ? value.filter((item) => follow(step.path, [item]).includes(step.value) === step.equal) : [];
  }
}
