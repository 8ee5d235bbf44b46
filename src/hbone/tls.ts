import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { connect, createSecureContext, Server, type PeerCertificate, type SecureContext, type TLSSocket } from 'node:tls';

import { IsthmusError } from '../core/index.ts';

/** What one workload proves itself with, and whom it trusts. All PEM. */
export interface TlsCredentials {
  /** The leaf's SPIFFE URI. */
  readonly identity: string;
  /** Leaf and intermediates, without the root. */
  readonly certificateChain: string;
  readonly privateKey: string;
  /** All trusted roots. */
  readonly roots: string;
}

/** As upstream: TLS 1.3 with AES-GCM only. */
const protocol = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ciphers: 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256' } as const;
const alpn = ['h2'];
/** A peer that has not finished the handshake by then is given up. Milliseconds. */
const handshakeTimeout = 10_000;

/** Making a context parses certificates and key (0.3 ms); there is one for each set of credentials. */
const contexts = new WeakMap<TlsCredentials, SecureContext>();

function contextOf(credentials: TlsCredentials): SecureContext {
  let context = contexts.get(credentials);
  if (context === undefined) {
    context = createSecureContext(contextOptions(credentials));
    contexts.set(credentials, context);
  }
  return context;
}

function contextOptions({ certificateChain, privateKey, roots }: TlsCredentials) {
  return {
    ...protocol,
    cert: certificateChain,
    key: privateKey,
    ca: roots,
    // No tickets, and no session is ever passed: a resumed session would skip the check of the server's identity.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

/**
 * The client's handshake over a connected socket. The peer's chain has to lead to one of our roots, and one of its URI
 * names has to be one of `expectedIdentities` (an empty list never matches); host names are not looked at and no SNI is
 * sent. Rejects with HBONE_TLS or HBONE_PEER_IDENTITY; the socket is destroyed then.
 */
export async function connectTls(options: {
  readonly socket: Socket;
  readonly credentials: TlsCredentials;
  readonly expectedIdentities: readonly string[];
}): Promise<TLSSocket> {
  const { socket, credentials, expectedIdentities } = options;
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const tls = connect({
    socket,
    secureContext: contextOf(credentials),
    ALPNProtocols: alpn,
    rejectUnauthorized: true,
    checkServerIdentity: (_host, certificate: PeerCertificate) => {
      const presented = uriNames(certificate.subjectaltname);
      if (presented.some((name) => expectedIdentities.includes(name))) return undefined;
      return new IsthmusError(
        'HBONE_PEER_IDENTITY',
        `identity verification error: peer did not present the expected SAN (${expectedIdentities.join(', ')}), got ${presented.join(', ')}`,
      );
    },
  });
  const timer = setTimeout(() => {
    tls.destroy(new Error(`no answer in ${handshakeTimeout} ms`));
  }, handshakeTimeout);
  const onError = (error: Error): void => {
    reject(error instanceof IsthmusError ? error : new IsthmusError('HBONE_TLS', `tls error: ${error.message}`, { cause: error }));
  };
  const onClose = (): void => {
    reject(new IsthmusError('HBONE_TLS', 'tls error: connection closed during the handshake'));
  };
  tls.on('error', onError).once('close', onClose);
  tls.once('secureConnect', () => {
    if (tls.alpnProtocol === 'h2') resolve(tls);
    else tls.destroy(new Error(`peer does not speak h2 (${String(tls.alpnProtocol)})`));
  });
  try {
    return await promise;
  } catch (error) {
    tls.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    tls.off('close', onClose);
    // A failed socket may still have something to say, which is of no use.
    if (!tls.destroyed) tls.off('error', onError);
  }
}

/** The two ends of a TCP connection as its server sees them; addresses as libuv writes them. */
export interface ConnectionEnds {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
}

export interface TlsAcceptorOptions {
  /** Handshake done, and the client's identity is good. */
  readonly onConnection: (socket: TLSSocket, peerIdentity: string, ends: ConnectionEnds) => void;
  /** Handshake failed or the identity was refused; the socket is gone. */
  readonly onRefused: (error: Error, ends: ConnectionEnds) => void;
}

/**
 * The server's side of the handshake, for sockets that others have accepted. A client certificate is required; its chain
 * has to lead to our roots, and one of its SPIFFE names has to be of our own trust domain.
 */
export class TlsAcceptor {
  readonly #server: Server;
  readonly #ends = new WeakMap<Socket, ConnectionEnds>();
  #credentials: TlsCredentials | undefined;

  constructor(options: TlsAcceptorOptions) {
    this.#server = new Server({ ALPNProtocols: alpn, requestCert: true, rejectUnauthorized: true, handshakeTimeout });
    this.#server.on('secureConnection', (tls: TLSSocket) => {
      const ends = this.#endsOf(tls);
      const names = uriNames(tls.getPeerX509Certificate()?.subjectAltName);
      const trustDomain = trustDomainOf(this.#credentials?.identity ?? '');
      const peer = names.find(isSpiffe);
      if (peer !== undefined && names.some((name) => isSpiffe(name) && trustDomainOf(name) === trustDomain)) {
        options.onConnection(tls, peer, ends);
        return;
      }
      tls.on('error', () => undefined).destroy();
      options.onRefused(
        new IsthmusError(
          'HBONE_PEER_IDENTITY',
          `identity verification error: peer did not present the expected trustdomain (${trustDomain}), got ${names.join(', ')}`,
        ),
        ends,
      );
    });
    this.#server.on('tlsClientError', (error, tls) => {
      tls.on('error', () => undefined).destroy();
      options.onRefused(new IsthmusError('HBONE_TLS', `tls handshake error: ${error.message}`, { cause: error }), this.#endsOf(tls));
    });
  }

  /** Starts the handshake on an accepted socket with these credentials, which may differ from one call to the next. */
  accept(socket: Socket, ends: ConnectionEnds, credentials: TlsCredentials): void {
    this.#ends.set(socket, ends);
    if (this.#credentials !== credentials) {
      this.#server.setSecureContext(contextOptions(credentials));
      this.#credentials = credentials;
    }
    this.#server.emit('connection', socket);
  }

  /** What was known of the accepted socket: the TLS socket itself may have lost it when the peer is gone. */
  #endsOf(tls: TLSSocket): ConnectionEnds {
    // Node has no public way from a server's TLS socket to the socket below.
    const below = (tls as unknown as { _parent?: Socket })._parent;
    const known = below === undefined ? undefined : this.#ends.get(below);
    return (
      known ?? {
        remoteAddress: tls.remoteAddress ?? '',
        remotePort: tls.remotePort ?? 0,
        localAddress: tls.localAddress ?? '',
        localPort: tls.localPort ?? 0,
      }
    );
  }
}

/** `spiffe://<trust domain>/…`; empty when it is none. */
export function trustDomainOf(identity: string): string {
  return /^spiffe:\/\/([^/]+)\//.exec(identity)?.[1] ?? '';
}

function isSpiffe(name: string): boolean {
  return /^spiffe:\/\/[^/]*\/ns\/[^/]*\/sa\/[^/]*$/.test(name);
}

/**
 * The URI names of a certificate in Node's text form, `URI:a, DNS:b`. A value that could be mistaken for several is quoted
 * there as a JSON string, so a name cannot smuggle in another one.
 */
export function uriNames(subjectAltName: string | undefined): string[] {
  const names: string[] = [];
  for (const [, type, quoted, plain] of (subjectAltName ?? '').matchAll(/(?:^|, )([A-Za-z ]+):(?:("(?:[^"\\]|\\.)*")|([^,]*))/g)) {
    if (type === 'URI') names.push(quoted === undefined ? (plain ?? '') : String(JSON.parse(quoted)));
  }
  return names;
}
