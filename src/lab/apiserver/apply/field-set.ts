import { canonicalJson, isObject, type JsonObject } from '../json.ts';

/**
 * One step from a value to one inside it, as managedFields spell it: `f:name` a field or map key, `k:{"port":80}` the item of a list
 * with these keys, `v:"x"` the item of a set with this value.
 */
export type PathElement = string;

export const fieldElement = (name: string): PathElement => `f:${name}`;
export const keysElement = (keys: JsonObject): PathElement => `k:${canonicalJson(keys)}`;
export const valueElement = (value: unknown): PathElement => `v:${canonicalJson(value)}`;

/** The field that an element names; undefined for the items of lists. */
export function fieldOf(element: PathElement): string | undefined {
  return element.startsWith('f:') ? element.slice(2) : undefined;
}

/**
 * A set of paths (structured-merge-diff's fieldpath.Set): `members` are in the set themselves, `children` hold what is in it below.
 * Sets are values: no method changes one.
 */
export class FieldSet {
  readonly members: ReadonlySet<PathElement>;
  readonly children: ReadonlyMap<PathElement, FieldSet>;

  static readonly empty = new FieldSet(new Set(), new Map());

  constructor(members: ReadonlySet<PathElement>, children: ReadonlyMap<PathElement, FieldSet>) {
    this.members = members;
    this.children = children;
  }

  /** The set of these paths. */
  static of(paths: Iterable<readonly PathElement[]>): FieldSet {
    const builder = new FieldSetBuilder();
    for (const path of paths) builder.insert(path);
    return builder.build();
  }

  get isEmpty(): boolean {
    return this.members.size === 0 && this.children.size === 0;
  }

  child(element: PathElement): FieldSet {
    return this.children.get(element) ?? FieldSet.empty;
  }

  union(other: FieldSet): FieldSet {
    if (this.isEmpty) return other;
    if (other.isEmpty) return this;
    return combine(this.members.union(other.members), [...this.children.keys(), ...other.children.keys()], (element) =>
      this.child(element).union(other.child(element)),
    );
  }

  intersection(other: FieldSet): FieldSet {
    return combine(this.members.intersection(other.members), this.children.keys(), (element) =>
      this.child(element).intersection(other.child(element)),
    );
  }

  /** Without the paths of `other`, each taken alone. */
  difference(other: FieldSet): FieldSet {
    if (other.isEmpty) return this;
    return combine(this.members.difference(other.members), this.children.keys(), (element) =>
      this.child(element).difference(other.child(element)),
    );
  }

  /** Without the paths of `other` and everything below them. */
  recursiveDifference(other: FieldSet): FieldSet {
    if (other.isEmpty) return this;
    return combine(this.members.difference(other.members), this.children.keys(), (element) =>
      other.members.has(element) ? FieldSet.empty : this.child(element).recursiveDifference(other.child(element)),
    );
  }

  /** All paths: at each level the members first, then what is below. */
  *paths(prefix: readonly PathElement[] = []): Generator<readonly PathElement[]> {
    for (const element of [...this.members].sort()) yield [...prefix, element];
    for (const [element, child] of [...this.children].sort(([a], [b]) => (a < b ? -1 : 1))) yield* child.paths([...prefix, element]);
  }

  /** As `fieldsV1` of a managedFields entry. */
  toFieldsV1(): JsonObject {
    const result: JsonObject = {};
    for (const element of [...new Set([...this.members, ...this.children.keys()])].sort()) {
      const below = this.child(element).toFieldsV1();
      result[element] = this.members.has(element) && Object.keys(below).length > 0 ? { '.': {}, ...below } : below;
    }
    return result;
  }

  static fromFieldsV1(fields: unknown): FieldSet {
    if (!isObject(fields)) return FieldSet.empty;
    const members = new Set<PathElement>();
    const children = new Map<PathElement, FieldSet>();
    for (const [element, below] of Object.entries(fields)) {
      if (element === '.') continue;
      const child = FieldSet.fromFieldsV1(below);
      if (!child.isEmpty) children.set(element, child);
      if (child.isEmpty || (isObject(below) && '.' in below)) members.add(element);
    }
    return new FieldSet(members, children);
  }
}

function combine(members: ReadonlySet<PathElement>, elements: Iterable<PathElement>, below: (element: PathElement) => FieldSet): FieldSet {
  const children = new Map<PathElement, FieldSet>();
  for (const element of elements) {
    if (children.has(element)) continue;
    const child = below(element);
    if (!child.isEmpty) children.set(element, child);
  }
  return new FieldSet(members, children);
}

/** Collects paths into a set. */
export class FieldSetBuilder {
  readonly #members = new Set<PathElement>();
  readonly #children = new Map<PathElement, FieldSetBuilder>();

  insert(path: readonly PathElement[], from = 0): void {
    const element = path[from];
    if (element === undefined) return;
    if (from === path.length - 1) {
      this.#members.add(element);
      return;
    }
    let child = this.#children.get(element);
    if (child === undefined) this.#children.set(element, (child = new FieldSetBuilder()));
    child.insert(path, from + 1);
  }

  build(): FieldSet {
    return new FieldSet(this.#members, new Map([...this.#children].map(([element, child]) => [element, child.build()])));
  }
}

/** A path as error messages print it: `.spec.ports[port=80,protocol="TCP"].name`. */
export function printPath(path: readonly PathElement[]): string {
  return path
    .map((element) => {
      const rest = element.slice(2);
      if (element.startsWith('f:')) return `.${rest}`;
      if (element.startsWith('v:')) return `[=${rest}]`;
      if (!element.startsWith('k:')) return `[${rest}]`;
      const keys = JSON.parse(rest) as JsonObject;
      return `[${Object.entries(keys)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join(',')}]`;
    })
    .join('');
}
