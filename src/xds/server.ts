import { create } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from '@connectrpc/connect';

import {
  AggregatedDiscoveryService,
  DeltaDiscoveryResponseSchema,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  type Node,
} from '../api/gen/envoy/discovery_pb.js';
import { describeError, type Logger } from '../core/index.ts';
import { callerOf, type CallContext } from './call-context.ts';
import { Gate } from './gate.ts';
import { ResourceTable } from './resource-table.ts';
import { Subscription, type Delta } from './subscription.ts';

/** One client's stream, for debug pages and metrics. */
export interface XdsConnection<Caller> {
  readonly id: number;
  readonly caller: Caller;
  readonly remoteAddress: string;
  /** Milliseconds since 1970. */
  readonly connectedAt: number;
  /** From the first request; undefined until then. */
  readonly node: Node | undefined;
  readonly types: ReadonlyMap<string, XdsTypeState>;
}

/** How far a client is with one type. */
export interface XdsTypeState {
  readonly wildcard: boolean;
  /** Nonces; equal when the client has answered the last response. Empty before the first. */
  readonly sent: string;
  readonly answered: string;
  /** The client's complaint about the last response that it answered; undefined when it accepted it. */
  readonly rejected: string | undefined;
  /** Responses sent, and those the client refused. */
  readonly pushes: number;
  readonly rejections: number;
}

export interface XdsServerOptions<Caller> {
  /** In the order in which changes of several types go out: what is referred to comes before what refers to it. */
  readonly tables: readonly ResourceTable[];
  /** Who calls; throws when that cannot be told, and the stream ends with `Unauthenticated` (the reason is only logged). */
  readonly authenticate: (context: CallContext) => Promise<Caller> | Caller;
  /** Whether the caller may have this type; a string is the reason why not, and the stream ends with `PermissionDenied`. */
  readonly authorize?: (request: { readonly caller: Caller; readonly node: Node | undefined; readonly typeUrl: string }) => true | string;
  /** Keys that an on-demand client gets without asking, such as the one that all workloads of its node are part of. */
  readonly implicitKeys?: (request: { readonly typeUrl: string; readonly node: Node | undefined }) => readonly string[];
  readonly onConnect?: (connection: XdsConnection<Caller>) => void;
  readonly onDisconnect?: (connection: XdsConnection<Caller>) => void;
  /** A client refused a response. */
  readonly onRejected?: (connection: XdsConnection<Caller>, typeUrl: string, message: string) => void;
  readonly log: Logger;
}

interface TypeState {
  readonly subscription: Subscription;
  sent: string;
  answered: string;
  rejected: string | undefined;
  pushes: number;
  rejections: number;
  stop: () => void;
}

/**
 * The delta discovery service (ADS) over a set of {@link ResourceTable}s.
 *
 * A change goes out at once to a client whose last response has been handed to the socket; for one that is still taking a response,
 * changes gather as names and go out together after it. There is no waiting for quiet.
 */
export class XdsServer<Caller> {
  readonly #options: XdsServerOptions<Caller>;
  readonly #tables: ReadonlyMap<string, ResourceTable>;
  readonly #connections = new Set<Connection<Caller>>();
  /** A whole table takes several times its size while it is on its way: after a restart, all clients ask for it at once. */
  readonly #gate = new Gate({ places: 8, patienceMs: 5_000 });
  #nextId = 1;

  constructor(options: XdsServerOptions<Caller>) {
    this.#options = options;
    this.#tables = new Map(options.tables.map((table) => [table.typeUrl, table]));
  }

  /** Adds the service to a connect router; other services may share it. */
  readonly routes = (router: ConnectRouter): void => {
    router.service(AggregatedDiscoveryService, {
      deltaAggregatedResources: (requests, context) => this.#stream(requests, context),
    });
  };

  connections(): Iterable<XdsConnection<Caller>> {
    return this.#connections;
  }

  /** Ends every stream, so that clients reconnect elsewhere; new ones are still served. */
  disconnectAll(): void {
    for (const connection of this.#connections) connection.close();
  }

  async *#stream(requests: AsyncIterable<DeltaDiscoveryRequest>, context: HandlerContext): AsyncGenerator<DeltaDiscoveryResponse> {
    const call = callerOf(context);
    const caller = await this.#authenticate(call);
    const connection = new Connection<Caller>({
      id: this.#nextId++,
      caller,
      remoteAddress: call.remoteAddress,
      server: this.#options,
      tables: this.#tables,
      gate: this.#gate,
    });
    this.#connections.add(connection);
    this.#options.onConnect?.(connection);
    const onAbort = (): void => connection.close();
    context.signal.addEventListener('abort', onAbort, { once: true });
    try {
      void connection.read(requests);
      yield* connection.responses();
    } finally {
      context.signal.removeEventListener('abort', onAbort);
      connection.close();
      this.#connections.delete(connection);
      this.#options.onDisconnect?.(connection);
    }
  }

  async #authenticate(call: CallContext): Promise<Caller> {
    try {
      return await this.#options.authenticate(call);
    } catch (error) {
      this.#options.log.warn({ remote: call.remoteAddress, error: describeError(error) }, 'xDS caller refused');
      throw new ConnectError('authentication failure', Code.Unauthenticated);
    }
  }
}

/** One stream: a reader that keeps the subscriptions, and a writer that is woken when one of them is due. */
class Connection<Caller> implements XdsConnection<Caller> {
  readonly id: number;
  readonly caller: Caller;
  readonly remoteAddress: string;
  readonly connectedAt = Date.now();
  readonly #server: XdsServerOptions<Caller>;
  readonly #tables: ReadonlyMap<string, ResourceTable>;
  readonly #gate: Gate;
  readonly #states = new Map<string, TypeState>();
  #node: Node | undefined;
  #nonce = 0;
  #closed = false;
  #failure: unknown;
  #wake: (() => void) | undefined;

