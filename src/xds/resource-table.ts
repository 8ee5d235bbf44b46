import { createHash } from 'node:crypto';

import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { AnySchema } from '@bufbuild/protobuf/wkt';

import { ResourceSchema } from '../api/gen/envoy/discovery_pb.js';

/** One xDS resource as it goes into a {@link ResourceTable}. */
export interface ResourceInput {
  readonly name: string;
  /** The encoded message that the type URL names: the value of the Any on the wire. */
  readonly body: Uint8Array;
  /** Other names by which on-demand subscribers may ask for it, such as `<network>/<ip>`. */
  readonly aliases?: readonly string[];
  /**
   * Keys whose on-demand subscribers get this resource as well, such as the services of a workload. Not on the wire.
   */
  readonly partOf?: readonly string[];
  /** Told to clients, who name it when they reconnect. Default: the first 16 hex digits of the body's SHA-256. */
  readonly version?: string;
}

export interface Resource extends Required<ResourceInput> {
  /** The resource as a field of a DeltaDiscoveryResponse, with tag and length. Made once a change, and written to every subscriber. */
  readonly wire: Uint8Array;
}

/** Names that were set or deleted; which of the two, the table tells. */
export type TableListener = (changed: ReadonlySet<string>) => void;

/**
 * The resources of one type URL, shared by all connections.
 *
 * Guarantees: a listener hears each change after the table shows it, once per {@link ResourceTable.batch}; setting what is
 * already there is no change. Listeners run synchronously and must not write to the table.
 */
export class ResourceTable {
  readonly typeUrl: string;
  readonly #resources = new Map<string, Resource>();
  /** Alias to names; two pods in the host's network share an address, so there may be several. */
  readonly #byAlias = new Map<string, Set<string>>();
  readonly #members = new Map<string, Set<string>>();
  readonly #listeners = new Set<TableListener>();
  #batch: Set<string> | undefined;

  constructor(options: { readonly typeUrl: string }) {
    this.typeUrl = options.typeUrl;
  }

  get size(): number {
    return this.#resources.size;
  }

  names(): IterableIterator<string> {
    return this.#resources.keys();
  }

  resources(): IterableIterator<Resource> {
    return this.#resources.values();
  }

  get(name: string): Resource | undefined {
    return this.#resources.get(name);
  }

  /** The resources that a subscriber to `key` gets: the one of that name, those with that alias, those that are part of it. */
  resolve(key: string): Resource[] {
    const names = new Set<string>([key, ...(this.#byAlias.get(key) ?? []), ...(this.#members.get(key) ?? [])]);
    return [...names].flatMap((name) => this.#resources.get(name) ?? []);
  }

  /** Adds or replaces a resource; true when that changed anything. */
  set(input: ResourceInput): boolean {
    const { name, body, aliases = [], partOf = [] } = input;
    const old = this.#resources.get(name);
    const version = input.version ?? createHash('sha256').update(body).digest('hex').slice(0, 16);
    if (old?.version === version && sameStrings(old.aliases, aliases) && sameStrings(old.partOf, partOf)) return false;
    const wire = encode(this.typeUrl, { name, body, aliases, version });
    if (old !== undefined) this.#unindex(old);
    const resource: Resource = { name, body, aliases, partOf, version, wire };
    this.#resources.set(name, resource);
    for (const alias of aliases) addTo(this.#byAlias, alias, name);
    for (const key of partOf) addTo(this.#members, key, name);
    this.#changed(name);
    return true;
  }

  /** True when there was such a resource. */
  delete(name: string): boolean {
    const old = this.#resources.get(name);
    if (old === undefined) return false;
    this.#resources.delete(name);
    this.#unindex(old);
    this.#changed(name);
    return true;
  }

  /** Runs `change` and tells listeners once of all it set and deleted, even when it throws. */
  batch(change: () => void): void {
    if (this.#batch !== undefined) {
      change();
      return;
    }
    const changed = new Set<string>();
    this.#batch = changed;
    try {
      change();
    } finally {
      this.#batch = undefined;
      this.#tell(changed);
    }
  }

  /** Makes the table hold exactly `inputs`, as one batch. */
  replace(inputs: Iterable<ResourceInput>): void {
    this.batch(() => {
      const gone = new Set(this.#resources.keys());
      for (const input of inputs) {
        gone.delete(input.name);
        this.set(input);
      }
      for (const name of gone) this.delete(name);
    });
  }

  /** Calls `listener` at every change from now on; returns the way to stop it. */
  onChange(listener: TableListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #changed(name: string): void {
    if (this.#batch === undefined) this.#tell(new Set([name]));
    else this.#batch.add(name);
  }

  #tell(changed: ReadonlySet<string>): void {
    if (changed.size === 0) return;
    for (const listener of this.#listeners) listener(changed);
  }

  #unindex(resource: Resource): void {
    for (const alias of resource.aliases) removeFrom(this.#byAlias, alias, resource.name);
    for (const key of resource.partOf) removeFrom(this.#members, key, resource.name);
  }
}

/** Number of DeltaDiscoveryResponse.resources. */
const resourcesField = 2;

function encode(typeUrl: string, resource: { name: string; body: Uint8Array; aliases: readonly string[]; version: string }): Uint8Array {
  const message = create(ResourceSchema, {
    name: resource.name,
    version: resource.version,
    aliases: [...resource.aliases],
    resource: create(AnySchema, { typeUrl, value: resource.body }),
  });
  return new BinaryWriter().tag(resourcesField, WireType.LengthDelimited).bytes(toBinary(ResourceSchema, message)).finish();
}

function sameStrings(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

function addTo(index: Map<string, Set<string>>, key: string, name: string): void {
  const names = index.get(key);
  if (names === undefined) index.set(key, new Set([name]));
  else names.add(name);
}

function removeFrom(index: Map<string, Set<string>>, key: string, name: string): void {
  const names = index.get(key);
  names?.delete(name);
  if (names?.size === 0) index.delete(key);
}
