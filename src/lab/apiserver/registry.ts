import type { AnyObject } from '../../api/kubernetes.ts';
import { apiVersionOf } from '../../api/resources.ts';
import { asList, asObject, asString } from './json.ts';
import { builtinResources, crdSchema, crdToResourceInfo, schemaFor, type ResourceInfo, type TypeSchema } from './schema/index.ts';

/** A resource that is served in one version: what it is, what its objects look like, and where they are stored. */
export interface ServedResource {
  readonly info: ResourceInfo;
  readonly schema: TypeSchema;
  /** The bucket of the store; all versions of a resource share it. */
  readonly bucket: string;
  /** `v1`, `apps/v1`. */
  readonly apiVersion: string;
  /** The version in which objects are stored. */
  readonly storageApiVersion: string;
  /** The CustomResourceDefinition, for a custom resource. */
  readonly crd: AnyObject | undefined;
}

/** The resources that are served now: the built-in ones and those of the established CustomResourceDefinitions. */
export class Registry {
  readonly #served = new Map<string, ServedResource>();
  readonly #custom = new Map<string, readonly ServedResource[]>();
  #all: readonly ResourceInfo[] | undefined;

  constructor() {
    for (const info of builtinResources) this.#served.set(keyOf(info), lazySchema(info));
  }

  find(group: string, version: string, plural: string): ServedResource | undefined {
    return this.#served.get(keyOf({ group, version, plural }));
  }

  /** The same, for a resource that is built in: its absence is a defect. */
  builtin(group: string, version: string, plural: string): ServedResource {
    const served = this.find(group, version, plural);
    if (served === undefined) throw new Error(`${plural}.${version}.${group} is not built in`);
    return served;
  }

  /** Whether anything is served under a group and version. */
  servesVersion(group: string, version: string): boolean {
    return this.resources().some((info) => info.group === group && info.version === version);
  }

  /** In the order of discovery. */
  resources(): readonly ResourceInfo[] {
    this.#all ??= [...this.#served.values()].map(({ info }) => info);
    return this.#all;
  }

  /** The definitions of the custom resources that are served. */
  definitions(): readonly AnyObject[] {
    return [...this.#custom.values()].flatMap(([first]) => (first?.crd === undefined ? [] : [first.crd]));
  }

  /** Serves the versions of a definition from now on, instead of what it said before. */
  define(crd: AnyObject): void {
    this.undefine(crd.metadata.name);
    const served = crdToResourceInfo(crd).map((info): ServedResource => ({
      info,
      schema: crdSchema(crd, info.version),
      bucket: bucketOf(info.plural, info.group),
      apiVersion: `${info.group}/${info.version}`,
      storageApiVersion: `${info.group}/${storageVersion(crd)}`,
      crd,
    }));
    this.#custom.set(crd.metadata.name, served);
    for (const resource of served) this.#served.set(keyOf(resource.info), resource);
    this.#all = undefined;
  }

  undefine(name: string): void {
    for (const { info } of this.#custom.get(name) ?? []) this.#served.delete(keyOf(info));
    this.#custom.delete(name);
    this.#all = undefined;
  }

  /** Whether a definition's names are taken by somebody else in its group. */
  nameConflict(crd: AnyObject): string | undefined {
    const names = asObject(asObject(crd['spec'])['names']);
    const group = asObject(crd['spec'])['group'];
    for (const info of this.resources()) {
      if (info.group !== group || info.crd === crd.metadata.name) continue;
      if (info.plural === names['plural']) return `plural name ${JSON.stringify(info.plural)} is already in use`;
      if (info.kind === names['kind']) return `kind ${JSON.stringify(info.kind)} is already in use`;
    }
    return undefined;
  }
}

function keyOf({ group, version, plural }: Pick<ResourceInfo, 'group' | 'version' | 'plural'>): string {
  return `${group}/${version}/${plural}`;
}

/** Built-in schemas are made when they are first used: most processes use few of them. */
function lazySchema(info: ResourceInfo): ServedResource {
  let schema: TypeSchema | undefined;
  const stored = info.storedAs ?? info;
  return {
    info,
    get schema() {
      return (schema ??= schemaFor(info));
    },
    bucket: bucketOf(info.plural, stored.group),
    apiVersion: apiVersionOf(info),
    storageApiVersion: apiVersionOf(stored),
    crd: undefined,
  };
}

function storageVersion(crd: AnyObject): string {
  const versions = asList(asObject(crd['spec'])['versions']).map(asObject);
  return asString(versions.find(({ storage }) => storage === true)?.['name']) ?? '';
}

/** `pods.`, `deployments.apps`: where the objects of a resource are stored, whatever the version. */
function bucketOf(plural: string, group: string): string {
  return `${plural}.${group}`;
}
