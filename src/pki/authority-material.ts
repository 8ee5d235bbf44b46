import type { X509Certificate } from 'node:crypto';
import { type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describeError, IsthmusError } from '../core/index.ts';
import { writeFileAtomic } from './files.ts';
import { readPrivateKey } from './keys.ts';
import { isSelfSigned, publicKeySha256, readCertificates } from './pem.ts';

/** A certificate authority in PEM: what Istio keeps in the Secret `cacerts` and mounts as a directory. */
export interface AuthorityMaterial {
  /** ca-cert.pem: the certificate that signs leaves. */
  readonly certificate: string;
  /** ca-key.pem: its private key. */
  readonly key: string;
  /** cert-chain.pem: the certificate and what stands between it and the root; may end with the root. */
  readonly chain: string;
  /** root-cert.pem: one root, or several during a rotation. */
  readonly roots: string;
}

/** File names in a cacerts directory, and keys of the Secret `cacerts`. */
export const authorityFiles = {
  certificate: 'ca-cert.pem',
  key: 'ca-key.pem',
  chain: 'cert-chain.pem',
  roots: 'root-cert.pem',
} as const satisfies Record<keyof AuthorityMaterial, string>;

/** Material that was found to belong together. */
export interface VerifiedAuthority {
  readonly material: AuthorityMaterial;
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
  /** From the signing certificate up to, and without, the root. Empty when the signing certificate is the root. */
  readonly intermediates: readonly X509Certificate[];
  readonly roots: readonly X509Certificate[];
  /** The earliest end of validity on the path to the root, milliseconds since 1970. */
  readonly notAfter: number;
}

/** The material of a cacerts directory. Throws PKI_FILE when a file is missing: a partial one is never used. */
export async function readAuthority(directory: string): Promise<AuthorityMaterial> {
  const read = async (name: string): Promise<string> => {
    try {
      return await readFile(join(directory, name), 'utf8');
    } catch (error) {
      throw new IsthmusError('PKI_FILE', `cannot read ${join(directory, name)}: ${describeError(error)}`, {
        hint: `a certificate authority needs ${Object.values(authorityFiles).join(', ')}`,
      });
    }
  };
  return {
    certificate: await read(authorityFiles.certificate),
    key: await read(authorityFiles.key),
    chain: await read(authorityFiles.chain),
    roots: await read(authorityFiles.roots),
  };
}

/** Writes a cacerts directory, the key readable by its owner only. */
export async function writeAuthority(directory: string, material: AuthorityMaterial): Promise<void> {
  // The key first: whoever sees the certificate finds its key.
  await writeFileAtomic(join(directory, authorityFiles.key), material.key, 0o600);
  await writeFileAtomic(join(directory, authorityFiles.chain), material.chain, 0o644);
  await writeFileAtomic(join(directory, authorityFiles.roots), material.roots, 0o644);
  await writeFileAtomic(join(directory, authorityFiles.certificate), material.certificate, 0o644);
}

/** Checks that key, certificate, chain and roots belong together. Throws PKI_CA_INVALID, or PKI_CA_NOT_READY by the clock. */
export function verifyAuthority(material: AuthorityMaterial, now = Date.now()): VerifiedAuthority {
  const [certificate] = readCertificates(material.certificate, authorityFiles.certificate);
  const roots = readCertificates(material.roots, authorityFiles.roots);
  if (certificate === undefined) throw invalid(`${authorityFiles.certificate} holds no certificate`);
  if (roots.length === 0) throw invalid(`${authorityFiles.roots} holds no certificate`);
  if (!certificate.ca) throw invalid(`${authorityFiles.certificate} (${certificate.subject}) is not the certificate of an authority`);
  const key = readPrivateKey(material.key, authorityFiles.key);
  if (!certificate.checkPrivateKey(key)) throw invalid(`${authorityFiles.key} is not the key of ${authorityFiles.certificate}`);
  const path = pathToRoot(certificate, readCertificates(material.chain, authorityFiles.chain), roots);
  for (const { subject, validFromDate, validToDate } of path) {
    const name = subject.replaceAll('\n', ', ');
    if (validFromDate.getTime() > now) {
      throw new IsthmusError('PKI_CA_NOT_READY', `the authority's certificate ${name} is not valid before ${validFromDate.toISOString()}`);
    }
    if (validToDate.getTime() <= now) {
      throw new IsthmusError('PKI_CA_NOT_READY', `the authority's certificate ${name} expired at ${validToDate.toISOString()}`);
    }
  }
  return {
    material,
    certificate,
    key,
    intermediates: path.slice(0, -1),
    roots,
    notAfter: Math.min(...path.map(({ validToDate }) => validToDate.getTime())),
  };
}

/** From `certificate` to one of `roots`, both included. */
function pathToRoot(
  certificate: X509Certificate,
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): [X509Certificate, ...X509Certificate[]] {
  const path: [X509Certificate, ...X509Certificate[]] = [certificate];
  let current = certificate;
  while (!roots.some(({ fingerprint256 }) => fingerprint256 === current.fingerprint256)) {
    const child = current;
    const issuer = [...roots, ...chain].find(
      (candidate) => candidate.ca && child.checkIssued(candidate) && child.verify(candidate.publicKey),
    );
    if (issuer === undefined || isSelfSigned(child) || path.includes(issuer)) {
      throw new IsthmusError('PKI_CA_INVALID', `${authorityFiles.certificate} does not chain to a root of ${authorityFiles.roots}`, {
        hint: `put the certificates between them into ${authorityFiles.chain}; the missing issuer is ${child.issuer.replaceAll('\n', ', ')}`,
      });
    }
    path.push(issuer);
    current = issuer;
  }
  return path;
}

/** Hex SHA-256 of the authority's public key: how peers tell it from other authorities under the same root. */
export function authorityFingerprint({ certificate }: VerifiedAuthority): string {
  return publicKeySha256(certificate);
}

function invalid(message: string): IsthmusError {
  return new IsthmusError('PKI_CA_INVALID', message);
}
