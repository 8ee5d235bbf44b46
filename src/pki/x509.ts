import type * as X509 from '@peculiar/x509';

let loaded: Promise<typeof X509> | undefined;

/**
 * The X.509 encoder, loaded when first needed: it takes some 200 ms and 25 MB, which programs that only read certificates need
 * not spend. Its dependency injection needs the reflection polyfill before it.
 */
export function loadX509(): Promise<typeof X509> {
  loaded ??= import('reflect-metadata').then(() => import('@peculiar/x509'));
  return loaded;
}

/** Certificates begin this many milliseconds before now, for readers whose clock is behind; Istio's value. */
export const clockSkewMs = 2 * 60_000;

/** The issuer's own key identifier when it has one: other tools compute it in other ways. */
export async function issuerKeyIdentifier(x509: typeof X509, issuer: X509.X509Certificate): Promise<X509.Extension> {
  const own = issuer.getExtension(x509.SubjectKeyIdentifierExtension);
  return own === null
    ? await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey)
    : new x509.AuthorityKeyIdentifierExtension(own.keyId);
}
