import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { SecureContextOptions } from 'node:tls';

import { createContextValues, type ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';

import { describeError, IsthmusError, type Logger } from '../core/index.ts';
import { connectionValues } from './call-context.ts';
import { serveCall, type GrpcMethod } from './grpc-call.ts';

/** What a TLS listener shows and believes; PEM. */
export interface ServerTls {
  /** The leaf and its intermediates. */
  readonly certificate: string;
  readonly key: string;
  /** Roots that client certificates must chain to; a client may also give none. */
  readonly roots: string;
}

export interface GrpcServerOptions {
  /** Streams that are served without a library between, such as `XdsServer.method`. */
  readonly methods?: readonly GrpcMethod[];
  /** Each adds services. */
  readonly routes?: readonly ((router: ConnectRouter) => void)[];
  /** Absent: plaintext HTTP/2, for a loopback listener. */
  readonly tls?: ServerTls;
  /** End the handshake of clients without a certificate that chains to the roots; default false. */
  readonly requireClientCertificate?: boolean;
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly log: Logger;
}

/** Istio's: a ping every 30 s, 10 s to answer it. */
const pingIntervalMs = 30_000;
const pingTimeoutMs = 10_000;
/** Requests are small; a caller that sends more is broken or hostile. */
const requestMaxBytes = 4 * 1024 * 1024;

/**
 * A gRPC listener: HTTP/2, with TLS or without, that pings its clients and can show a new certificate without a restart.
 * Client certificates are asked for and verified, and not demanded unless it is said: callers without one prove themselves in another way.
 */
export class GrpcServer implements AsyncDisposable {
  readonly #server: Http2Server | Http2SecureServer;
  readonly #sessions = new Set<ServerHttp2Session>();

  private constructor(server: Http2Server | Http2SecureServer) {
    this.#server = server;
  }

  /** Resolves when it listens; throws XDS_LISTEN. */
  static async listen(options: GrpcServerOptions): Promise<GrpcServer> {
    const routed = connectNodeAdapter({
      routes: (router) => {
        for (const add of options.routes ?? []) add(router);
      },
      connect: false,
      grpcWeb: false,
      acceptCompression: [],
      readMaxBytes: requestMaxBytes,
      contextValues: (request) => ('stream' in request ? connectionValues(request) : createContextValues()),
    });
    const methods = new Map((options.methods ?? []).map((method) => [method.path, method]));
    const handler = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
      const method = methods.get(request.url);
      if (method === undefined) routed(request, response);
      else void serveCall(method, request, response);
    };
    const settings = {
      settings: { maxConcurrentStreams: 10_000 },
      // Megabytes; Node's default of 10 refuses new streams while one large response is on its way.
      maxSessionMemory: 1_000,
    };
    const server =
      options.tls === undefined
        ? createServer(settings, handler)
        : createSecureServer(
            { ...settings, ...tlsOptions(options.tls), rejectUnauthorized: options.requireClientCertificate ?? false },
            handler,
          );
    const self = new GrpcServer(server);
    server.on('session', (session: ServerHttp2Session) => self.#track(session));
    server.on('sessionError', (error: Error) => options.log.debug({ error: describeError(error) }, 'gRPC connection failed'));
    server.on('tlsClientError', (error: Error) => options.log.debug({ error: describeError(error) }, 'TLS handshake failed'));
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    server.once('error', reject);
    server.listen({ host: options.host, port: options.port }, () => resolve(undefined));
    try {
      await promise;
    } catch (error) {
      throw new IsthmusError('XDS_LISTEN', `cannot listen on ${options.host}:${options.port}: ${describeError(error)}`);
    }
    server.off('error', reject);
    server.on('error', (error: Error) => options.log.error({ error: describeError(error) }, 'gRPC listener failed'));
    return self;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** For connections from now on. */
  setTls(tls: ServerTls): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(tlsOptions(tls));
  }

  /** Stops listening and ends all connections. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const session of this.#sessions) session.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #track(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    let deadline: NodeJS.Timeout | undefined;
    const timer = setInterval(() => {
      if (session.destroyed) return;
      deadline = setTimeout(() => session.destroy(), pingTimeoutMs);
      session.ping(() => clearTimeout(deadline));
    }, pingIntervalMs);
    session.once('close', () => {
      clearInterval(timer);
      clearTimeout(deadline);
      this.#sessions.delete(session);
    });
  }
}

function tlsOptions({ certificate, key, roots }: ServerTls): SecureContextOptions & { requestCert: boolean } {
  return { cert: certificate, key, ca: roots, minVersion: 'TLSv1.2', requestCert: true };
}
