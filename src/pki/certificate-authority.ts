import { X509Certificate } from 'node:crypto';

import type * as X509 from '@peculiar/x509';

import { IsthmusError } from '../core/index.ts';
import { authorityFingerprint, verifyAuthority, type AuthorityMaterial, type VerifiedAuthority } from './authority-material.ts';
import { verifyCsr } from './csr.ts';
import { generateKeys, privateKeyPem, signingKey, type CryptoKey, type KeyType } from './keys.ts';
import { clockSkewMs, issuerKeyIdentifier, loadX509 } from './x509.ts';

const dayMs = 24 * 3600 * 1000;

export interface CertificateAuthorityOptions {
  readonly material: AuthorityMaterial;
  /** When a caller asks for no time; default 24 h, milliseconds. */
  readonly defaultTtlMs?: number;
  /** More is refused; default 90 days, milliseconds. */
  readonly maxTtlMs?: number;
}

/** A certificate that was made. */
export interface IssuedCertificate {
  /** PEM, the leaf alone. */
  readonly leaf: string;
  /** PEM, one each: from the leaf's issuer up to, and without, the root. */
  readonly intermediates: readonly string[];
  /** PEM: all roots that are believed. */
  readonly roots: string;
  readonly serialNumber: string;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A certificate with its key, for a server of our own. */
export interface KeyedCertificate extends IssuedCertificate {
  /** PKCS#8 PEM. */
  readonly key: string;
  /** PEM: the leaf and its intermediates, as a TLS server shows them. */
  readonly chain: string;
}

/** Signs the certificates of one cluster's workloads. Immutable: rotation makes another one. */
export class CertificateAuthority {
  readonly #authority: VerifiedAuthority;
  readonly #signer: CryptoKey;
  readonly #defaultTtlMs: number;
  readonly #maxTtlMs: number;

  private constructor(authority: VerifiedAuthority, signer: CryptoKey, options: CertificateAuthorityOptions) {
    this.#authority = authority;
    this.#signer = signer;
    this.#defaultTtlMs = options.defaultTtlMs ?? dayMs;
    this.#maxTtlMs = options.maxTtlMs ?? 90 * dayMs;
  }

  /** Throws PKI_CA_INVALID when the material does not belong together, PKI_CA_NOT_READY when it has expired. */
  static async create(options: CertificateAuthorityOptions): Promise<CertificateAuthority> {
    const authority = verifyAuthority(options.material);
    return new CertificateAuthority(authority, await signingKey(authority.key, "the authority's key"), options);
  }

  /** PEM: what workloads must believe. */
  get roots(): string {
    return this.#authority.material.roots;
  }

  /** Hex SHA-256 of the signing key: what peers pin. */
  get fingerprint(): string {
    return authorityFingerprint(this.#authority);
  }

  /** The end of the authority itself, milliseconds since 1970: no certificate outlives it. */
  get notAfter(): number {
    return this.#authority.notAfter;
  }

  /**
   * A certificate for the key of a request, with `uri` as its only name. Throws PKI_CSR for a request that cannot be accepted and
   * PKI_TTL for a longer time than allowed (0 or less: the default time).
   */
  async issueFromCsr(request: { readonly csr: string; readonly uri: string; readonly ttlMs?: number }): Promise<IssuedCertificate> {
    const publicKey = await verifyCsr(request.csr, request.uri);
    const ttlMs = request.ttlMs === undefined || request.ttlMs <= 0 ? this.#defaultTtlMs : request.ttlMs;
    if (ttlMs > this.#maxTtlMs) {
      throw new IsthmusError('PKI_TTL', `a certificate was asked for ${ttlMs / 1000} s, the most allowed is ${this.#maxTtlMs / 1000} s`);
    }
    return await this.#sign({ publicKey, ttlMs, uris: [request.uri], dnsNames: [] });
  }

  /** A key and a certificate for a server of this process: istiod's own names, and its SPIFFE identity beside them. */
  async issueServing(request: {
    readonly dnsNames: readonly string[];
    readonly uris: readonly string[];
    /** Default: the default time of workloads. */
    readonly ttlMs?: number;
    readonly keyType?: KeyType;
  }): Promise<KeyedCertificate> {
    const keys = await generateKeys(request.keyType ?? 'ecdsa-p256');
    const ttlMs = request.ttlMs ?? this.#defaultTtlMs;
    const issued = await this.#sign({ publicKey: keys.publicKey, ttlMs, uris: request.uris, dnsNames: request.dnsNames });
    return { ...issued, key: await privateKeyPem(keys.privateKey), chain: [issued.leaf, ...issued.intermediates].join('') };
  }

  async #sign(leaf: {
    readonly publicKey: X509.PublicKey | CryptoKey;
    readonly ttlMs: number;
    readonly uris: readonly string[];
    readonly dnsNames: readonly string[];
  }): Promise<IssuedCertificate> {
    const x509 = await loadX509();
    const now = Date.now();
    if (now >= this.#authority.notAfter) {
      throw new IsthmusError(
        'PKI_CA_NOT_READY',
        `the certificate authority expired at ${new Date(this.#authority.notAfter).toISOString()}`,
      );
    }
    const issuer = new x509.X509Certificate(this.#authority.certificate.raw);
    const flags = x509.KeyUsageFlags;
    const notBefore = new Date(now - clockSkewMs);
    const notAfter = new Date(Math.min(now + leaf.ttlMs, this.#authority.notAfter));
    const names = [
      ...leaf.dnsNames.map((value) => ({ type: 'dns' as const, value })),
      ...leaf.uris.map((value) => ({ type: 'url' as const, value })),
    ];
    const certificate = await x509.X509CertificateGenerator.create({
      issuer: issuer.subjectName,
      publicKey: leaf.publicKey,
      signingKey: this.#signer,
      notBefore,
      notAfter,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(flags.digitalSignature | flags.keyEncipherment, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        // There is no subject, so the names must be understood (RFC 5280, 4.2.1.6).
        new x509.SubjectAlternativeNameExtension(names, true),
        await issuerKeyIdentifier(x509, issuer),
      ],
    });
    return {
      leaf: `${certificate.toString('pem')}\n`,
      intermediates: this.#authority.intermediates.map((intermediate) => intermediate.toString()),
      roots: this.roots,
      serialNumber: new X509Certificate(Buffer.from(certificate.rawData)).serialNumber,
      notBefore: notBefore.getTime(),
      notAfter: notAfter.getTime(),
    };
  }
}
