import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';

import {
  AggregatedDiscoveryService,
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  type DeltaDiscoveryRequest,
  type Node,
} from '../api/gen/envoy/discovery_pb.js';
import { describeError, type Logger } from '../core/index.ts';
import type { CallContext } from './call-context.ts';
import type { GrpcCall, GrpcMethod } from './grpc-call.ts';
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
  #nextId = 1;

  constructor(options: XdsServerOptions<Caller>) {
    this.#options = options;
    this.#tables = new Map(options.tables.map((table) => [table.typeUrl, table]));
  }

  /** The service's one method, for {@link GrpcServer}. */
  readonly method: GrpcMethod = {
    path: `/${AggregatedDiscoveryService.typeName}/${AggregatedDiscoveryService.method.deltaAggregatedResources.name}`,
    handle: (call) => this.#serve(call),
  };

  connections(): Iterable<XdsConnection<Caller>> {
    return this.#connections;
  }

  /** Ends every stream, so that clients reconnect elsewhere; new ones are still served. */
  disconnectAll(): void {
    for (const connection of this.#connections) connection.close();
  }

  async #serve(call: GrpcCall): Promise<void> {
    const caller = await this.#authenticate(call.context);
    const connection = new Connection<Caller>({ id: this.#nextId++, caller, call, server: this.#options, tables: this.#tables });
    this.#connections.add(connection);
    this.#options.onConnect?.(connection);
    const onAbort = (): void => connection.close();
    call.signal.addEventListener('abort', onAbort, { once: true });
    try {
      void connection.read();
      await connection.write();
    } finally {
      call.signal.removeEventListener('abort', onAbort);
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
  readonly #call: GrpcCall;
  readonly #states = new Map<string, TypeState>();
  #node: Node | undefined;
  #nonce = 0;
  #closed = false;
  #failure: unknown;
  #wake: (() => void) | undefined;

  constructor(options: {
    readonly id: number;
    readonly caller: Caller;
    readonly call: GrpcCall;
    readonly server: XdsServerOptions<Caller>;
    readonly tables: ReadonlyMap<string, ResourceTable>;
  }) {
    this.id = options.id;
    this.caller = options.caller;
    this.remoteAddress = options.call.context.remoteAddress;
    this.#call = options.call;
    this.#server = options.server;
    this.#tables = options.tables;
  }

  get node(): Node | undefined {
    return this.#node;
  }

  get types(): ReadonlyMap<string, XdsTypeState> {
    return new Map([...this.#states].map(([typeUrl, state]) => [typeUrl, { ...state, wildcard: state.subscription.wildcard }]));
  }

  /** Takes requests until the client ends its half or breaks the rules; never rejects: a failure ends {@link write}. */
  async read(): Promise<void> {
    try {
      for await (const message of this.#call.messages()) {
        if (this.#closed) return;
        this.#request(fromBinary(DeltaDiscoveryRequestSchema, message));
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

  /** Writes what is due, one response after the other, each when the socket has taken the one before. */
  async write(): Promise<void> {
    while (!this.#closed) {
      const response = this.#next();
      if (response === undefined) await this.#idle();
      else await this.#call.write(response);
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

  #next(): readonly Uint8Array[] | undefined {
    for (const state of this.#inOrder()) {
      const delta = state.subscription.take();
      if (delta === undefined) continue;
      state.sent = `${this.id}/${++this.#nonce}`;
      state.pushes += 1;
      return encodeResponse(state.subscription.typeUrl, state.sent, delta);
    }
    return undefined;
  }

  *#inOrder(): Iterable<TypeState> {
    for (const typeUrl of this.#tables.keys()) {
      const state = this.#states.get(typeUrl);
      if (state !== undefined) yield state;
    }
    for (const [typeUrl, state] of this.#states) if (!this.#tables.has(typeUrl)) yield state;
  }
}

/** The parts of a response: its own fields, then the resources, which are encoded once in the table, whatever the number of subscribers. */
function encodeResponse(typeUrl: string, nonce: string, { resources, removed }: Delta): readonly Uint8Array[] {
  const response = create(DeltaDiscoveryResponseSchema, {
    typeUrl,
    nonce,
    systemVersionInfo: new Date().toISOString(),
    removedResources: [...removed],
  });
  return [toBinary(DeltaDiscoveryResponseSchema, response), ...resources.map(({ wire }) => wire)];
}

function emptyTable(typeUrl: string): ResourceTable {
  return new ResourceTable({ typeUrl });
}
