import { X509Certificate } from 'node:crypto';
import { watch } from 'node:fs';
import { dirname } from 'node:path';

import { Backoff, describeError, IsthmusError, sleep, type Logger } from '../../core/index.ts';
import {
  formatSpiffe,
  isIssuedBy,
  publicKeySha256,
  readCertificates,
  splitPem,
  uriNames,
  type SignedCertificate,
} from '../../pki/index.ts';
import { controlPlaneTls, findPath, readRoots, readToken, requestCertificate, type ServerTls } from '../../xds/index.ts';
import type { PeeringProcessConfig } from './config.ts';

/** Validity that is asked for; what Istio gives workloads. */
const ttlMs = 24 * 3_600_000;
/**
 * A new one is asked for at half of its life, and so often at least: peers hear of a new authority of this cluster over connections that
 * the old one signed, so that it has to be noticed while there are such.
 */
const longestMs = 3_600_000;
/** A ConfigMap changes in several steps. */
const settleMs = 100;

/** A certificate that may be shown to peers. */
export interface PeeringCertificate extends ServerTls {
  /** Hex SHA-256 of the public key of the authority that signed it. */
  readonly authority: string;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * This process's certificate, `ns/<namespace>/sa/isthmus-peering`, signed by the certificate service of the cluster's istiod, which knows
 * the caller by its service account's token.
 */
export class CertificateSource {
  readonly #config: PeeringProcessConfig;
  readonly #log: Logger;
  readonly #handlers = new Set<() => void>();
  readonly #first = Promise.withResolvers<PeeringCertificate>();
  #current: PeeringCertificate | undefined;
  #failure = 'not asked for yet';

  constructor(config: PeeringProcessConfig, log: Logger) {
    this.#config = config;
    this.#log = log;
  }

  /** Resolves with the first one. */
  get first(): Promise<PeeringCertificate> {
    return this.#first.promise;
  }

  /** The present one; throws PEERING_CERTIFICATE with the reason when there is none, or it has expired. */
  get current(): PeeringCertificate {
    if (this.#current === undefined || this.#current.notAfter <= Date.now()) {
      throw new IsthmusError('PEERING_CERTIFICATE', `no certificate: ${this.#failure}`);
    }
    return this.#current;
  }

