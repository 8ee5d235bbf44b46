import { createPublicKey } from 'node:crypto';

import type * as X509 from '@peculiar/x509';

import { describeError, IsthmusError } from '../core/index.ts';
import { loadX509 } from './x509.ts';

/**
 * Reads a request and checks what does not depend on who sent it: that its sender holds the key, and that the key is strong enough.
 * The names in it must be exactly `uri`, or absent: whoever asks for another is told so instead of being given this one.
 * Throws PKI_CSR.
 */
export async function verifyCsr(pem: string, uri: string): Promise<X509.PublicKey> {
  const x509 = await loadX509();
  const csr = parse(x509, pem);
  if (!(await isSigned(csr))) throw refused('its signature does not fit its key');
  const weakness = weaknessOf(csr.publicKey);
  if (weakness !== undefined) throw refused(weakness);
  const names = csr.extensions.find((extension) => extension instanceof x509.SubjectAlternativeNameExtension)?.names.items ?? [];
  const other = names.find(({ type, value }) => type !== 'url' || value !== uri);
  if (other !== undefined) throw refused(`it asks for the name ${JSON.stringify(other.value)}, allowed is ${uri}`);
  return csr.publicKey;
}

function parse(x509: typeof X509, pem: string): X509.Pkcs10CertificateRequest {
  try {
    return new x509.Pkcs10CertificateRequest(pem);
  } catch (error) {
    throw refused(`it cannot be read: ${describeError(error)}`);
  }
}

/** A signature in an unknown algorithm is none. */
async function isSigned(csr: X509.Pkcs10CertificateRequest): Promise<boolean> {
  try {
    return await csr.verify();
  } catch {
    return false;
  }
}

const curves: readonly string[] = ['prime256v1', 'secp384r1', 'secp521r1'];

function weaknessOf(publicKey: X509.PublicKey): string | undefined {
  const key = createPublicKey({ key: Buffer.from(publicKey.rawData), format: 'der', type: 'spki' });
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'rsa')
    return modulusLength >= 2048 ? undefined : `its RSA key has ${modulusLength} bits, 2048 is the least`;
  if (key.asymmetricKeyType === 'ec' && curves.includes(namedCurve)) return undefined;
  return `its key (${key.asymmetricKeyType ?? 'unknown'} ${namedCurve}) is neither RSA nor ECDSA on P-256, P-384 or P-521`;
}

function refused(why: string): IsthmusError {
  return new IsthmusError('PKI_CSR', `the certificate signing request is refused: ${why}`);
}
