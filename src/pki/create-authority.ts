import type * as X509 from '@peculiar/x509';

import type { AuthorityMaterial, VerifiedAuthority } from './authority-material.ts';
import { generateKeys, privateKeyPem, signingKey, type KeyType } from './keys.ts';
import { splitPem } from './pem.ts';
import { clockSkewMs, issuerKeyIdentifier, loadX509 } from './x509.ts';

const yearMs = 365 * 24 * 3600 * 1000;

export interface CreateRootOptions {
  /** Default `Istio`. A self-signed istiod puts its trust domain here. */
  readonly organization?: string | undefined;
  /** Default `Root CA`. */
  readonly commonName?: string | undefined;
  /** Default ECDSA P-256. */
  readonly keyType?: KeyType | undefined;
  /** Default 10 years, milliseconds. */
  readonly validityMs?: number | undefined;
}

/** A new root. It can sign leaves itself (an authority without intermediates) or intermediates. */
export async function createRoot(options: CreateRootOptions = {}): Promise<AuthorityMaterial> {
  const { organization = 'Istio', commonName = 'Root CA', keyType = 'ecdsa-p256', validityMs = 10 * yearMs } = options;
  const x509 = await loadX509();
  const keys = await generateKeys(keyType);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [commonName] }, { O: [organization] }],
    keys,
    notBefore: new Date(Date.now() - clockSkewMs),
    notAfter: new Date(Date.now() + validityMs),
    extensions: await authorityExtensions(x509, keys.publicKey, undefined),
  });
  const pem = `${certificate.toString('pem')}\n`;
  return { certificate: pem, key: await privateKeyPem(keys.privateKey), chain: pem, roots: pem };
}

export interface IssueIntermediateOptions {
  /** Put into the certificate's locality, as Istio's own tool does. */
  readonly cluster: string;
  /** Default: as the root's. */
  readonly organization?: string | undefined;
  /** Default ECDSA P-256. */
  readonly keyType?: KeyType | undefined;
  /** Default 5 years, milliseconds; never beyond the root's end. */
  readonly validityMs?: number | undefined;
}

/** An authority for one cluster, signed by `root`, that signs leaves only. */
export async function issueIntermediate(root: VerifiedAuthority, options: IssueIntermediateOptions): Promise<AuthorityMaterial> {
  const { cluster, keyType = 'ecdsa-p256', validityMs = 5 * yearMs } = options;
  const x509 = await loadX509();
  const issuer = new x509.X509Certificate(root.certificate.raw);
  const organization = options.organization ?? issuer.subjectName.getField('O')[0] ?? 'Istio';
  const keys = await generateKeys(keyType);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: ['Intermediate CA'] }, { O: [organization] }, { L: [cluster] }],
    issuer: issuer.subjectName,
    publicKey: keys.publicKey,
    signingKey: await signingKey(root.key, 'the root key'),
    notBefore: new Date(Math.max(Date.now() - clockSkewMs, root.certificate.validFromDate.getTime())),
    notAfter: new Date(Math.min(Date.now() + validityMs, root.notAfter)),
    extensions: await authorityExtensions(x509, keys.publicKey, issuer),
  });
  const pem = `${certificate.toString('pem')}\n`;
  const above = root.intermediates.map((parent) => parent.toString()).join('');
  const [topRoot = ''] = splitPem(root.material.roots);
  // As Istio's own tool lays it out: the chain ends with the root.
  return { certificate: pem, key: await privateKeyPem(keys.privateKey), chain: `${pem}${above}${topRoot}`, roots: root.material.roots };
}

async function authorityExtensions(
  x509: typeof X509,
  publicKey: X509.PublicKeyType,
  issuer: X509.X509Certificate | undefined,
): Promise<X509.Extension[]> {
  const flags = x509.KeyUsageFlags;
  return [
    // A root may sign intermediates; an intermediate signs leaves only.
    issuer === undefined ? new x509.BasicConstraintsExtension(true, undefined, true) : new x509.BasicConstraintsExtension(true, 0, true),
    new x509.KeyUsagesExtension(flags.keyCertSign | flags.cRLSign | flags.digitalSignature, true),
    await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ...(issuer === undefined ? [] : [await issuerKeyIdentifier(x509, issuer)]),
  ];
}
