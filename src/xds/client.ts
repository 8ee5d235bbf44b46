import type { Duplex } from 'node:stream';

import { create, type JsonObject } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';

import {
  AggregatedDiscoveryService,
  DeltaDiscoveryRequestSchema,
  NodeSchema,
  StatusSchema,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '../api/gen/envoy/discovery_pb.js';
import { Backoff, describeError, sleep, type Logger } from '../core/index.ts';
import { connectGrpc, type ClientTls } from './client-transport.ts';
import { RequestQueue } from './request-queue.ts';

/** A resource as the server sent it. */
export interface ReceivedResource {
  readonly name: string;
  readonly version: string;
  readonly aliases: readonly string[];
  /** The encoded message that the type URL names. */
  readonly body: Uint8Array;
}

/** One response. Take `resources` first, then `removed`; a removed name need never have existed. */
export interface ResourceUpdate {
  readonly typeUrl: string;
  readonly resources: readonly ReceivedResource[];
  readonly removed: readonly string[];
  /** When the server made the response, by its own clock, milliseconds since 1970; undefined when it does not say. */
  readonly sentAt?: number | undefined;
}

/** A resource that the handler could not use; the rest of the response counts as taken. */
export interface Rejection {
  readonly name: string;
  readonly reason: string;
}

export interface TypeSubscription {
  readonly typeUrl: string;
  /** Everything of the type, or only what {@link XdsClient.subscribe} asks for. Default `wildcard`. */
  readonly mode?: 'wildcard' | 'on-demand';
  /** What to do with a response; what it returns is refused on the wire (NACK). A throw refuses the whole response. */
  readonly handle: (update: ResourceUpdate) => readonly Rejection[] | undefined | Promise<readonly Rejection[] | undefined>;
}

/** Where the client stands. `synced`: every type has had its first answer on this connection. */
export type XdsClientState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected' }
  | { readonly kind: 'synced' }
  | { readonly kind: 'disconnected'; readonly error: unknown; readonly retryMs: number };

export interface XdsClientOptions {
  /** `https://host:port`; `http://` for a plaintext listener on loopback. A function is asked before each connection. */
  readonly url: string | (() => string);
  /** Asked before each connection. Not used for `http://`. */
  readonly tls?: () => ClientTls | Promise<ClientTls>;
  /** Sent with the stream's request: `authorization`, `clusterid`. Asked before each stream. */
  readonly headers?: () => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>;
  readonly node: { readonly id: string; readonly metadata?: JsonObject };
  /** In the order in which they are asked for. */
  readonly subscriptions: readonly TypeSubscription[];
  readonly onState?: (state: XdsClientState) => void;
  /** The server has answered a ping; see {@link GrpcConnectionOptions.onAlive}. */
  readonly onAlive?: () => void;
  /** Opens the TCP connection; default: an ordinary one to the URL's host and port. */
  readonly connect?: (signal: AbortSignal) => Promise<Duplex>;
  /** Default: ztunnel's, 10 ms doubling to 15 s. */
  readonly backoff?: { readonly initial: number; readonly max: number };
  readonly log: Logger;
}

interface TypeState {
  readonly subscription: TypeSubscription;
  /** Version of every resource that was taken: what a reconnect tells the server. */
  readonly versions: Map<string, string>;
  /** On demand: all that was asked for. */
  readonly names: Set<string>;
  answered: boolean;
}

/**
 * A delta xDS client that outlives its server: what it has told its handlers stays told while it is disconnected, and after a
 * reconnect only the difference comes.
 */
export class XdsClient {
  readonly #options: XdsClientOptions;
  readonly #types: ReadonlyMap<string, TypeState>;
  readonly #backoff: Backoff;
  #requests: RequestQueue<DeltaDiscoveryRequest> | undefined;
  #state: XdsClientState = { kind: 'connecting' };

  constructor(options: XdsClientOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.backoff ?? { initial: 10, max: 15_000 });
    this.#types = new Map(
      options.subscriptions.map((subscription) => [
        subscription.typeUrl,
        { subscription, versions: new Map<string, string>(), names: new Set<string>(), answered: false },
      ]),
    );
  }

  get state(): XdsClientState {
    return this.#state;
  }

  /** On demand: asks for names, now and after every reconnect. Those that the server does not have come as removed. */
  subscribe(typeUrl: string, names: readonly string[]): void {
    const state = this.#types.get(typeUrl);
    const fresh = names.filter((name) => state !== undefined && !state.names.has(name));
    if (state === undefined || fresh.length === 0) return;
    for (const name of fresh) state.names.add(name);
    void this.#requests?.put(create(DeltaDiscoveryRequestSchema, { typeUrl, resourceNamesSubscribe: fresh }));
  }

  unsubscribe(typeUrl: string, names: readonly string[]): void {
    const state = this.#types.get(typeUrl);
    const known = names.filter((name) => state?.names.delete(name) === true);
    if (known.length === 0) return;
    for (const name of known) state?.versions.delete(name);
    void this.#requests?.put(create(DeltaDiscoveryRequestSchema, { typeUrl, resourceNamesUnsubscribe: known }));
  }

  /** Stays connected until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const stopped = (): boolean => signal.aborted;
    while (!stopped()) {
      let failure: unknown;
      try {
        await this.#connectOnce(signal);
      } catch (error) {
        failure = error;
      }
      if (stopped()) return;
      if (failure === undefined || isBenign(failure)) this.#backoff.reset();
      const retryMs = this.#backoff.next();
      this.#options.log.info({ error: failure === undefined ? 'stream ended' : describeError(failure), retryMs }, 'xDS disconnected');
      this.#enter({ kind: 'disconnected', error: failure, retryMs });
      await sleep(retryMs, signal).catch(() => undefined);
    }
  }

  async #connectOnce(signal: AbortSignal): Promise<void> {
    const { url: given, tls, headers, connect, onAlive, log } = this.#options;
    const url = typeof given === 'string' ? given : given();
    this.#enter({ kind: 'connecting' });
    using connection = await connectGrpc({ url, tls: url.startsWith('https:') ? await tls?.() : undefined, connect, onAlive, signal });
    const requests = new RequestQueue<DeltaDiscoveryRequest>({ bound: 64 });
    try {
      for (const request of this.#firstRequests()) void requests.put(request);
      this.#requests = requests;
      const ads = createClient(AggregatedDiscoveryService, connection.transport);
      const responses = ads.deltaAggregatedResources(requests, { signal, headers: { ...(await headers?.()) } });
      log.debug({ url }, 'xDS connected');
      this.#enter({ kind: 'connected' });
      for await (const response of responses) await this.#take(response, requests);
    } finally {
      this.#requests = undefined;
      requests.close();
    }
  }

  *#firstRequests(): Iterable<DeltaDiscoveryRequest> {
    const { id, metadata = {} } = this.#options.node;
    let node: Pick<DeltaDiscoveryRequest, 'node'> = { node: create(NodeSchema, { id, metadata }) };
    for (const [typeUrl, state] of this.#types) {
      state.answered = false;
      const versions = Object.fromEntries(state.versions);
      // Istio's way of saying "on demand, and nothing yet": the wildcard, taken back at once. Names follow as versions.
      const onDemand = state.subscription.mode === 'on-demand';
      if (onDemand) for (const name of state.names) versions[name] ??= '';
      yield create(DeltaDiscoveryRequestSchema, {
        ...node,
        typeUrl,
        initialResourceVersions: versions,
        ...(onDemand && { resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] }),
      });
      node = {};
    }
  }

  async #take(response: DeltaDiscoveryResponse, requests: RequestQueue<DeltaDiscoveryRequest>): Promise<void> {
    const { typeUrl, nonce } = response;
    const state = this.#types.get(typeUrl);
    const rejections = state === undefined ? [] : await this.#handle(state, response);
    // An unknown type is accepted, as ztunnel does: a newer server is not an error.
    await requests.put(
      create(DeltaDiscoveryRequestSchema, {
        typeUrl,
        responseNonce: nonce,
        ...(rejections.length > 0 && {
          errorDetail: create(StatusSchema, { message: rejections.map(({ name, reason }) => `${name}: ${reason}`).join('; ') }),
        }),
      }),
    );
    if (state === undefined || state.answered) return;
    state.answered = true;
    if (this.#types.values().every(({ answered }) => answered)) {
      this.#backoff.reset();
      this.#enter({ kind: 'synced' });
    }
  }

  async #handle(state: TypeState, response: DeltaDiscoveryResponse): Promise<readonly Rejection[]> {
    const { typeUrl, removedResources: removed, systemVersionInfo } = response;
    // Istio writes a time, and a number after it.
    const sentAt = Date.parse(systemVersionInfo.split('/')[0] ?? '');
    const resources: ReceivedResource[] = response.resources.map(({ name, version, aliases, resource }) => ({
      name,
      version,
      aliases,
      body: resource?.value ?? new Uint8Array(),
    }));
    let rejections: readonly Rejection[];
    try {
      rejections =
        (await state.subscription.handle({ typeUrl, resources, removed, sentAt: Number.isNaN(sentAt) ? undefined : sentAt })) ?? [];
    } catch (error) {
      this.#options.log.error({ typeUrl, error: describeError(error) }, 'xDS response not taken');
      return [{ name: '*', reason: describeError(error) }];
    }
    const refused = new Set(rejections.map(({ name }) => name));
    for (const { name, version } of resources) if (!refused.has(name)) state.versions.set(name, version);
    for (const name of removed) state.versions.delete(name);
    for (const { name, reason } of rejections) this.#options.log.warn({ typeUrl, name, reason }, 'xDS resource refused');
    return rejections;
  }

  #enter(state: XdsClientState): void {
    this.#state = state;
    this.#options.onState?.(state);
  }
}

/** The server went away in an orderly manner, or nothing is known to be wrong with it: no reason to wait longer. */
function isBenign(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  return error.code === Code.Unknown || error.code === Code.Canceled || error.code === Code.DeadlineExceeded;
}
