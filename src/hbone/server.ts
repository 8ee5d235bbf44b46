import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

import { IsthmusError } from '../core/index.ts';
import { parseRequest } from './connect-request.ts';
import { ErrorCode } from './errors.ts';
import type { HeaderField } from './hpack/dynamic-table.ts';
import { Keepalive, type KeepaliveOptions } from './keepalive.ts';
import { Session } from './session.ts';
import { serverSettings } from './settings.ts';
import type { TunnelStream } from './stream.ts';
import { TlsAcceptor, type ConnectionEnds, type TlsCredentials } from './tls.ts';

/** A CONNECT that waits for its answer, which is the first of `accept` and `refuse` to be called. */
export interface IncomingConnect extends ConnectionEnds {
  readonly authority: string;
  readonly headers: ReadonlyMap<string, readonly string[]>;
  /** The client's SPIFFE identity, proved by its certificate. */
  readonly peerIdentity: string;
  /** Aborted when the stream is over before it was answered. */
  readonly gone: AbortSignal;
  /** Answers 200; the stream is the caller's from then on. */
  accept(headers: readonly HeaderField[]): TunnelStream;
  /** Answers with an error status and ends the stream; nothing happens when it was answered already. */
  refuse(status: number): void;
}

export interface HboneServerOptions {
  /** The credentials at the time of a handshake. */
  readonly credentials: () => Promise<TlsCredentials>;
  readonly onConnect: (request: IncomingConnect) => void;
  /** A client did not get as far as a request. */
  readonly onRefused: (error: Error, ends: ConnectionEnds) => void;
  readonly keepalive?: KeepaliveOptions;
}

/** Takes HBONE connections on sockets that somebody else accepts. */
export class HboneServer implements AsyncDisposable {
  readonly #options: HboneServerOptions;
  readonly #acceptor: TlsAcceptor;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<Session>();
  #draining = false;

  constructor(options: HboneServerOptions) {
    this.#options = options;
    this.#acceptor = new TlsAcceptor({
      onConnection: (tls, identity, ends) => {
        this.#serve(tls, identity, ends);
      },
      onRefused: options.onRefused,
    });
  }

  get connections(): number {
    return this.#sessions.size;
  }

  /** Serves an accepted socket, which is the server's from now on. */
  handle(socket: Socket): void {
    const ends = endsOf(socket);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined);
    this.#options.credentials().then(
      (credentials) => {
        if (!socket.destroyed) this.#acceptor.accept(socket, ends, credentials);
      },
      (error: unknown) => {
        socket.destroy();
        this.#options.onRefused(error instanceof Error ? error : new Error(String(error)), ends);
      },
    );
  }

  /** No new streams; connections close when their last stream ends. */
  drain(): void {
    this.#draining = true;
    for (const session of this.#sessions) session.drain();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#draining = true;
    for (const session of this.#sessions) session.destroy(new IsthmusError('HBONE_CLOSED', 'the server stops'));
    for (const socket of this.#sockets) socket.destroySoon();
    return Promise.resolve();
  }

  #serve(tls: TLSSocket, peerIdentity: string, ends: ConnectionEnds): void {
    const session = new Session({
      socket: tls,
      role: 'server',
      settings: serverSettings,
      onStream: (stream, fields, endStream) => {
        this.#onStream(stream, fields, endStream, { ...ends, peerIdentity });
      },
      onClose: () => {
        keepalive.stop();
        this.#sessions.delete(session);
      },
    });
    const keepalive = new Keepalive(session, this.#options.keepalive);
    this.#sessions.add(session);
    if (this.#draining) session.drain();
  }

  #onStream(
    stream: TunnelStream,
    fields: readonly HeaderField[],
    _endStream: boolean,
    connection: ConnectionEnds & { readonly peerIdentity: string },
  ): void {
    const request = parseRequest(fields);
    if (request.kind === 'malformed') {
      stream.reset(ErrorCode.PROTOCOL_ERROR, new IsthmusError('HBONE_PROTOCOL', `malformed request: ${request.reason}`));
      return;
    }
    if (request.kind === 'other') {
      refuse(stream, 400);
      return;
    }
    const gone = new AbortController();
    stream.detach(() => {
      gone.abort(new IsthmusError('HBONE_STREAM_RESET', 'the client gave up before it was answered'));
    });
    let answered = false;
    this.#options.onConnect({
      ...connection,
      authority: request.authority,
      headers: request.headers,
      gone: gone.signal,
      accept: (headers) => {
        answered = true;
        stream.sendHeaders([[':status', '200'], ...headers], false);
        return stream;
      },
      refuse: (status) => {
        if (!answered) refuse(stream, status);
        answered = true;
      },
    });
  }
}

/** The answer of a server that wants nothing of what the client may still send, as upstream gives it. */
function refuse(stream: TunnelStream, status: number): void {
  stream.sendHeaders([[':status', String(status)]], true);
  stream.reset(ErrorCode.NO_ERROR);
}

function endsOf(socket: Socket): ConnectionEnds {
  return {
    remoteAddress: socket.remoteAddress ?? '',
    remotePort: socket.remotePort ?? 0,
    localAddress: socket.localAddress ?? '',
    localPort: socket.localPort ?? 0,
  };
}
