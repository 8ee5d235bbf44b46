import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Where the models packages have the declarations of a table's types. */
const declarations: Readonly<Record<string, { readonly package: string; readonly folder: string }>> = {
  core: { package: 'kubernetes-models', folder: 'v1' },
  apps: { package: 'kubernetes-models', folder: 'apps/v1' },
  admissionregistration: { package: 'kubernetes-models', folder: 'admissionregistration.k8s.io/v1' },
  apiextensions: { package: 'kubernetes-models', folder: 'apiextensions.k8s.io/v1' },
  authentication: { package: 'kubernetes-models', folder: 'authentication.k8s.io/v1' },
  authorization: { package: 'kubernetes-models', folder: 'authorization.k8s.io/v1' },
  autoscaling: { package: 'kubernetes-models', folder: 'autoscaling/v1' },
  coordination: { package: 'kubernetes-models', folder: 'coordination.k8s.io/v1' },
  discovery: { package: 'kubernetes-models', folder: 'discovery.k8s.io/v1' },
  events: { package: 'kubernetes-models', folder: 'events.k8s.io/v1' },
  meta: { package: '@kubernetes-models/apimachinery', folder: 'apis/meta/v1' },
  networking: { package: 'kubernetes-models', folder: 'networking.k8s.io/v1' },
  policy: { package: 'kubernetes-models', folder: 'policy/v1' },
  rbac: { package: 'kubernetes-models', folder: 'rbac.authorization.k8s.io/v1' },
  scheduling: { package: 'kubernetes-models', folder: 'scheduling.k8s.io/v1' },
};

/** What a type and its fields are for, in Kubernetes' own words; absent where the packages have none. */
export interface TypeDescription {
  readonly type: string | undefined;
  readonly fields: ReadonlyMap<string, string>;
}

const none: TypeDescription = { type: undefined, fields: new Map() };
const read = new Map<string, TypeDescription>();

/**
 * Kubernetes' documentation of a type, read from the type declarations of the models packages when it is first asked for: `kubectl explain` and the columns of
 * tables show it. Where the packages were installed without declarations there are no descriptions.
 */
export function describeType(table: string, name: string): TypeDescription {
  const key = `${table}.${name}`;
  let description = read.get(key);
  if (description === undefined) {
    description = load(table, name);
    read.set(key, description);
  }
  return description;
}

/** A field's documentation without the list of values that OpenAPI adds to it: what the head of a column says. */
export function describeColumn(table: string, name: string, field: string): string {
  return (describeType(table, name).fields.get(field) ?? '').replace(/\n\nPossible enum values:[\s\S]*/, '');
}

function load(table: string, name: string): TypeDescription {
  const place = declarations[table];
  if (place === undefined) return none;
  const file = new URL(`./${place.folder}/${name}.d.ts`, import.meta.resolve(place.package));
  const path = fileURLToPath(file);
  return existsSync(path) ? parse(readFileSync(path, 'utf8'), name) : none;
}

/** A declaration is `/** ... *\/` before the interface and before each of its fields, which are indented by four spaces. */
function parse(text: string, name: string): TypeDescription {
  const start = text.indexOf(`export interface I${name} `);
  if (start < 0) return none;
  const end = text.indexOf('\n}', start);
  const fields = new Map<string, string>();
  for (const [, comment = '', field = ''] of text.slice(start, end).matchAll(/\n {4}\/\*\*\n([\s\S]*?) {4} \*\/\n {4}"([^"]+)"/g)) {
    fields.set(field, uncomment(comment));
  }
  const [, comment] = /\/\*\*\n((?: \*.*\n)*?) \*\/\n$/.exec(text.slice(0, start)) ?? [];
  return { type: comment === undefined ? undefined : uncomment(comment), fields };
}

function uncomment(comment: string): string {
  return comment
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, ''))
    .join('\n')
    .trim()
    .replace(/\\([*`_~[\]<>])/g, '$1');
}
