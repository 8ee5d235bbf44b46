import type { IncomingMessage } from 'node:http';

import type { AnyObject, KubeObject, Status } from '../api/kubernetes.ts';
import { apiVersionOf, type ResourceType } from '../api/resources.ts';
import { isNotFound } from './api-error.ts';
import { inClusterConfig, kubeconfig, type ClientConfig } from './config.ts';
import { readAll, Transport, type RawRequest } from './transport.ts';
import { watchEvents, type WatchEvent } from './watch.ts';

/** Which object: its name, and its namespace for a namespaced kind. */
export interface ObjectRef {
  readonly name: string;
  readonly namespace?: string | undefined;
}

export interface ListOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly resourceVersion?: string | undefined;
  /** The server sends metadata alone (PartialObjectMetadata); the objects have no spec, status or data then. */
  readonly metadataOnly?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface WatchOptions extends ListOptions {
  /** The server ends the watch after this many seconds; default 300. */
  readonly timeoutSeconds?: number;
}

export interface WriteOptions {
  /** `status`, `scale`, `token`, …; default the object itself. */
  readonly subresource?: string | undefined;
  /** Shown in managedFields; default `isthmus`. */
  readonly fieldManager?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ApplyOptions extends WriteOptions {
  /** Take over fields that another manager owns; default true, as controllers do. */
  readonly force?: boolean;
}

export interface DeleteOptions {
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
  readonly gracePeriodSeconds?: number;
  /** Delete only this incarnation. */
  readonly uid?: string;
  readonly signal?: AbortSignal | undefined;
}

export interface ObjectList<T extends KubeObject> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
}

/** Merge patch (RFC 7386), JSON patch (RFC 6902) or Kubernetes' strategic merge patch. */
export type PatchType = 'merge' | 'json' | 'strategic';

const patchContentTypes: Readonly<Record<PatchType, string>> = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  strategic: 'application/strategic-merge-patch+json',
};

const partialObject = 'g=meta.k8s.io;v=v1';

/**
 * One API server, seen from a client. Every method throws KubeApiError for the server's own errors and
 * KUBE_UNREACHABLE when it does not answer.
 */
export class KubeClient implements Disposable {
  readonly transport: Transport;

  constructor(config: ClientConfig | Transport) {
    this.transport = config instanceof Transport ? config : new Transport(config);
  }

  /** A context of the user's kubeconfig (kubectl's search order); throws KUBE_CONFIG. */
  static fromKubeconfig(options: { path?: string | undefined; context?: string | undefined } = {}): KubeClient {
    return new KubeClient(kubeconfig(options));
  }

  /** From inside a pod, with its service account; throws KUBE_CONFIG. */
  static inCluster(): KubeClient {
    return new KubeClient(inClusterConfig());
  }

  /**
   * The same client, over the same connections, that calls `guard` right before it sends a request that may change something: what that
   * throws, the method throws, and nothing is sent. Not to be disposed of.
   */
  guardedBy(guard: () => void): KubeClient {
    return new KubeClient(this.transport.guardedBy(guard));
  }

  async get<T extends KubeObject>(type: ResourceType<T>, ref: ObjectRef, signal?: AbortSignal): Promise<T> {
    return (await this.transport.json({ method: 'GET', path: objectPath(type, ref), signal })) as T;
  }

  /** The object, or undefined when there is none. */
  async find<T extends KubeObject>(type: ResourceType<T>, ref: ObjectRef, signal?: AbortSignal): Promise<T | undefined> {
    try {
      return await this.get(type, ref, signal);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** All objects, in pages of 500. Items of a list carry no apiVersion and kind on the wire; here they do. */
  async list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): Promise<ObjectList<T>> {
    const items: T[] = [];
    let resourceVersion = '';
    for await (const page of this.pages(type, options)) {
      items.push(...page.items);
      resourceVersion = page.resourceVersion;
    }
    return { items, resourceVersion };
  }

  /** The same, page by page: what is not kept of one page need not stay in memory until the last is there. */
  async *pages<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): AsyncGenerator<ObjectList<T>, void, void> {
    let next: string | undefined;
    do {
      const query = listQuery(options, next === undefined ? { limit: '500' } : { limit: '500', continue: next });
      const page = (await this.transport.json({
        method: 'GET',
        path: `${collectionPath(type, options.namespace)}${query}`,
        ...(options.metadataOnly === true && { accept: `application/json;as=PartialObjectMetadataList;${partialObject}` }),
        signal: options.signal,
      })) as { items?: T[]; metadata?: { resourceVersion?: string; continue?: string } };
      const items = (page.items ?? []).map((item) => ({ ...item, apiVersion: apiVersionOf(type), kind: type.kind }));
      yield { items, resourceVersion: page.metadata?.resourceVersion ?? '' };
      next = page.metadata?.continue;
    } while (next !== undefined && next !== '');
  }

  /** Changes from a version on, until the server or the signal ends it. */
  async *watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>, void, void> {
    const query = listQuery(options, {
      watch: 'true',
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(options.timeoutSeconds ?? 300),
    });
    const path = `${collectionPath(type, options.namespace)}${query}`;
    const response = await this.transport.open({
      method: 'GET',
      path,
      ...(options.metadataOnly === true && { accept: `application/json;as=PartialObjectMetadata;${partialObject}` }),
      signal: options.signal,
    });
    yield* watchEvents<T>(response, type.plural);
  }

