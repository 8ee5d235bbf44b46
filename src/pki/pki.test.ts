import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey, X509Certificate } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { connect, createServer } from 'node:tls';

import fc from 'fast-check';

import {
  authorityFiles,
  CertificateAuthority,
  createRoot,
  createSigningRequest,
  formatSpiffe,
  issueIntermediate,
  issuerOf,
  parseSpiffe,
  publicKeySha256,
  readAuthority,
  readCertificates,
  splitPem,
  tryParseSpiffe,
  uriNames,
  verifyAuthority,
  writeAuthority,
  type AuthorityMaterial,
} from './index.ts';

const uri = 'spiffe://cluster.local/ns/demo/sa/default';

function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-pki-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

const code = (expected: string) => (error: unknown) => {
  assert.equal((error as { code?: string }).code, expected, String(error));
  return true;
};

/** What openssl, an implementation that is not ours, makes of a certificate. */
function openssl(args: readonly string[], input: string): string {
  return execFileSync('openssl', args, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'ignore'] });
}

suite('SPIFFE identities', () => {
  test('what is formatted is parsed back', () => {
    const part = fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?$/);
    fc.assert(
      fc.property(part, part, part, (trustDomain, namespace, serviceAccount) => {
        const identity = { trustDomain, namespace, serviceAccount };
        assert.deepEqual(parseSpiffe(formatSpiffe(identity)), identity);
      }),
    );
  });

  for (const wrong of [
    '',
    'https://cluster.local/ns/a/sa/b',
    'spiffe://cluster.local',
    'spiffe://cluster.local/ns/a/sa/b/c',
    'spiffe://cluster.local/sa/a/ns/b',
    'spiffe://cluster.local/ns//sa/b',
    'spiffe:///ns/a/sa/b',
    'spiffe://cluster.local/ns/a/sa/b?x',
    'spiffe://cluster.local/ns/a b/sa/c',
  ]) {
    test(`${JSON.stringify(wrong)} is none`, () => assert.equal(tryParseSpiffe(wrong), undefined));
  }
});