  constructor(options: {
    id: number;
    caller: Caller;
    remoteAddress: string;
    server: XdsServerOptions<Caller>;
    tables: ReadonlyMap<string, ResourceTable>;
    gate: Gate;
  }) {
    this.id = options.id;
    this.caller = options.caller;
    this.remoteAddress = options.remoteAddress;
    this.#server = options.server;
    this.#tables = options.tables;
    this.#gate = options.gate;
  }

  get node(): Node | undefined {
    return this.#node;
  }

  get types(): ReadonlyMap<string, XdsTypeState> {
    return new Map([...this.#states].map(([typeUrl, state]) => [typeUrl, { ...state, wildcard: state.subscription.wildcard }]));
  }

  /** Takes requests until the client ends its half or breaks the rules; never rejects: a failure ends {@link responses}. */
  async read(requests: AsyncIterable<DeltaDiscoveryRequest>): Promise<void> {
    try {
      for await (const request of requests) {
        if (this.#closed) return;
        this.#request(request);
      }
      this.close();
    } catch (error) {
      this.close(error);
    }
  }

  /** Ends the stream; with an error, its status is the error's. */
  close(failure?: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#failure = failure;
    for (const state of this.#states.values()) state.stop();
    this.#wake?.();
  }

  /** Is asked for the next response when the one before is with the socket, and waits while nothing is due. */
  async *responses(): AsyncGenerator<DeltaDiscoveryResponse> {
    for (;;) {
      if (this.#closed) break;
      const state = this.#due();
      if (state === undefined) {
        await this.#idle();
        continue;
      }
      const leave = state.subscription.isWhole ? await this.#gate.enter() : undefined;
      try {
        const response = this.#respond(state);
        if (response !== undefined) yield response;
      } finally {
        leave?.();
      }
    }
    if (this.#failure !== undefined) throw ConnectError.from(this.#failure);
  }

  #idle(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#wake = () => resolve(undefined);
    return promise.then(() => {
      this.#wake = undefined;
    });
  }

  #request(request: DeltaDiscoveryRequest): void {
    this.#node ??= request.node;
    const { typeUrl } = request;
    let state = this.#states.get(typeUrl);
    if (state === undefined) {
      const table = this.#tables.get(typeUrl);
      const verdict = table === undefined ? true : (this.#server.authorize?.({ caller: this.caller, node: this.#node, typeUrl }) ?? true);
      if (verdict !== true) throw new ConnectError(verdict, Code.PermissionDenied);
      state = this.#open(typeUrl, table);
    }
    this.#answered(typeUrl, state, request);
    state.subscription.request(request, this.#server.implicitKeys?.({ typeUrl, node: this.#node }) ?? []);
    if (state.subscription.due) this.#wake?.();
  }

  /** A type that this server does not have is an empty one: clients of other versions are not cut off. */
  #open(typeUrl: string, table: ResourceTable | undefined): TypeState {
    const subscription = new Subscription(table ?? emptyTable(typeUrl));
    const stop = table?.onChange((names) => {
      subscription.changed(names);
      if (subscription.due) this.#wake?.();
    });
    const state: TypeState = {
      subscription,
      sent: '',
      answered: '',
      rejected: undefined,
      pushes: 0,
      rejections: 0,
      stop: () => stop?.(),
    };
    this.#states.set(typeUrl, state);
    return state;
  }

  #answered(typeUrl: string, state: TypeState, { responseNonce, errorDetail }: DeltaDiscoveryRequest): void {
    if (responseNonce === '') return;
    if (errorDetail !== undefined) {
      state.rejections += 1;
      this.#server.onRejected?.(this, typeUrl, errorDetail.message);
    }
    // An answer to an earlier response says nothing about the last one.
    if (responseNonce !== state.sent) return;
    state.answered = responseNonce;
    state.rejected = errorDetail?.message;
  }

  #due(): TypeState | undefined {
    for (const state of this.#inOrder()) if (state.subscription.due) return state;
    return undefined;
  }

  #respond(state: TypeState): DeltaDiscoveryResponse | undefined {
    const delta = state.subscription.take();
    if (delta === undefined) return undefined;
    state.sent = `${this.id}/${++this.#nonce}`;
    state.pushes += 1;
    return encodeResponse(state.subscription.typeUrl, state.sent, delta);
  }

  *#inOrder(): Iterable<TypeState> {
    for (const typeUrl of this.#tables.keys()) {
      const state = this.#states.get(typeUrl);
      if (state !== undefined) yield state;
    }
    for (const [typeUrl, state] of this.#states) if (!this.#tables.has(typeUrl)) yield state;
  }
}

const resourcesField = 2;

/**
 * Resources are put in as raw fields: they are encoded once in the table and only copied here, whatever the number of subscribers.
 */
function encodeResponse(typeUrl: string, nonce: string, { resources, removed }: Delta): DeltaDiscoveryResponse {
  const response = create(DeltaDiscoveryResponseSchema, {
    typeUrl,
    nonce,
    systemVersionInfo: new Date().toISOString(),
    removedResources: [...removed],
  });
  response.$unknown = resources.map(({ wire }) => ({ no: resourcesField, wireType: WireType.LengthDelimited, data: wire }));
  return response;
}

function emptyTable(typeUrl: string): ResourceTable {
  return new ResourceTable({ typeUrl });
}
