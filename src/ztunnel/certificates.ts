import { X509Certificate } from 'node:crypto';

import { Backoff, describeError, IsthmusError, type Logger } from '../core/index.ts';
import type { TlsCredentials } from '../hbone/index.ts';
import type { SignedCertificate } from '../pki/index.ts';

/** Where the proxies of local workloads get their certificates. */
export interface CertificateSource {
  /** The present certificate of an identity; waits for the first one. Rejects with ZTUNNEL_CERTIFICATE. */
  get(identity: string): Promise<TlsCredentials>;
}

/** A certificate as the dump of the state shows it. */
export interface CertificateDump {
  readonly identity: string;
  readonly state: 'Initializing' | 'Available' | `Unavailable: ${string}`;
  readonly credentials: TlsCredentials | undefined;
}

export interface CertificatesOptions {
  /** Asks the authority; rejects with why it will not. */
  readonly sign: (identity: string, signal: AbortSignal) => Promise<SignedCertificate>;
  readonly log: Logger;
  /** Requests to the authority at the same time; default 8, as upstream. */
  readonly concurrency?: number;
}

/** A certificate older than half its time is replaced; after a failure: upstream's waits. */
const failureBackoff = { initial: 1_000, max: 150_000 };

/** A timer longer than this would fire at once. */
const maxTimer = 2 ** 31 - 1;

/**
 * The certificates of the workloads of this node: fetched before they are needed (prefetch), renewed at half their life,
 * kept while renewal fails as long as they are valid, forgotten when their last workload is gone.
 */
export class Certificates implements CertificateSource, Disposable {
  readonly #options: CertificatesOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #stopped = new AbortController();
  readonly #waiting: { readonly entry: Entry; urgent: boolean }[] = [];
  #running = 0;

  constructor(options: CertificatesOptions) {
    this.#options = options;
  }

  async get(identity: string): Promise<TlsCredentials> {
    const entry = this.#ensure(identity, true);
    if (entry.credentials !== undefined && entry.notAfter > Date.now()) return entry.credentials;
    // The failure of the last attempt is everybody's answer until the next one: a connection does not wait for an
    // authority that is down.
    if (entry.failure !== undefined) throw unavailable(identity, entry.failure);
    await entry.first.promise;
    return this.#present(entry);
  }

  #present({ identity, credentials, notAfter, failure }: Entry): TlsCredentials {
    if (credentials !== undefined && notAfter > Date.now()) return credentials;
    throw unavailable(identity, failure ?? (credentials === undefined ? 'the identity is no longer needed' : 'it has expired'));
  }

  /** Fetches a certificate in the background if there is none. */
  prefetch(identity: string): void {
    this.#ensure(identity, false);
  }

  /** Drops a certificate and stops its renewal. */
  forget(identity: string): void {
    const entry = this.#entries.get(identity);
    if (entry === undefined) return;
    this.#entries.delete(identity);
    clearTimeout(entry.timer);
    entry.first.resolve();
  }

  identities(): IterableIterator<string> {
    return this.#entries.keys();
  }

  dump(): CertificateDump[] {
    return [...this.#entries.values()]
      .map(({ identity, credentials, failure }) => ({
        identity,
        credentials,
        state:
          credentials !== undefined
            ? ('Available' as const)
            : failure === undefined
              ? ('Initializing' as const)
              : (`Unavailable: ${failure}` as const),
      }))
      .sort((a, b) => a.identity.localeCompare(b.identity));
  }

  [Symbol.dispose](): void {
    this.#stopped.abort(new Error('stopped'));
    for (const identity of [...this.#entries.keys()]) this.forget(identity);
  }

  #ensure(identity: string, urgent: boolean): Entry {
    let entry = this.#entries.get(identity);
    if (entry === undefined) {
      entry = {
        identity,
        first: Promise.withResolvers(),
        backoff: new Backoff(failureBackoff),
        credentials: undefined,
        notAfter: 0,
        failure: undefined,
        timer: undefined,
      };
      this.#entries.set(identity, entry);
      this.#enqueue(entry, urgent);
    } else if (urgent) this.#promote(entry);
    return entry;
  }

  #enqueue(entry: Entry, urgent: boolean): void {
    this.#waiting.push({ entry, urgent });
    this.#next();
  }

  /** A connection waits for it now: it goes before those that are only prepared. */
  #promote(entry: Entry): void {
    const queued = this.#waiting.find((waiting) => waiting.entry === entry);
    if (queued !== undefined) queued.urgent = true;
  }

  #next(): void {
    while (this.#running < (this.#options.concurrency ?? 8) && !this.#stopped.signal.aborted) {
      const urgent = this.#waiting.findIndex((waiting) => waiting.urgent);
      const [item] = this.#waiting.splice(Math.max(urgent, 0), 1);
      if (item === undefined) return;
      if (this.#entries.get(item.entry.identity) !== item.entry) continue;
      this.#running += 1;
      void this.#fetch(item.entry).finally(() => {
        this.#running -= 1;
        this.#next();
      });
    }
  }

  async #fetch(entry: Entry): Promise<void> {
    const { identity } = entry;
    let wait: number;
    try {
      const signed = await this.#options.sign(identity, this.#stopped.signal);
      const leaf = new X509Certificate(signed.certificateChain);
      const notBefore = leaf.validFromDate.getTime();
      entry.notAfter = leaf.validToDate.getTime();
      entry.credentials = { identity, ...signed };
      entry.failure = undefined;
      entry.backoff.reset();
      wait = Math.max(1_000, (notBefore + entry.notAfter) / 2 - Date.now());
      this.#options.log.debug({ identity, notAfter: leaf.validTo }, 'certificate received');
    } catch (error) {
      if (this.#stopped.signal.aborted) return;
      wait = entry.backoff.next();
      const failure = describeError(error);
      if (entry.notAfter <= Date.now()) {
        entry.credentials = undefined;
        entry.failure = failure;
      }
      this.#options.log.warn(
        { identity, error: failure, retryMs: wait, validUntil: entry.credentials === undefined ? undefined : entry.notAfter },
        'no certificate',
      );
    }
    entry.first.resolve();
    if (this.#entries.get(identity) !== entry) return;
    entry.timer = setTimeout(
      () => {
        this.#enqueue(entry, false);
      },
      Math.min(wait, maxTimer),
    ).unref();
  }
}

interface Entry {
  readonly identity: string;
  /** Resolves after the first attempt, whatever became of it. */
  readonly first: PromiseWithResolvers<void>;
  readonly backoff: Backoff;
  credentials: TlsCredentials | undefined;
  /** Milliseconds since 1970. */
  notAfter: number;
  failure: string | undefined;
  timer: NodeJS.Timeout | undefined;
}

function unavailable(identity: string, why: string): IsthmusError {
  return new IsthmusError('ZTUNNEL_CERTIFICATE', `identity error: no certificate for ${identity}: ${why}`, {
    hint: 'look at the log of istiod for why it does not sign for this workload',
  });
}