suite('certificate authority', async () => {
  const root = verifyAuthority(await createRoot({ organization: 'Example' }));
  const material = await issueIntermediate(root, { cluster: 'cluster-1' });
  const authority = await CertificateAuthority.create({ material });

  test('an intermediate is named as by Istio and may sign leaves only', () => {
    const text = openssl(['x509', '-noout', '-subject', '-ext', 'basicConstraints,keyUsage', '-nameopt', 'RFC2253'], material.certificate);
    assert.match(text, /subject=L=cluster-1,O=Example,CN=Intermediate CA/);
    assert.match(text, /CA:TRUE, pathlen:0/);
    assert.match(text, /Certificate Sign/);
  });

  test('a workload certificate is what Istio issues', async () => {
    const { csr, privateKey: key } = await createSigningRequest(uri);
    const issued = await authority.issueFromCsr({ csr, uri, ttlMs: 3_600_000 });
    const leaf = new X509Certificate(issued.leaf);
    assert.equal(leaf.subject, undefined);
    assert.deepEqual(uriNames(leaf), [uri]);
    assert.ok(leaf.publicKey.equals(createPublicKey(key)));
    assert.equal(issued.notAfter - issued.notBefore, 3_600_000 + 120_000);
    const text = openssl(['x509', '-noout', '-ext', 'subjectAltName,keyUsage,extendedKeyUsage,basicConstraints'], issued.leaf);
    assert.match(text, /X509v3 Subject Alternative Name: critical\n\s+URI:spiffe:\/\/cluster.local\/ns\/demo\/sa\/default\n/);
    assert.match(text, /Key Usage: critical\n\s+Digital Signature, Key Encipherment\n/);
    assert.match(text, /TLS Web Server Authentication, TLS Web Client Authentication/);
    assert.match(text, /CA:FALSE/);
  });

  test('openssl verifies leaf, intermediate and root', async (t) => {
    const directory = temporaryDirectory(t);
    const { csr } = await createSigningRequest(uri);
    const issued = await authority.issueFromCsr({ csr, uri });
    writeFileSync(join(directory, 'root.pem'), issued.roots);
    writeFileSync(join(directory, 'chain.pem'), issued.intermediates.join(''));
    const args = ['verify', '-x509_strict', '-CAfile', join(directory, 'root.pem'), '-untrusted', join(directory, 'chain.pem')];
    assert.match(openssl(args, issued.leaf), /OK/);
  });

  test('two servers of one root speak mutual TLS', async (t) => {
    const other = await CertificateAuthority.create({ material: await issueIntermediate(root, { cluster: 'cluster-2' }) });
    const serving = await authority.issueServing({ dnsNames: ['istiod.istio-system.svc'], uris: [uri] });
    const client = await other.issueServing({ dnsNames: [], uris: ['spiffe://cluster.local/ns/a/sa/b'] });
    const server = createServer(
      { cert: serving.chain, key: serving.key, ca: serving.roots, requestCert: true, rejectUnauthorized: true },
      (socket) => socket.end(uriNames(socket.getPeerX509Certificate() ?? assert.fail()).join()),
    );
    server.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    t.after(() => server.close());
    const socket = connect({
      port: (server.address() as AddressInfo).port,
      host: '127.0.0.1',
      servername: 'istiod.istio-system.svc',
      ca: client.roots,
      cert: client.chain,
      key: client.key,
    });
    let said = '';
    for await (const chunk of socket) said += String(chunk);
    assert.equal(said, 'spiffe://cluster.local/ns/a/sa/b');
  });

  test("a client cannot pass off another authority's certificate as its issuer's", async (t) => {
    const otherMaterial = await issueIntermediate(root, { cluster: 'cluster-2' });
    const other = await CertificateAuthority.create({ material: otherMaterial });
    const serving = await authority.issueServing({ dnsNames: ['istiod.istio-system.svc'], uris: [uri] });
    const client = await other.issueServing({ dnsNames: [], uris: ['spiffe://cluster.local/ns/a/sa/b'] });
    const server = createServer(
      { cert: serving.chain, key: serving.key, ca: serving.roots, requestCert: true, rejectUnauthorized: true },
      (socket) => {
        const certificate = socket.getPeerX509Certificate() ?? assert.fail();
        const [sentNext, issuer] = [certificate.issuerCertificate, issuerOf(certificate)].map((x) =>
          x === undefined ? '' : publicKeySha256(x),
        );
        socket.end(JSON.stringify({ sentNext, issuer }));
      },
    );
    server.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    t.after(() => server.close());
    const socket = connect({
      port: (server.address() as AddressInfo).port,
      host: '127.0.0.1',
      servername: 'istiod.istio-system.svc',
      ca: client.roots,
      // The handshake succeeds: OpenSSL finds its path among what was sent, in any order.
      cert: `${client.leaf}${material.certificate}${otherMaterial.certificate}`,
      key: client.key,
    });
    let said = '';
    for await (const chunk of socket) said += String(chunk);
    assert.deepEqual(JSON.parse(said), { sentNext: authority.fingerprint, issuer: other.fingerprint });
  });

  test('a request for another name is refused, one for none is answered', async () => {
    const { csr } = await createSigningRequest('spiffe://cluster.local/ns/demo/sa/other');
    await assert.rejects(authority.issueFromCsr({ csr, uri }), code('PKI_CSR'));
    const nameless = openssl(['req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', '/dev/null', '-subj', '/'], '');
    assert.deepEqual(uriNames(new X509Certificate((await authority.issueFromCsr({ csr: nameless, uri })).leaf)), [uri]);
  });

  test('a request whose signature is not of its key is refused', async () => {
    const { csr } = await createSigningRequest(uri);
    const der = Buffer.from(csr.replaceAll(/-----.*-----|\n/g, ''), 'base64');
    // The signature's last byte.
    der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
    const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    await assert.rejects(authority.issueFromCsr({ csr: forged, uri }), code('PKI_CSR'));
  });

  test('weak keys and what is no request are refused', async () => {
    const weak = openssl(['req', '-new', '-newkey', 'rsa:1024', '-nodes', '-keyout', '/dev/null', '-subj', '/'], '');
    await assert.rejects(authority.issueFromCsr({ csr: weak, uri }), code('PKI_CSR'));
    for (const csr of ['', 'x', material.certificate]) await assert.rejects(authority.issueFromCsr({ csr, uri }), code('PKI_CSR'));
  });

  test('times: the default for none, an error for too long, never beyond the authority', async () => {
    const { csr } = await createSigningRequest(uri);
    const day = await authority.issueFromCsr({ csr, uri, ttlMs: 0 });
    assert.equal(day.notAfter - day.notBefore, 24 * 3_600_000 + 120_000);
    await assert.rejects(authority.issueFromCsr({ csr, uri, ttlMs: 91 * 24 * 3_600_000 }), code('PKI_TTL'));
    const short = await CertificateAuthority.create({ material: await issueIntermediate(root, { cluster: 'c', validityMs: 60_000 }) });
    assert.equal((await short.issueFromCsr({ csr, uri })).notAfter, short.notAfter);
  });
});

