import type { DeltaDiscoveryRequest } from '../api/gen/envoy/discovery_pb.js';
import type { Resource, ResourceTable } from './resource-table.ts';

/** What one response of a type carries. */
export interface Delta {
  readonly resources: readonly Resource[];
  readonly removed: readonly string[];
}

/**
 * How a key came to be wanted: by the first request (the client may hold what it names), by a later one (the client wants to be sent
 * it, even if it held it before), or without being asked for.
 */
type Origin = 'first' | 'asked' | 'implicit';

/**
 * What one client wants of one type, and what it has still to be told. Pure state: it neither reads nor writes a socket.
 *
 * Between two responses it keeps names, never bodies, and each name once: its memory is bounded by the number of names of the
 * table, however slow the client is.
 */
export class Subscription {
  readonly #table: ResourceTable;
  #wildcard = false;
  #started = false;
  /** On demand: the keys asked for. */
  readonly #keys = new Set<string>();
  /** On demand: names of resources that the client holds. */
  readonly #held = new Set<string>();
  /** Names of resources that changed since the last response. */
  readonly #pending = new Set<string>();
  /** Keys to be resolved for the next response, and how they came here. */
  readonly #newKeys = new Map<string, Origin>();
  /** From the client's first request: the versions that it holds from an earlier connection. */
  #known: ReadonlyMap<string, string> = new Map();
  #everything = false;
  #mustAnswer = false;

  constructor(table: ResourceTable) {
    this.#table = table;
  }

  get typeUrl(): string {
    return this.#table.typeUrl;
  }

  get wildcard(): boolean {
    return this.#wildcard;
  }

  /** True when there is something to send. */
  get due(): boolean {
    return this.#mustAnswer || this.#pending.size > 0 || this.#newKeys.size > 0;
  }

  /**
   * The names of a request. The first one of a type begins the subscription and is always answered; `implicit` are keys that
   * an on-demand client gets without asking (the workloads of its own node).
   */
  request(request: DeltaDiscoveryRequest, implicit: readonly string[] = []): void {
    const { resourceNamesSubscribe: subscribe, resourceNamesUnsubscribe: unsubscribe } = request;
    if (!this.#started) {
      this.#started = true;
      this.#begin(request, implicit);
      return;
    }
    for (const key of unsubscribe) {
      if (key === '*') this.#wildcard = false;
      this.#forget(key);
    }
    for (const key of subscribe) {
      if (key === '*') this.#wantEverything();
      else this.#want(key, 'asked');
    }
  }

  /** The table changed. */
  changed(names: ReadonlySet<string>): void {
    if (!this.#started || this.#everything) return;
    for (const name of names) {
      if (this.#wildcard || this.#held.has(name) || this.#wants(name)) this.#pending.add(name);
    }
  }

  /** The next response; undefined when the client is up to date. Afterwards nothing is due until something changes. */
  take(): Delta | undefined {
    if (!this.due) return undefined;
    const delta = this.#everything ? this.#all() : this.#some();
    const answer = this.#mustAnswer;
    this.#everything = false;
    this.#mustAnswer = false;
    this.#known = new Map();
    this.#pending.clear();
    this.#newKeys.clear();
    return answer || delta.resources.length > 0 || delta.removed.length > 0 ? delta : undefined;
  }

  #begin(request: DeltaDiscoveryRequest, implicit: readonly string[]): void {
    this.#known = new Map(Object.entries(request.initialResourceVersions));
    this.#mustAnswer = true;
    const keys = new Set([...request.resourceNamesSubscribe, ...this.#known.keys()]);
    for (const key of request.resourceNamesUnsubscribe) keys.delete(key);
    if (request.resourceNamesSubscribe.length === 0 || keys.has('*')) {
      this.#wildcard = true;
      this.#everything = true;
      return;
    }
    // The client holds these, so that a deletion while it was away is told, and so is one from now on.
    for (const name of this.#known.keys()) this.#held.add(name);
    for (const key of keys) this.#want(key, 'first');
    for (const key of implicit) {
      this.#keys.add(key);
      if (!this.#newKeys.has(key)) this.#newKeys.set(key, 'implicit');
    }
  }

  #wantEverything(): void {
    this.#wildcard = true;
    this.#everything = true;
    this.#mustAnswer = true;
  }

  #want(key: string, origin: Origin): void {
    if (!this.#wildcard) this.#keys.add(key);
    this.#newKeys.set(key, origin);
    this.#mustAnswer = true;
  }

  #forget(key: string): void {
    if (!this.#keys.delete(key)) return;
    for (const resource of this.#table.resolve(key)) {
      if (!this.#wants(resource.name)) this.#held.delete(resource.name);
    }
  }

  /** Whether an on-demand client asked for this resource, by whichever of its keys. */
  #wants(name: string): boolean {
    if (this.#keys.has(name)) return true;
    const resource = this.#table.get(name);
    if (resource === undefined) return false;
    return resource.aliases.some((alias) => this.#keys.has(alias)) || resource.partOf.some((key) => this.#keys.has(key));
  }

  #all(): Delta {
    const resources: Resource[] = [];
    for (const resource of this.#table.resources()) {
      if (this.#known.get(resource.name) !== resource.version) resources.push(resource);
    }
    const removed = [...this.#known.keys(), ...this.#newKeys.keys()].filter((name) => this.#table.get(name) === undefined);
    return { resources, removed };
  }

  #some(): Delta {
    const resources = new Map<string, Resource>();
    const removed = new Set<string>();
    const send = (resource: Resource, origin?: Origin): void => {
      if (!this.#wildcard) this.#held.add(resource.name);
      if (origin === 'asked' || this.#known.get(resource.name) !== resource.version) resources.set(resource.name, resource);
    };
    for (const name of this.#pending) {
      const resource = this.#table.get(name);
      if (resource !== undefined) send(resource);
      else if (this.#wildcard || this.#held.has(name) || this.#keys.has(name)) removed.add(name);
      if (resource === undefined) this.#held.delete(name);
    }
    for (const [key, origin] of this.#newKeys) {
      for (const resource of this.#table.resolve(key)) send(resource, origin);
      // A client waits for the very key that it asked for: under an alias the resource has another name, so the alias is
      // told as removed, which frees the waiter and removes nothing.
      if (origin !== 'implicit' && this.#table.get(key) === undefined) removed.add(key);
    }
    return { resources: [...resources.values()], removed: [...removed] };
  }
}
