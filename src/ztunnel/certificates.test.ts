import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';

import { createLogger } from '../core/index.ts';
import { CertificateAuthority, createRoot, createSigningRequest, type SignedCertificate } from '../pki/index.ts';
import { Certificates } from './certificates.ts';

const log = createLogger('test');
const authority = await CertificateAuthority.create({ material: await createRoot() });
const identity = (name: string): string => `spiffe://cluster.local/ns/demo/sa/${name}`;

async function signed(name: string): Promise<SignedCertificate> {
  const { chain, key, roots } = await authority.issueServing({ dnsNames: [], uris: [name] });
  return { certificateChain: chain, privateKey: key, roots };
}

test('a signing request is signed for its identity and key', async () => {
  // A length of more than 255 bytes is written in another way.
  for (const name of [identity('a'), `spiffe://cluster.local/ns/${'n'.repeat(63)}/sa/${'s'.repeat(253)}`]) {
    const { csr, privateKey } = await createSigningRequest(name);
    const { leaf } = await authority.issueFromCsr({ csr, uri: name });
    const certificate = new X509Certificate(leaf);
    assert.equal(certificate.subjectAltName, `URI:${name}`);
    assert.equal(certificate.checkPrivateKey(createPrivateKey(privateKey)), true);
  }
});

describe('certificates', () => {
  test('are asked for once, however many wait', async () => {
    let asked = 0;
    using certificates = new Certificates({
      log,
      sign: (name) => {
        asked += 1;
        return signed(name);
      },
    });
    const all = await Promise.all(Array.from({ length: 10 }, () => certificates.get(identity('a'))));
    assert.equal(asked, 1);
    assert.equal(new Set(all).size, 1);
    assert.equal(all[0]?.identity, identity('a'));
    assert.deepEqual(
      certificates.dump().map(({ state }) => state),
      ['Available'],
    );
  });

  test('those that a connection waits for come before those that are only prepared', async () => {
    const order: string[] = [];
    const gate = Promise.withResolvers<undefined>();
    using certificates = new Certificates({
      log,
      concurrency: 1,
      sign: async (name) => {
        order.push(name);
        await gate.promise;
        return signed(name);
      },
    });
    for (const name of ['a', 'b', 'c']) certificates.prefetch(identity(name));
    const urgent = certificates.get(identity('c'));
    gate.resolve(undefined);
    await urgent;
    await certificates.get(identity('b'));
    assert.deepEqual(order, ['a', 'c', 'b'].map(identity));
  });

  test("a refusal is everybody's answer until the next attempt", async () => {
    let asked = 0;
    using certificates = new Certificates({
      log,
      sign: () => {
        asked += 1;
        return Promise.reject(new Error('not your pod'));
      },
    });
    for (let index = 0; index < 3; index++) {
      await assert.rejects(certificates.get(identity('a')), {
        code: 'ZTUNNEL_CERTIFICATE',
        message: `identity error: no certificate for ${identity('a')}: not your pod`,
      });
    }
    assert.equal(asked, 1);
    assert.deepEqual(
      certificates.dump().map(({ state }) => state),
      ['Unavailable: not your pod'],
    );
  });

  test('an identity that is no longer needed is forgotten, also by those who wait', async () => {
    using certificates = new Certificates({ log, sign: () => new Promise<never>(() => undefined) });
    const waiting = certificates.get(identity('a'));
    certificates.forget(identity('a'));
    await assert.rejects(waiting, { code: 'ZTUNNEL_CERTIFICATE', message: /no longer needed/ });
    assert.deepEqual([...certificates.identities()], []);
  });

  test('at most eight are asked for at a time', async () => {
    let running = 0;
    let most = 0;
    using certificates = new Certificates({
      log,
      sign: async (name) => {
        most = Math.max(most, ++running);
        const certificate = await signed(name);
        running -= 1;
        return certificate;
      },
    });
    await Promise.all(Array.from({ length: 20 }, (_, index) => certificates.get(identity(`a${index}`))));
    assert.equal(most, 8);
  });
});
