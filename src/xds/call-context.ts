import type { X509Certificate } from 'node:crypto';
import type { Http2ServerRequest } from 'node:http2';

import type { TLSSocket } from 'node:tls';

import { createContextKey, createContextValues, type ContextValues, type HandlerContext } from '@connectrpc/connect';

/** What is known of a caller before it has said anything: enough to tell who it is. */
export interface CallContext {
  readonly headers: Headers;
  /** The client's certificate, if it gave one and it chains to the server's roots. What it sent beside it is at `issuerCertificate`, unverified. */
  readonly peerCertificate: X509Certificate | undefined;
  /** Why the certificate that the client gave is not believed; undefined when it is, or when there is none. */
  readonly certificateError: string | undefined;
  /** Address and port, such as `10.10.0.5:41234`. */
  readonly remoteAddress: string;
  /** False on a plaintext listener. */
  readonly encrypted: boolean;
  /** The port on which the connection came in. */
  readonly localPort: number;
}

type Connection = Omit<CallContext, 'headers'>;

const connectionKey = createContextKey<Connection>(
  { peerCertificate: undefined, certificateError: undefined, remoteAddress: 'unknown', encrypted: false, localPort: 0 },
  { description: 'the connection that a call came in on' },
);

/** What is known of the connection that a request came in on. */
export function connectionOf(request: Http2ServerRequest): Connection {
  const session = request.stream.session;
  const socket = session?.socket;
  // The session's socket is a proxy: neither `in` nor `instanceof` tells what is behind it.
  const tls = session?.encrypted === true ? (socket as TLSSocket) : undefined;
  const certificate = tls?.getPeerX509Certificate();
  return {
    peerCertificate: tls?.authorized === true ? certificate : undefined,
    certificateError: tls?.authorized === false && certificate !== undefined ? String(tls.authorizationError) : undefined,
    remoteAddress: socket?.remoteAddress === undefined ? 'unknown' : `${socket.remoteAddress}:${socket.remotePort ?? 0}`,
    encrypted: session?.encrypted ?? false,
    localPort: socket?.localPort ?? 0,
  };
}

/** For the adapter that serves the routes: keeps what handlers will ask of the connection. */
export function connectionValues(request: Http2ServerRequest): ContextValues {
  return createContextValues().set(connectionKey, connectionOf(request));
}

/** Inside a handler: who is calling. */
export function callerOf(context: HandlerContext): CallContext {
  return { ...context.values.get(connectionKey), headers: context.requestHeader };
}
