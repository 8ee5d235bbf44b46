import { watch } from 'node:fs';
import { access } from 'node:fs/promises';

import type { Secret } from '../api/kubernetes.ts';
import { resources } from '../api/resources.ts';
import { describeError, sleep, type Logger } from '../core/index.ts';
import { isAlreadyExists, type KubeClient } from '../kube/index.ts';
import { authorityFiles, CertificateAuthority, createRoot, readAuthority, type AuthorityMaterial } from '../pki/index.ts';

const selfSignedSecret = 'istio-ca-secret';

export interface AuthorityOptions {
  readonly client: KubeClient;
  /** With the files of the Secret `cacerts`, when the mesh has an authority of its own. */
  readonly directory: string;
  readonly namespace: string;
  /** Organization of a self-signed root. */
  readonly trustDomain: string;
  readonly log: Logger;
}

/** The authority that signs for this cluster now. Handlers hear of another one: the files changed. */
export class AuthoritySource {
  readonly #handlers = new Set<() => void>();
  readonly #options: AuthorityOptions;
  #current: CertificateAuthority;
  /** Whether it comes from files. */
  #mounted: boolean;

  private constructor(options: AuthorityOptions, current: CertificateAuthority, mounted: boolean) {
    this.#options = options;
    this.#current = current;
    this.#mounted = mounted;
  }

  /**
   * The authority in the directory, else the self-signed one in the Secret istio-ca-secret, made when there is none.
   * Throws when files are there and do not make an authority: signing with another root would split the mesh.
   */
  static async open(options: AuthorityOptions, signal: AbortSignal): Promise<AuthoritySource> {
    const mounted = await exists(`${options.directory}/${authorityFiles.certificate}`);
    const material = mounted ? await readAuthority(options.directory) : await selfSigned(options, signal);
    const authority = await CertificateAuthority.create({ material });
    options.log.info(
      { mounted, fingerprint: authority.fingerprint, notAfter: new Date(authority.notAfter).toISOString() },
      'authority ready',
    );
    return new AuthoritySource(options, authority, mounted);
  }

  get current(): CertificateAuthority {
    return this.#current;
  }

  onChange(handler: () => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Follows the files until the signal is aborted. A change that does not make an authority is logged, and the old one stays. */
  async run(signal: AbortSignal): Promise<void> {
    if (!this.#mounted) return;
    const { directory, log } = this.#options;
    let changed = Promise.withResolvers<undefined>();
    const watcher = watch(directory, { signal }, () => changed.resolve(undefined));
    watcher.on('error', (error) => {
      if (!signal.aborted) log.error({ directory, error: describeError(error) }, 'authority files cannot be watched');
    });
    const stopped = new Promise<undefined>((resolve) => signal.addEventListener('abort', () => resolve(undefined), { once: true }));
    for (;;) {
      await Promise.race([changed.promise, stopped]);
      if (signal.aborted) return;
      // A mounted Secret changes in several steps; what is in between is no authority.
      await sleep(100, signal).catch(() => undefined);
      changed = Promise.withResolvers<undefined>();
      await this.#reload();
    }
  }

  async #reload(): Promise<void> {
    const { directory, log } = this.#options;
    try {
      const authority = await CertificateAuthority.create({ material: await readAuthority(directory) });
      if (authority.fingerprint === this.#current.fingerprint && authority.roots === this.#current.roots) return;
      this.#current = authority;
      log.info({ fingerprint: authority.fingerprint }, 'authority changed');
    } catch (error) {
      log.error({ directory, error: describeError(error) }, 'changed authority files cannot be used; the old authority stays');
      return;
    }
    for (const handler of this.#handlers) handler();
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

/** Any replica may make it; the others read what the first one wrote. */
async function selfSigned({ client, namespace, trustDomain, log }: AuthorityOptions, signal: AbortSignal): Promise<AuthorityMaterial> {
  const ref = { name: selfSignedSecret, namespace };
  const found = await client.find(resources.secrets, ref, signal);
  if (found !== undefined) return fromSecret(found);
  const material = await createRoot({ organization: trustDomain });
  const secret: Secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: ref,
    type: 'istio.io/ca-root',
    data: {
      [authorityFiles.certificate]: base64(material.certificate),
      [authorityFiles.key]: base64(material.key),
      [authorityFiles.roots]: base64(material.roots),
      [authorityFiles.chain]: '',
    },
  };
  try {
    await client.create(resources.secrets, secret, { signal });
    log.info({ secret: selfSignedSecret }, 'self-signed root made');
    return material;
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    return fromSecret(await client.get(resources.secrets, ref, signal));
  }
}

function fromSecret({ data = {} }: Secret): AuthorityMaterial {
  const text = (name: string): string => Buffer.from(data[name] ?? '', 'base64').toString('utf8');
  const certificate = text(authorityFiles.certificate);
  return {
    certificate,
    key: text(authorityFiles.key),
    roots: text(authorityFiles.roots) || certificate,
    chain: text(authorityFiles.chain) || certificate,
  };
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
