import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect, type ClientHttp2Session, type SecureClientSessionOptions } from 'node:http2';
import type { Duplex } from 'node:stream';
import { checkServerIdentity, type DetailedPeerCertificate } from 'node:tls';

import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import { createGrpcTransport, type GrpcTransportOptions } from '@connectrpc/connect-node';

import { describeError, IsthmusError } from '../core/index.ts';

/** What a server showed in the handshake, already verified to chain to the roots: the leaf first, the root last. */
export type PeerChain = readonly [X509Certificate, ...X509Certificate[]];

/** TLS of one connection; PEM. Asked for anew at each connection, so that files may change under a running client. */
export interface ClientTls {
  readonly roots: string;
  /** Ours, for mutual TLS. */
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  /** The name to ask for (SNI) and to find in the certificate, when it is not the address's. */
  readonly serverName?: string | undefined;
  /** Replaces the check of the name: throws when the server is not the wanted one. */
  readonly verifyServer?: ((chain: PeerChain) => void) | undefined;
}

export interface GrpcConnectionOptions {
  /** `https://host:port`, or `http://host:port` for plaintext. */
  readonly url: string;
  readonly tls?: ClientTls | undefined;
  /** Default 5 s. */
  readonly connectTimeoutMs?: number;
  /** A ping was answered: the server is there, even if it says nothing. */
  readonly onAlive?: (() => void) | undefined;
  /** A ready TCP connection to use, from another network namespace for example. Default: the process's own. */
  readonly connect?: ((signal: AbortSignal) => Promise<Duplex>) | undefined;
  readonly signal: AbortSignal;
}

/** ztunnel's limit, far above a full response of any cluster that it serves. */
const responseMaxBytes = 200 * 1024 * 1024;

/** One HTTP/2 connection to a gRPC server. Closing it ends its calls. */
export interface GrpcConnection extends Disposable {
  readonly transport: Transport;
}

/**
 * Opens a connection, with keep-alive pings as ztunnel sends them (every 30 s, 10 s to answer). Resolves once TLS is up;
 * throws XDS_CONNECT with the reason, or what `verifyServer` threw.
 */
export async function connectGrpc(options: GrpcConnectionOptions): Promise<GrpcConnection> {
  const timeout = AbortSignal.timeout(options.connectTimeoutMs ?? 5_000);
  const signal = AbortSignal.any([options.signal, timeout]);
  let refused: unknown;
  let session: ClientHttp2Session | undefined;
  try {
    const socket = await options.connect?.(signal);
    session = connect(options.url, {
      ...tlsOptions(options.tls, (reason) => {
        refused = reason;
      }),
      ...(socket !== undefined && (options.tls === undefined ? { createConnection: () => socket } : { socket })),
      settings: { initialWindowSize: 4 * 1024 * 1024, enablePush: false },
      maxSessionMemory: 1_000,
    });
    await once(session, 'connect', { signal });
  } catch (error) {
    session?.on('error', () => undefined).destroy();
    options.signal.throwIfAborted();
    if (refused !== undefined) throw refused as Error;
    const reason = timeout.aborted ? 'no answer in time' : describeError(error);
    throw new IsthmusError('XDS_CONNECT', `cannot connect to ${options.url}: ${reason}`);
  }
  const connection = keepAlive(session, options.onAlive);
  return {
    transport: createGrpcTransport({
      baseUrl: options.url,
      sessionManager: sessionOf(options.url, session),
      acceptCompression: [],
      readMaxBytes: responseMaxBytes,
    }),
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}

/** connect's own session manager would open another connection when this one breaks, behind the back of who has to know. */
function sessionOf(url: string, session: ClientHttp2Session): NonNullable<GrpcTransportOptions['sessionManager']> {
  return {
    authority: new URL(url).origin,
    request: (method, path, headers, options) => {
      if (session.closed || session.destroyed) return Promise.reject(new ConnectError('the connection is closed', Code.Unavailable));
      return Promise.resolve(session.request({ ...headers, ':method': method, ':path': path }, options));
    },
    notifyResponseByteRead: () => undefined,
  };
}

const pingIntervalMs = 30_000;
const pingTimeoutMs = 10_000;

/** Pings, and destroys the connection when a ping is not answered. */
function keepAlive(session: ClientHttp2Session, onAlive: (() => void) | undefined): Disposable {
  let deadline: NodeJS.Timeout | undefined;
  const timer = setInterval(() => {
    if (session.closed || session.destroyed) return;
    deadline = setTimeout(() => session.destroy(new ConnectError('no answer to a ping', Code.Unavailable)), pingTimeoutMs);
    session.ping((error) => {
      clearTimeout(deadline);
      if (error === null) onAlive?.();
    });
  }, pingIntervalMs);
  const stop = (): void => {
    clearInterval(timer);
    clearTimeout(deadline);
  };
  // Streams report what went wrong; without a handler here it would end the process.
  session.on('error', () => undefined).once('close', stop);
  return {
    [Symbol.dispose]: () => {
      stop();
      session.destroy();
    },
  };
}

function tlsOptions(tls: ClientTls | undefined, onRefused: (reason: unknown) => void): SecureClientSessionOptions {
  if (tls === undefined) return {};
  const verify = tls.verifyServer;
  return {
    ca: tls.roots,
    ...(tls.certificate !== undefined && tls.key !== undefined && { cert: tls.certificate, key: tls.key }),
    ...(tls.serverName !== undefined && { servername: tls.serverName }),
    minVersion: 'TLSv1.2',
    checkServerIdentity: (host, certificate) => {
      if (verify === undefined) return checkServerIdentity(tls.serverName ?? host, certificate);
      try {
        verify(chainOf(certificate as DetailedPeerCertificate));
        return undefined;
      } catch (error) {
        onRefused(error);
        return error instanceof Error ? error : new Error(String(error));
      }
    },
  };
}

/** Node links a verified certificate to its issuers; a root is its own issuer. */
function chainOf(leaf: DetailedPeerCertificate): PeerChain {
  const chain: [X509Certificate, ...X509Certificate[]] = [new X509Certificate(leaf.raw)];
  let current = leaf;
  // The types say that there always is an issuer; a chain that ends before its root has none.
  for (;;) {
    const issuer = current.issuerCertificate as DetailedPeerCertificate | undefined;
    if (issuer === undefined || issuer === current || issuer.fingerprint256 === current.fingerprint256) return chain;
    chain.push(new X509Certificate(issuer.raw));
    current = issuer;
  }
}
