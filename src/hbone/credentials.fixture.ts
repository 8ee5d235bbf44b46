import { CertificateAuthority, createRoot, issueIntermediate, verifyAuthority } from '../pki/index.ts';
import type { TlsCredentials } from './tls.ts';

/** A root, an intermediate and leaves for tests, made anew each time: no key lies in the repository. */
export class TestAuthority {
  readonly #authority: CertificateAuthority;

  private constructor(authority: CertificateAuthority) {
    this.#authority = authority;
  }

  static async create(): Promise<TestAuthority> {
    const root = verifyAuthority(await createRoot());
    const material = await issueIntermediate(root, { cluster: 'cluster-1' });
    return new TestAuthority(await CertificateAuthority.create({ material }));
  }

  get roots(): string {
    return this.#authority.roots;
  }

  async issue(identity: string): Promise<TlsCredentials> {
    const { chain, key, roots } = await this.#authority.issueServing({ dnsNames: [], uris: [identity] });
    return { identity, certificateChain: chain, privateKey: key, roots };
  }
}