  /** Who signed the last one, even if it has expired: hex SHA-256 of its public key. Throws PEERING_CERTIFICATE before the first. */
  get authority(): string {
    return (this.#current ?? this.current).authority;
  }

  /** When the last one that was signed expires, or did; milliseconds since 1970. */
  get expiresAt(): number | undefined {
    return this.#current?.notAfter;
  }

  onChange(handler: () => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Keeps it valid until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { authority } = this.#config;
    const backoff = new Backoff({ initial: 200, max: 10_000 });
    const isFile = authority.roots !== 'SYSTEM' && !authority.roots.includes('-----BEGIN');
    let changed = Promise.withResolvers<undefined>();
    using watcher = isFile ? this.#watch(authority.roots, () => changed.resolve(undefined)) : undefined;
    if (isFile && watcher === undefined) this.#log.warn({ path: authority.roots }, 'a changed root is seen at the next renewal only');
    let roots = '';
    const stopped = (): boolean => signal.aborted;
    while (!stopped()) {
      let wait: number;
      try {
        roots = await readRoots(authority.roots);
        const certificate = await this.#request(roots, signal);
        backoff.reset();
        this.#take(certificate);
        wait = Math.min(longestMs, Math.max(1_000, (certificate.notBefore + certificate.notAfter) / 2 - Date.now()));
      } catch (error) {
        if (stopped()) return;
        wait = backoff.next();
        this.#failure = describeError(error);
        this.#log.warn({ code: 'PEERING_CERTIFICATE', error: this.#failure, retryMs: wait }, 'no certificate from istiod');
      }
      const until = performance.now() + wait;
      do {
        changed = Promise.withResolvers<undefined>();
        const woken = new AbortController();
        const left = Math.max(0, until - performance.now());
        await Promise.race([changed.promise, sleep(left, AbortSignal.any([signal, woken.signal])).catch(() => undefined)]);
        woken.abort();
        if (stopped()) return;
        if (performance.now() < until) await sleep(settleMs, signal).catch(() => undefined);
        // Something else in the directory changed, or nothing.
      } while (performance.now() < until && (await this.#hasRoots(roots)));
    }
  }

  async #hasRoots(roots: string): Promise<boolean> {
    try {
      return (await readRoots(this.#config.authority.roots)) === roots;
    } catch {
      // It is being replaced.
      return true;
    }
  }

  /** The directory: a mounted file is a link that is replaced. */
  #watch(path: string, onChange: () => void): Disposable | undefined {
    const directory = dirname(findPath(path));
    try {
      const watcher = watch(directory, { persistent: false }, onChange);
      watcher.on('error', (error) => this.#log.warn({ directory, error: describeError(error) }, 'root certificates cannot be watched'));
      return { [Symbol.dispose]: () => watcher.close() };
    } catch (error) {
      this.#log.warn({ directory, error: describeError(error) }, 'root certificates cannot be watched');
      return undefined;
    }
  }

  async #request(roots: string, signal: AbortSignal): Promise<PeeringCertificate> {
    const { authority, clusterId, trustDomain, namespace, serviceAccount } = this.#config;
    const identity = formatSpiffe({ trustDomain, namespace, serviceAccount });
    const signed = await requestCertificate(
      identity,
      {
        address: authority.url,
        tls: () => controlPlaneTls(authority.url, roots, authority.alternativeName),
        headers: async () => {
          const token = await readToken(authority.token);
          if (token === undefined) throw new IsthmusError('ISTHMUS_CONFIG_INVALID', `AUTH_TOKEN: there is no file ${authority.token}`);
          return { clusterid: clusterId, authorization: `Bearer ${token}` };
        },
        ttlMs,
      },
      signal,
    );
    return toPeeringCertificate(identity, signed, roots);
  }

  #take(certificate: PeeringCertificate): void {
    const isOther = this.#current?.authority !== certificate.authority;
    this.#current = certificate;
    this.#failure = 'expired, and not renewed';
    const notAfter = new Date(certificate.notAfter).toISOString();
    this.#log.info({ authority: certificate.authority, notAfter }, isOther ? 'certificate of an authority' : 'certificate renewed');
    this.#first.resolve(certificate);
    for (const handler of this.#handlers) handler();
  }
}

/** Checks what istiod gave. Throws PEERING_CERTIFICATE. */
function toPeeringCertificate(identity: string, signed: SignedCertificate, moreRoots: string): PeeringCertificate {
  const [leaf, ...chain] = readCertificates(signed.certificateChain, "istiod's answer");
  if (leaf === undefined) throw new IsthmusError('PEERING_CERTIFICATE', 'the answer of istiod holds no certificate');
  if (!uriNames(leaf).includes(identity)) {
    throw new IsthmusError('PEERING_CERTIFICATE', `istiod signed for ${leaf.subjectAltName ?? 'nobody'}, asked for was ${identity}`, {
      hint: 'the token has to be that of the service account in the identity, and TRUST_DOMAIN that of istiod',
    });
  }
  const roots = [...new Set([...splitPem(signed.roots), ...splitPem(moreRoots)])];
  const issuer = [...chain, ...roots.map((root) => new X509Certificate(root))].find((one) => isIssuedBy(leaf, one));
  if (issuer === undefined) throw new IsthmusError('PEERING_CERTIFICATE', 'the answer of istiod does not hold the authority that signed');
  const shown = chain.some((one) => one.raw.equals(issuer.raw)) ? [leaf, ...chain] : [leaf, ...chain, issuer];
  return {
    // Peers tell clusters apart by the authority, and have to be shown it, a root as well.
    certificate: shown.map((one) => one.toString()).join(''),
    key: signed.privateKey,
    roots: roots.join(''),
    authority: publicKeySha256(issuer),
    notBefore: leaf.validFromDate.getTime(),
    notAfter: leaf.validToDate.getTime(),
  };
}
