import { createPrivateKey, randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';

/** A certificate with its key, PEM. */
export interface KeyedPem {
  readonly certificate: string;
  readonly key: string;
}

export interface LeafOptions {
  readonly ca: KeyedPem;
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly usage: 'client' | 'server';
  /** Names and addresses that a server is reached by. */
  readonly names?: readonly string[];
  /** Default 5 years, milliseconds. */
  readonly validityMs?: number;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const oids = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' };

/** Issues a certificate for a server or a client of a cluster. The encoder is loaded here, on first use: running servers do not need it. */
export async function issueLeaf(options: LeafOptions): Promise<KeyedPem> {
  const { ca, commonName, organizations = [], usage, names = [], validityMs = 5 * 365 * 24 * 3600 * 1000 } = options;
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const issuer = new x509.X509Certificate(ca.certificate);
  const caKey = createPrivateKey(ca.key).export({ type: 'pkcs8', format: 'der' });
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(16).toString('hex'),
    subject: [...organizations.map((name) => ({ O: [name] })), { CN: [commonName] }],
    issuer: issuer.subjectName,
    publicKey: keys.publicKey,
    signingKey: await webcrypto.subtle.importKey('pkcs8', caKey, algorithm, false, ['sign']),
    // For readers whose clock is a little behind.
    notBefore: new Date(Date.now() - 2 * 60_000),
    notAfter: new Date(Date.now() + validityMs),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([oids[usage]]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...(names.length === 0
        ? []
        : [new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })))]),
    ],
  });
  return { certificate: `${certificate.toString('pem')}\n`, key: await privateKeyPem(keys.privateKey) };
}

/** A P-256 key for signing tokens, PEM. */
export async function createSigningKey(): Promise<string> {
  const { privateKey } = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  return await privateKeyPem(privateKey);
}

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' });
}
