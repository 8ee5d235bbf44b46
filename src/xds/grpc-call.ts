import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';

import { Code, ConnectError } from '@connectrpc/connect';

import { connectionOf, type CallContext } from './call-context.ts';

/** A gRPC method that is served message by message, without a library between it and the socket. */
export interface GrpcMethod {
  /** `/package.Service/Method`. */
  readonly path: string;
  /** Runs until the call is over; a ConnectError becomes the call's status. */
  readonly handle: (call: GrpcCall) => Promise<void>;
}

/** Bytes handed to the socket at once. What a call holds is bounded by this and not by the length of its messages. */
const blockBytes = 64 * 1024;
/** Requests are small; a caller that sends more is broken or hostile. */
const requestMaxBytes = 4 * 1024 * 1024;
const prefixBytes = 5;

/**
 * One call with a stream of messages in each direction (gRPC over HTTP/2, application/grpc+proto, uncompressed).
 *
 * A library that takes messages as objects encodes and holds each of them for each client; here a message is a list of parts, which
 * many calls share.
 */
export class GrpcCall {
  readonly context: CallContext;
  readonly #request: Http2ServerRequest;
  readonly #response: Http2ServerResponse;
  readonly #abort = new AbortController();

  constructor(request: Http2ServerRequest, response: Http2ServerResponse) {
    this.#request = request;
    this.#response = response;
    const headers = new Headers();
    for (const [name, value] of Object.entries(request.headers)) {
      if (typeof value === 'string' && !name.startsWith(':')) headers.set(name, value);
    }
    this.context = { ...connectionOf(request), headers };
    response.stream
      .on('error', () => undefined)
      .once('close', () => this.#abort.abort(new ConnectError('the call is closed', Code.Canceled)));
  }

  /** Aborted when the client or the connection is gone. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** The client's messages, until it ends its half. Throws ConnectError for what is no gRPC, or too much. */
  async *messages(): AsyncGenerator<Uint8Array> {
    let rest: Buffer = Buffer.alloc(0);
    for await (const chunk of this.#request as AsyncIterable<Buffer>) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      while (rest.length >= prefixBytes) {
        if (rest[0] !== 0) throw new ConnectError('compressed messages are not taken', Code.Unimplemented);
        const length = rest.readUInt32BE(1);
        if (length > requestMaxBytes) throw new ConnectError(`a message of ${length} bytes is too long`, Code.ResourceExhausted);
        if (rest.length < prefixBytes + length) break;
        yield rest.subarray(prefixBytes, prefixBytes + length);
        rest = rest.subarray(prefixBytes + length);
      }
    }
    if (rest.length > 0 && !this.signal.aborted) throw new ConnectError('the stream ended inside a message', Code.InvalidArgument);
  }

  /** Sends one message, given in parts. Resolves when the socket has room again; throws when the call is over. */
  async write(parts: readonly Uint8Array[]): Promise<void> {
    const prefix = Buffer.alloc(prefixBytes);
    prefix.writeUInt32BE(
      parts.reduce((sum, { length }) => sum + length, 0),
      1,
    );
    let block: Uint8Array[] = [prefix];
    let size = prefixBytes;
    for (const part of parts) {
      if (size + part.length > blockBytes && size > 0) {
        await this.#send(block, size);
        block = [];
        size = 0;
      }
      block.push(part);
      size += part.length;
    }
    if (size > 0) await this.#send(block, size);
  }

  async #send(block: readonly Uint8Array[], size: number): Promise<void> {
    this.signal.throwIfAborted();
    const [first] = block;
    const bytes = block.length === 1 && first !== undefined ? first : Buffer.concat(block, size);
    if (this.#response.stream.write(bytes)) return;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const done = (): void => resolve(undefined);
    const { stream } = this.#response;
    stream.once('drain', done).once('close', done);
    await promise;
    stream.off('drain', done).off('close', done);
    this.signal.throwIfAborted();
  }
}

/** Serves one request with a method: answers the headers at once, and the status when the method is done. */
export async function serveCall(method: GrpcMethod, request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
  const contentType = request.headers['content-type'] ?? '';
  if (request.method !== 'POST' || !/^application\/grpc(\+proto)?(;|$)/.test(contentType)) {
    response.writeHead(request.method === 'POST' ? 415 : 405).end();
    return;
  }
  const call = new GrpcCall(request, response);
  response.writeHead(200, { 'content-type': 'application/grpc+proto' });
  response.stream.on('error', () => undefined);
  let failure: ConnectError | undefined;
  try {
    await method.handle(call);
  } catch (error) {
    failure = ConnectError.from(error);
  }
  if (call.signal.aborted) return;
  response.addTrailers({
    'grpc-status': String(failure?.code ?? 0),
    ...(failure !== undefined && { 'grpc-message': encodeURIComponent(failure.rawMessage) }),
  });
  response.end();
}
