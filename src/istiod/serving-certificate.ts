import { describeError, sleep, type Logger } from '../core/index.ts';
import { formatSpiffe, type KeyedCertificate } from '../pki/index.ts';
import type { ServerTls } from '../xds/index.ts';
import type { AuthoritySource } from './authority.ts';
import type { IstiodConfig } from './config.ts';

/** The DNS names under which istiod is reached, sorted: its own and upstream's, and those that the user adds. */
export function servingNames({ namespace, revision, clusterDomain, customHosts }: IstiodConfig): string[] {
  const services = ['istiod', 'istiod-remote', 'istio-pilot', 'isthmus-peering', ...(revision === 'default' ? [] : [`istiod-${revision}`])];
  const names = services.flatMap((service) => [`${service}.${namespace}.svc`, `${service}.${namespace}.svc.${clusterDomain}`]);
  return [...new Set([...names, ...customHosts])].sort();
}

/**
 * istiod's own certificate: its DNS names for proxies, its SPIFFE identity beside them for peers, both as server and as
 * client. Issued by the cluster's authority, renewed at half of its life and whenever the authority changes.
 */
export class ServingCertificate {
  readonly #authority: AuthoritySource;
  readonly #config: IstiodConfig;
  readonly #log: Logger;
  readonly #handlers = new Set<(certificate: KeyedCertificate) => void>();
  #current: KeyedCertificate;

  private constructor(options: { authority: AuthoritySource; config: IstiodConfig; log: Logger }, current: KeyedCertificate) {
    this.#authority = options.authority;
    this.#config = options.config;
    this.#log = options.log;
    this.#current = current;
  }

  static async issue(options: { authority: AuthoritySource; config: IstiodConfig; log: Logger }): Promise<ServingCertificate> {
    return new ServingCertificate(options, await issue(options.authority, options.config));
  }

  get current(): KeyedCertificate {
    return this.#current;
  }

  get tls(): ServerTls {
    return { certificate: this.#current.chain, key: this.#current.key, roots: this.#current.roots };
  }

  onChange(handler: (certificate: KeyedCertificate) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Keeps it valid until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    let changed = Promise.withResolvers<undefined>();
    const stop = this.#authority.onChange(() => changed.resolve(undefined));
    const stopped = (): boolean => signal.aborted;
    try {
      while (!stopped()) {
        const halfLife = (this.#current.notAfter - this.#current.notBefore) / 2;
        const wait = Math.min(Math.max(1_000, this.#current.notBefore + halfLife - Date.now()), 0x7fffffff);
        const woken = new AbortController();
        await Promise.race([changed.promise, sleep(wait, AbortSignal.any([signal, woken.signal])).catch(() => undefined)]);
        woken.abort();
        if (stopped()) return;
        changed = Promise.withResolvers<undefined>();
        await this.#renew();
      }
    } finally {
      stop();
    }
  }

  async #renew(): Promise<void> {
    try {
      this.#current = await issue(this.#authority, this.#config);
    } catch (error) {
      this.#log.error({ error: describeError(error) }, 'serving certificate not renewed');
      return;
    }
    this.#log.info({ notAfter: new Date(this.#current.notAfter).toISOString() }, 'serving certificate renewed');
    for (const handler of this.#handlers) handler(this.#current);
  }
}

async function issue(authority: AuthoritySource, config: IstiodConfig): Promise<KeyedCertificate> {
  const { trustDomain, namespace, serviceAccount } = config;
  return await authority.current.issueServing({
    dnsNames: servingNames(config),
    uris: [formatSpiffe({ trustDomain, namespace, serviceAccount })],
  });
}
