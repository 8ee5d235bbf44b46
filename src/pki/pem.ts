import { createHash, X509Certificate } from 'node:crypto';

import { describeError, IsthmusError } from '../core/index.ts';

const certificateBlock = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** The certificates of a PEM bundle, each as a PEM of its own that ends in a newline; text between them is dropped. */
export function splitPem(bundle: string): string[] {
  return [...bundle.matchAll(certificateBlock)].map(([block]) => `${block}\n`);
}

/** The certificates of a PEM bundle. Throws PKI_CA_INVALID when one cannot be read; `what` names the bundle in the message. */
export function readCertificates(bundle: string, what: string): X509Certificate[] {
  return splitPem(bundle).map((pem) => {
    try {
      return new X509Certificate(pem);
    } catch (error) {
      throw new IsthmusError('PKI_CA_INVALID', `${what} holds a certificate that cannot be read: ${describeError(error)}`);
    }
  });
}

/** By name and by signature. */
export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/** Signed by its own key. */
export function isSelfSigned(certificate: X509Certificate): boolean {
  return isIssuedBy(certificate, certificate);
}

/**
 * The authority that signed the certificate of a TLS peer; undefined when the peer did not send it.
 *
 * `issuerCertificate` alone does not tell: on a server it is whatever the client sent after its own certificate, in any
 * order, with anything in between, while the handshake looks for a path to a root by itself.
 */
export function issuerOf(certificate: X509Certificate): X509Certificate | undefined {
  for (let sent = certificate.issuerCertificate; sent !== undefined; sent = sent.issuerCertificate) {
    if (isIssuedBy(certificate, sent)) return sent;
  }
  return undefined;
}

/**
 * Hex SHA-256 of the public key (DER SubjectPublicKeyInfo): what tells one authority from another, and stays when its certificate
 * is renewed with the same key.
 */
export function publicKeySha256(certificate: X509Certificate): string {
  return createHash('sha256')
    .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}

/** The URIs among a certificate's alternative names. */
export function uriNames(certificate: X509Certificate): string[] {
  const names = certificate.subjectAltName ?? '';
  return [...names.matchAll(/(?:^|, )URI:("(?:[^"\\]|\\.)*"|[^,]*)/g)].map(([, name = '']) =>
    name.startsWith('"') ? String(JSON.parse(name)) : name,
  );
}
