import { X509Certificate } from 'node:crypto';
import type { SecureClientSessionOptions } from 'node:http2';
import type { Duplex } from 'node:stream';
import { checkServerIdentity, type DetailedPeerCertificate } from 'node:tls';

import type { Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';

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
  const socket = await options.connect?.(signal);
  let refused: unknown;
  const manager = new Http2SessionManager(
    options.url,
    { pingIntervalMs: 30_000, pingTimeoutMs: 10_000, pingIdleConnection: true },
    {
      ...tlsOptions(options.tls, (reason) => {
        refused = reason;
      }),
      ...(socket !== undefined && (options.tls === undefined ? { createConnection: () => socket } : { socket })),
      settings: { initialWindowSize: 4 * 1024 * 1024, enablePush: false },
      maxSessionMemory: 1_000,
    },
  );
  const onAbort = (): void => manager.abort(new Error('stopped'));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const state = await manager.connect();
    options.signal.throwIfAborted();
    if (state === 'error' || signal.aborted) {
      if (refused !== undefined) throw refused as Error;
      const cause = timeout.aborted ? new Error('no answer in time') : manager.error();
      throw new IsthmusError('XDS_CONNECT', `cannot connect to ${options.url}`, { cause });
    }
  } catch (error) {
    manager.abort(new Error(describeError(error)));
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  return {
    transport: createGrpcTransport({
      baseUrl: options.url,
      sessionManager: manager,
      acceptCompression: [],
      readMaxBytes: responseMaxBytes,
    }),
    [Symbol.dispose]: () => manager.abort(new Error('connection closed')),
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