suite('authority material', async () => {
  const rsa = await createRoot({ keyType: 'rsa-2048' });
  const root = verifyAuthority(rsa);
  const one = await issueIntermediate(root, { cluster: 'one' });
  const two = await issueIntermediate(root, { cluster: 'two' });

  test('is read back as written, the key for its owner only', async (t) => {
    const directory = join(temporaryDirectory(t), 'one');
    await writeAuthority(directory, one);
    assert.deepEqual(await readAuthority(directory), one);
    assert.equal(statSync(join(directory, authorityFiles.key)).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(directory).sort(), Object.values(authorityFiles).sort());
    rmSync(join(directory, authorityFiles.chain));
    await assert.rejects(readAuthority(directory), code('PKI_FILE'));
  });

  test('intermediates go without the root, whichever way the chain file is laid out', () => {
    for (const chain of [one.chain, one.certificate, '', `${rsa.certificate}${one.certificate}`]) {
      const verified = verifyAuthority({ ...one, chain });
      assert.deepEqual(
        verified.intermediates.map((certificate) => publicKeySha256(certificate)),
        readCertificates(one.certificate, '').map((certificate) => publicKeySha256(certificate)),
      );
    }
    assert.deepEqual(verifyAuthority(rsa).intermediates, []);
  });

  test('a middle intermediate is found in the chain file and passed on', async () => {
    const middle = execIntermediate(rsa);
    const leafSigner = await issueIntermediate(verifyAuthority(middle), { cluster: 'deep' });
    const verified = verifyAuthority(leafSigner);
    assert.equal(verified.intermediates.length, 2);
    assert.throws(() => verifyAuthority({ ...leafSigner, chain: leafSigner.certificate }), code('PKI_CA_INVALID'));
  });

  test('what does not belong together is refused', async () => {
    const stranger = await createRoot();
    const cases: readonly [string, AuthorityMaterial][] = [
      ['a key of another authority', { ...one, key: two.key }],
      ['another root', { ...one, roots: stranger.roots, chain: one.certificate }],
      ['no root', { ...one, roots: '' }],
      ['no certificate', { ...one, certificate: '' }],
      ['no key', { ...one, key: '' }],
      ['a leaf in place of an authority', await leafAsAuthority(one)],
    ];
    for (const [name, material] of cases) assert.throws(() => verifyAuthority(material), code('PKI_CA_INVALID'), name);
  });

  test('an expired one, or one from the future, is not used', () => {
    const day = 24 * 3_600_000;
    assert.throws(() => verifyAuthority(one, Date.now() + 5 * 366 * day), code('PKI_CA_NOT_READY'));
    assert.throws(() => verifyAuthority(one, Date.now() - day), code('PKI_CA_NOT_READY'));
  });

  test('several roots are believed, each chains', async () => {
    const next = await createRoot();
    const verified = verifyAuthority({ ...one, roots: `${next.roots}${rsa.roots}` });
    assert.equal(verified.roots.length, 2);
    assert.equal(splitPem(verified.material.roots).length, 2);
  });
});

/** An intermediate that may sign others, which Isthmus itself never makes. */
function execIntermediate(root: AuthorityMaterial): AuthorityMaterial {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-pki-'));
  try {
    writeFileSync(join(directory, 'root.pem'), root.certificate);
    writeFileSync(join(directory, 'root.key'), root.key, { mode: 0o600 });
    const key = execFileSync('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout'], { encoding: 'utf8' });
    writeFileSync(join(directory, 'middle.key'), key, { mode: 0o600 });
    writeFileSync(join(directory, 'ext'), 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n');
    const csr = execFileSync('openssl', ['req', '-new', '-key', join(directory, 'middle.key'), '-subj', '/CN=Middle'], {
      encoding: 'utf8',
    });
    const certificate = openssl(
      [
        'x509',
        '-req',
        '-CA',
        join(directory, 'root.pem'),
        '-CAkey',
        join(directory, 'root.key'),
        '-days',
        '30',
        '-extfile',
        join(directory, 'ext'),
      ],
      csr,
    );
    return { certificate, key, chain: `${certificate}${root.certificate}`, roots: root.certificate };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function leafAsAuthority(material: AuthorityMaterial): Promise<AuthorityMaterial> {
  const authority = await CertificateAuthority.create({ material });
  const { leaf, key } = await authority.issueServing({ dnsNames: ['x'], uris: [] });
  return { ...material, certificate: leaf, key };
}
