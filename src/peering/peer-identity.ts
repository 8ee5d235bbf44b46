import type { X509Certificate } from 'node:crypto';

import { IsthmusError } from '../core/index.ts';
import { isIssuedBy, publicKeySha256, tryParseSpiffe, uriNames, type SpiffeIdentity } from '../pki/index.ts';
import type { PeerChain } from '../xds/index.ts';

/** Service accounts that speak for a cluster: istiod, or the peering process beside an unmodified istiod. */
const accounts: readonly string[] = ['istiod', 'isthmus-peering'];

/** The peering identity that a certificate carries; undefined when it carries none. */
export function peeringIdentity(certificate: X509Certificate, rootNamespace: string): SpiffeIdentity | undefined {
  return uriNames(certificate)
    .flatMap((uri) => tryParseSpiffe(uri) ?? [])
    .find(({ namespace, serviceAccount }) => namespace === rootNamespace && accounts.includes(serviceAccount));
}

/**
 * Checks what a peer's server showed, which is known to chain to our roots. Clusters share a root and mostly a trust domain, so that the
 * name alone says nothing: the authority that signed it tells clusters apart. Returns that authority's public key (hex SHA-256);
 * throws PEERING_IDENTITY, PEERING_TRUST_DOMAIN or PEERING_PIN_MISMATCH.
 */
export function checkPeer(
  chain: PeerChain,
  expected: { readonly rootNamespace: string; readonly trustDomain: string; readonly pins: readonly string[] },
): string {
  const [leaf, ...sent] = chain;
  const identity = peeringIdentity(leaf, expected.rootNamespace);
  if (identity === undefined) {
    const names = uriNames(leaf).join(', ') || (leaf.subjectAltName ?? 'no name');
    throw new IsthmusError('PEERING_IDENTITY', `whoever answers at the peer's address is ${names}`, {
      hint: `wanted is spiffe://${expected.trustDomain}/ns/${expected.rootNamespace}/sa/istiod; check the address of the Gateway`,
    });
  }
  if (identity.trustDomain !== expected.trustDomain) {
    throw new IsthmusError(
      'PEERING_TRUST_DOMAIN',
      `the peer's certificate is of the trust domain ${identity.trustDomain}, expected is ${expected.trustDomain}`,
    );
  }
  // The chain is linked by names, which do not tell two authorities of one name apart: the signature does.
  const issuer = sent.find((candidate) => isIssuedBy(leaf, candidate));
  if (issuer === undefined) throw new IsthmusError('PEERING_IDENTITY', 'the peer did not show which authority signed its certificate');
  const fingerprint = publicKeySha256(issuer);
  if (expected.pins.length > 0 && !expected.pins.includes(fingerprint)) {
    throw new IsthmusError('PEERING_PIN_MISMATCH', `the peer is signed by ${fingerprint}, pinned is ${expected.pins.join(' or ')}`, {
      hint: "if the peer's authority was renewed, set the annotation isthmus.dev/peer-ca-sha256 of its Gateway anew, or remove it; if not, somebody else answers there",
    });
  }
  return fingerprint;
}