  async create<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const base = collectionPath(type, object.metadata.namespace);
    const path = options.subresource === undefined ? base : `${objectPath(type, object.metadata)}/${options.subresource}`;
    return (await this.transport.json({
      method: 'POST',
      path: `${path}${writeQuery(options)}`,
      body: object,
      signal: options.signal,
    })) as T;
  }

  /** Replaces the object; with metadata.resourceVersion only if nobody else wrote since (otherwise isConflict). */
  async update<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const path = `${objectPath(type, object.metadata, options.subresource)}${writeQuery(options)}`;
    return (await this.transport.json({ method: 'PUT', path, body: object, signal: options.signal })) as T;
  }

  async patch<T extends KubeObject>(
    type: ResourceType<T>,
    ref: ObjectRef,
    patch: { readonly type: PatchType; readonly body: unknown },
    options: WriteOptions = {},
  ): Promise<T> {
    return (await this.transport.json({
      method: 'PATCH',
      path: `${objectPath(type, ref, options.subresource)}${writeQuery(options)}`,
      contentType: patchContentTypes[patch.type],
      body: patch.body,
      signal: options.signal,
    })) as T;
  }

  /** Server-side apply: states the fields that `fieldManager` wants, and drops those it wanted before and does not any more. */
  async apply<T extends KubeObject>(
    type: ResourceType<T>,
    object: DeepPartial<T> & { metadata: { name: string; namespace?: string } },
    options: ApplyOptions = {},
  ): Promise<T> {
    const force = options.force ?? true;
    return (await this.transport.json({
      method: 'PATCH',
      path: `${objectPath(type, object.metadata, options.subresource)}${writeQuery(options, { force: String(force) })}`,
      contentType: 'application/apply-patch+yaml',
      body: { ...object, apiVersion: apiVersionOf(type), kind: type.kind },
      signal: options.signal,
    })) as T;
  }

  /** Resolves when the deletion is accepted (finalizers may still run); false when there was no such object. */
  async delete(type: ResourceType, ref: ObjectRef, options: DeleteOptions = {}): Promise<boolean> {
    const body = {
      kind: 'DeleteOptions',
      apiVersion: 'v1',
      ...(options.propagationPolicy !== undefined && { propagationPolicy: options.propagationPolicy }),
      ...(options.gracePeriodSeconds !== undefined && { gracePeriodSeconds: options.gracePeriodSeconds }),
      ...(options.uid !== undefined && { preconditions: { uid: options.uid } }),
    };
    try {
      await this.transport.json({ method: 'DELETE', path: objectPath(type, ref), body, signal: options.signal });
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }

  /** Any request whose answer is JSON: discovery, reviews, tokens. */
  async request(request: RawRequest): Promise<AnyObject | Status | undefined> {
    return (await this.transport.json(request)) as AnyObject | Status | undefined;
  }

  /** A container's log as text. */
  async logs(ref: ObjectRef & { container?: string }, options: { tailLines?: number; signal?: AbortSignal } = {}): Promise<string> {
    return await readAll(await this.openLogs(ref, { ...options, follow: false }));
  }

  /** A container's log as it is written, from now or from its start. */
  async openLogs(
    ref: ObjectRef & { container?: string },
    options: { follow: boolean; tailLines?: number; signal?: AbortSignal },
  ): Promise<IncomingMessage> {
    const query = new URLSearchParams();
    if (ref.container !== undefined) query.set('container', ref.container);
    if (options.follow) query.set('follow', 'true');
    if (options.tailLines !== undefined) query.set('tailLines', String(options.tailLines));
    const path = `/api/v1/namespaces/${ref.namespace ?? 'default'}/pods/${ref.name}/log?${query.toString()}`;
    return await this.transport.open({ method: 'GET', path, accept: '*/*', signal: options.signal });
  }

  [Symbol.dispose](): void {
    this.transport[Symbol.dispose]();
  }
}

/** Every field optional, at every depth: what an apply states. */
export type DeepPartial<T> = T extends readonly (infer E)[]
  ? DeepPartial<E>[]
  : T extends object
    ? { [K in keyof T]?: DeepPartial<T[K]> | undefined }
    : T;

/** The path of a collection; `namespace` absent means all namespaces. */
export function collectionPath(type: ResourceType, namespace?: string): string {
  const root = type.group === '' ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  const within = type.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${root}${within}/${type.plural}`;
}

/** The path of an object or of one of its subresources. */
export function objectPath(type: ResourceType, ref: ObjectRef, subresource?: string): string {
  const path = `${collectionPath(type, ref.namespace)}/${encodeURIComponent(ref.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

function listQuery(options: ListOptions, extra: Readonly<Record<string, string>>): string {
  const query = new URLSearchParams(extra);
  if (options.labelSelector !== undefined) query.set('labelSelector', options.labelSelector);
  if (options.fieldSelector !== undefined) query.set('fieldSelector', options.fieldSelector);
  if (options.resourceVersion !== undefined) query.set('resourceVersion', options.resourceVersion);
  return `?${query.toString()}`;
}

function writeQuery(options: WriteOptions, extra: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams({ fieldManager: options.fieldManager ?? 'isthmus', ...extra });
  return `?${query.toString()}`;
}
