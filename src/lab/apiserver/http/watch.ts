import { randomInt } from 'node:crypto';

import type { AnyObject } from '../../../api/kubernetes.ts';
import { isTrue } from '../request-info.ts';
import type { ServedResource } from '../registry.ts';
import { servedJson, toServed } from '../rest/convert.ts';
import { parseVersion, selection, type Selection } from '../rest/list.ts';
import { expired } from '../status.ts';
import type { Change, StoredObject } from '../storage/bucket.ts';
import type { Store } from '../storage/store.ts';
import { partial, table, type Reply } from './respond.ts';

export interface WatchRequest {
  readonly store: Store;
  readonly resource: ServedResource;
  readonly namespace: string | undefined;
  /** Set for a watch of one object by its path. */
  readonly name?: string | undefined;
  /** How often a watch that wants bookmarks hears of the current version, milliseconds. */
  readonly bookmarkEvery: number;
  readonly reply: Reply;
}

type EventType = 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';

/** The lines of a change in plain JSON, made once for all watches; by the version that is served. */
const lines = new WeakMap<StoredObject, Map<string, Buffer>>();

/**
 * Streams the changes of a collection until the client goes or its time is up.
 *
 * A watch has no queue of its own: it is a place in the resource's history, and reads on from there when its connection takes
 * more. One that falls behind the history's window is told so (410) and ended, and costs nobody else anything.
 */
export function serveWatch(request: WatchRequest): void {
  const { reply } = request;
  const { query } = reply;
  const from = parseVersion(query.get('resourceVersion') ?? '');
  const selected = selection(query, request.resource, request.namespace, request.name);
  new Watch(request, selected).start(from, isTrue(query.get('sendInitialEvents')));
}

class Watch {
  readonly #request: WatchRequest;
  readonly #selected: Selection;
  readonly #bookmarks: boolean;
  /** Objects that were there before the watch and are still to be told. */
  #initial: Iterator<StoredObject> | undefined;
  #announceInitialEnd = false;
  #cursor = 0;
  #pumping = false;
  #headersSent = false;
  #ended = false;
  /** Ends the timers and the subscription. */
  #release: () => void = () => undefined;

  constructor(request: WatchRequest, selected: Selection) {
    this.#request = request;
    this.#selected = selected;
    this.#bookmarks = isTrue(request.reply.query.get('allowWatchBookmarks'));
  }

