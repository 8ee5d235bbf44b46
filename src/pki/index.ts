/**
 * SPIFFE identities, certificate authorities, signing requests and the service that answers them. Who may have which
 * certificate is not decided here: callers bring that.
 */
export { formatSpiffe, parseSpiffe, tryParseSpiffe, type SpiffeIdentity } from './spiffe.ts';
export {
  authorityFiles,
  authorityFingerprint,
  readAuthority,
  verifyAuthority,
  writeAuthority,
  type AuthorityMaterial,
  type VerifiedAuthority,
} from './authority-material.ts';
export { createRoot, issueIntermediate, type CreateRootOptions, type IssueIntermediateOptions } from './create-authority.ts';
export {
  CertificateAuthority,
  type CertificateAuthorityOptions,
  type IssuedCertificate,
  type KeyedCertificate,
} from './certificate-authority.ts';
export { certificateServiceRoutes, type CertificateCaller, type CertificateServiceOptions } from './certificate-service.ts';
export { writeFileAtomic } from './files.ts';
export type { KeyType } from './keys.ts';
export { isIssuedBy, isSelfSigned, issuerOf, publicKeySha256, readCertificates, splitPem, uriNames } from './pem.ts';
export { createSigningRequest, type SignedCertificate, type SigningRequest } from './signing-request.ts';
export { clusterIntermediate, createSharedRoot, readSharedRoot } from './shared-root.ts';
