import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';

import { CertificateAuthority, createRoot, issueIntermediate, verifyAuthority } from '../pki/index.ts';
import { checkPeer } from './peer-identity.ts';

const rootNamespace = 'istio-system';
const trustDomain = 'cluster.local';

test('a peer is known by the authority that signed it, whatever else it shows', async () => {
  const root = verifyAuthority(await createRoot());
  // Two authorities of one name, as tools other than ours make them.
  const pinned = await issueIntermediate(root, { cluster: 'same' });
  const actual = await issueIntermediate(root, { cluster: 'same' });
  const pin = (await CertificateAuthority.create({ material: pinned })).fingerprint;
  const authority = await CertificateAuthority.create({ material: actual });
  const { leaf } = await authority.issueServing({ dnsNames: [], uris: [`spiffe://${trustDomain}/ns/${rootNamespace}/sa/istiod`] });
  const own = new X509Certificate(leaf);
  const chain = [own, new X509Certificate(pinned.certificate), new X509Certificate(actual.certificate)] as const;

  assert.equal(checkPeer(chain, { rootNamespace, trustDomain, pins: [] }), authority.fingerprint);
  assert.throws(() => checkPeer(chain, { rootNamespace, trustDomain, pins: [pin] }), { code: 'PEERING_PIN_MISMATCH' });
  assert.throws(() => checkPeer([own, new X509Certificate(pinned.certificate)], { rootNamespace, trustDomain, pins: [] }), {
    code: 'PEERING_IDENTITY',
  });
});