  start(from: number | undefined, sendInitialEvents: boolean): void {
    const { store, resource, reply } = this.#request;
    const { response, query } = reply;
    const bucket = store.bucket(resource.bucket);
    if (from === undefined || from === 0 || sendInitialEvents) {
      this.#cursor = store.version;
      const wantsState = query.get('sendInitialEvents') === null || sendInitialEvents;
      if (wantsState) this.#initial = bucket.all()[Symbol.iterator]();
      this.#announceInitialEnd = sendInitialEvents && this.#bookmarks;
    } else {
      this.#cursor = from;
    }
    response.writeHead(200, { 'content-type': 'application/json', 'transfer-encoding': 'chunked', 'cache-control': 'no-cache, private' });
    response.flushHeaders();
    response.socket?.setNoDelay(true);

    const seconds = Number(query.get('timeoutSeconds') ?? '0') || randomInt(1800, 3600);
    const timeout = setTimeout(() => this.#end(), seconds * 1000);
    const bookmark = this.#bookmarks ? setInterval(() => this.#bookmark(), this.#request.bookmarkEvery) : undefined;
    const unsubscribe = bucket.subscribe(() => {
      this.#pumpSoon();
    });
    this.#release = (): void => {
      clearTimeout(timeout);
      clearInterval(bookmark);
      unsubscribe();
    };
    response.on('drain', () => this.#pump());
    response.on('close', () => this.#stop());
    this.#pump();
  }

  /** Changes of one tick go out together. */
  #pumpSoon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #pump(): void {
    const { store, resource, reply } = this.#request;
    const { response } = reply;
    if (this.#ended || response.writableNeedDrain) return;
    response.cork();
    try {
      while (this.#initial !== undefined) {
        const next = this.#initial.next();
        if (next.done === true) {
          this.#initial = undefined;
          if (this.#announceInitialEnd) this.#writeBookmark(this.#cursor, { 'k8s.io/initial-events-end': 'true' });
          break;
        }
        if (this.#selected.matches(next.value.object) && !this.#write('ADDED', next.value)) return;
      }
      const changes = store.bucket(resource.bucket).changesAfter(this.#cursor);
      if (changes === undefined) {
        const message = `too old resource version: ${String(this.#cursor)} (${String(store.bucket(resource.bucket).floor)})`;
        response.write(`${JSON.stringify({ type: 'ERROR', object: expired(message).body() })}\n`);
        this.#end();
        return;
      }
      for (const change of changes) {
        this.#cursor = change.version;
        if (!this.#tell(change)) return;
      }
    } finally {
      response.uncork();
    }
  }

  /** What a change means to this watch: an object may come into its selection or leave it. */
  #tell({ type, current, previous, version }: Change): boolean {
    const before = previous !== undefined && this.#selected.matches(previous.object);
    const after = type !== 'DELETED' && this.#selected.matches(current.object);
    if (after) return this.#write(before ? 'MODIFIED' : 'ADDED', current);
    if (!before) return true;
    if (type === 'DELETED') return this.#write('DELETED', current);
    // Not gone, but to this watch it is: its last state here, at the version of the change.
    const metadata = { ...previous.object.metadata, resourceVersion: String(version) };
    const object = { ...previous.object, metadata };
    return this.#write('DELETED', { object, version, json: JSON.stringify(object) });
  }

  /** False when the connection takes no more for now. */
  #write(type: EventType, stored: StoredObject): boolean {
    const { resource, reply } = this.#request;
    const { as } = reply.representation;
    if (as === undefined) return reply.response.write(plainLine(type, resource, stored));
    const object = toServed(resource, stored.object);
    return reply.response.write(`${JSON.stringify({ type, object: this.#represent(as, object) })}\n`);
  }

  #represent(as: 'Table' | 'PartialObjectMetadata' | 'PartialObjectMetadataList', object: AnyObject): unknown {
    if (as !== 'Table') return partial(object);
    const { resource, reply } = this.#request;
    const result = table(
      resource,
      [object],
      { ...reply, now: Date.now() },
      { resourceVersion: object.metadata.resourceVersion },
      this.#headersSent,
    );
    this.#headersSent = true;
    return result;
  }

  #bookmark(): void {
    this.#pump();
    if (this.#ended) return;
    // With nothing waiting to be told, the watch knows everything up to now, whatever other resources changed.
    if (this.#initial === undefined && !this.#request.reply.response.writableNeedDrain) this.#writeBookmark(this.#request.store.version);
  }

  #writeBookmark(version: number, annotations?: Record<string, string>): void {
    const { resource, reply } = this.#request;
    const metadata = { resourceVersion: String(version), ...(annotations !== undefined && { annotations }) };
    const object = { kind: resource.info.kind, apiVersion: resource.apiVersion, metadata };
    const { as } = reply.representation;
    const shown =
      as === 'Table'
        ? { kind: 'Table', apiVersion: 'meta.k8s.io/v1', metadata, columnDefinitions: [], rows: [] }
        : as === undefined
          ? object
          : { ...object, kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1' };
    reply.response.write(`${JSON.stringify({ type: 'BOOKMARK', object: shown })}\n`);
  }

  #end(): void {
    this.#stop();
    this.#request.reply.response.end();
  }

  /** Nothing is written after this. */
  #stop(): void {
    this.#ended = true;
    this.#release();
  }
}

function plainLine(type: EventType, resource: ServedResource, stored: StoredObject): Buffer {
  const known = lines.get(stored) ?? new Map<string, Buffer>();
  lines.set(stored, known);
  const key = `${type} ${resource.apiVersion}`;
  let line = known.get(key);
  if (line === undefined) {
    line = Buffer.from(`{"type":"${type}","object":${servedJson(resource, stored)}}\n`);
    known.set(key, line);
  }
  return line;
}
