import { webcrypto } from 'node:crypto';

import * as x509 from '@peculiar/x509';

import type { TlsCredentials } from './tls.ts';

/** A root, an intermediate and leaves for tests, made anew each time: no key lies in the repository. */
export class TestAuthority {
  readonly #root: x509.X509Certificate;
  readonly #intermediate: x509.X509Certificate;
  readonly #keys: CryptoKeyPair;

  private constructor(root: x509.X509Certificate, intermediate: x509.X509Certificate, keys: CryptoKeyPair) {
    this.#root = root;
    this.#intermediate = intermediate;
    this.#keys = keys;
  }

  static async create(): Promise<TestAuthority> {
    const rootKeys = await generateKeys();
    const keys = await generateKeys();
    const root = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: '01',
      name: 'O=test, CN=root',
      keys: rootKeys,
      ...validity(),
      signingAlgorithm,
      extensions: [new x509.BasicConstraintsExtension(true, 2, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true)],
    });
    const intermediate = await x509.X509CertificateGenerator.create({
      serialNumber: '02',
      subject: 'O=test, CN=intermediate',
      issuer: root.subject,
      publicKey: keys.publicKey,
      signingKey: rootKeys.privateKey,
      ...validity(),
      signingAlgorithm,
      extensions: [new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true)],
    });
    return new TestAuthority(root, intermediate, keys);
  }

  get roots(): string {
    return this.#root.toString('pem');
  }

  async issue(identity: string): Promise<TlsCredentials> {
    const keys = await generateKeys();
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber: '03',
      subject: '',
      issuer: this.#intermediate.subject,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      ...validity(),
      signingAlgorithm,
      extensions: [
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: identity }], true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      ],
    });
    const privateKey = x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
    return { identity, certificateChain: `${leaf.toString('pem')}\n${this.#intermediate.toString('pem')}\n`, privateKey, roots: `${this.roots}\n` };
  }
}

const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };

function generateKeys(): Promise<CryptoKeyPair> {
  return webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']) as Promise<CryptoKeyPair>;
}

function validity(): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - 60_000), notAfter: new Date(now + 3_600_000) };
}
