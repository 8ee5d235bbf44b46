import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { suite, test, type TestContext } from 'node:test';

import { createLogger } from '../../core/index.ts';
import {
  authorityFingerprint,
  CertificateAuthority,
  certificateServiceRoutes,
  createRoot,
  issueIntermediate,
  splitPem,
  uriNames,
  verifyAuthority,
  type AuthorityMaterial,
} from '../../pki/index.ts';
import { callerOf, GrpcServer } from '../../xds/index.ts';
import { CertificateSource } from './certificate.ts';
import { peeringProcessConfig } from './config.ts';

process.env['ISTHMUS_LOG'] ??= 'silent';
const log = createLogger('test');
const identity = 'spiffe://cluster.local/ns/istio-system/sa/isthmus-peering';
const fingerprint = (material: AuthorityMaterial): string => authorityFingerprint(verifyAuthority(material));

/** Istio's certificate service, whose authority a test may replace, and a source that asks it. */
class Service {
  authority: CertificateAuthority;
  /** Whom it takes the callers for. */
  caller = identity;
  readonly tokens: string[] = [];
  readonly directory: string;
  readonly source: CertificateSource;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  private constructor(authority: CertificateAuthority, directory: string, port: number) {
    this.authority = authority;
    this.directory = directory;
    const env = {
      CLUSTER_ID: 'cluster-1',
      CA_ADDRESS: `127.0.0.1:${port}`,
      ALT_CA_HOSTNAME: 'istiod.istio-system.svc',
      CA_ROOT_CA: path.join(directory, 'root-cert.pem'),
      AUTH_TOKEN: path.join(directory, 'token'),
    };
    this.source = new CertificateSource(peeringProcessConfig(env), log);
  }

  static async start(t: TestContext, material: AuthorityMaterial): Promise<Service> {
    const directory = await mkdtemp(path.join(tmpdir(), 'certificate-'));
    const authority = await CertificateAuthority.create({ material });
    const serving = await authority.issueServing({ dnsNames: ['istiod.istio-system.svc'], uris: [] });
    const { promise: self, resolve } = Promise.withResolvers<Service>();
    const routes = certificateServiceRoutes({
      authority: () => service.authority,
      trustDomain: 'cluster.local',
      authenticate: async (context) => {
        const { tokens, caller } = await self;
        const token = callerOf(context).headers.get('authorization') ?? '';
        tokens.push(token);
        if (token === 'Bearer bad') throw new Error('not accepted');
        return { identity: caller };
      },
      authorizeImpersonation: () => Promise.reject(new Error('nobody')),
      log,
    });
    const tls = { certificate: serving.chain, key: serving.key, roots: serving.roots };
    const server = await GrpcServer.listen({ routes: [routes], tls, host: '127.0.0.1', port: 0, log });
    const service = new Service(authority, directory, server.port);
    resolve(service);
    await service.write('root-cert.pem', material.roots);
    await service.write('token', 'one');
    t.after(async () => {
      service.#stop.abort();
      await service.#running;
      await server.close();
      await rm(directory, { recursive: true });
    });
    return service;
  }

  run(): void {
    this.#running = this.source.run(this.#stop.signal);
  }

  /** In one step, as a kubelet does it. */
  async write(name: string, text: string): Promise<void> {
    await writeFile(path.join(this.directory, '.new'), text);
    await rename(path.join(this.directory, '.new'), path.join(this.directory, name));
  }

  async changed(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const stop = this.source.onChange(() => resolve(undefined));
    await promise;
    stop();
  }
}

suite('certificate of the peering process', () => {
  test('shows the whole chain, so that peers see which authority signed', async (t) => {
    const root = verifyAuthority(await createRoot());
    const material = await issueIntermediate(root, { cluster: 'cluster-1' });
    const service = await Service.start(t, material);
    service.run();
    const certificate = await service.source.first;
    const [leaf, issuer] = splitPem(certificate.certificate).map((pem) => new X509Certificate(pem));
    assert.deepEqual(leaf === undefined ? [] : uriNames(leaf), [identity]);
    assert.ok(issuer !== undefined && leaf?.verify(issuer.publicKey));
    assert.equal(certificate.authority, fingerprint(material));
    assert.equal(certificate.roots, root.material.roots);
  });

  test('shows a root that signs itself, too', async (t) => {
    const root = await createRoot();
    const service = await Service.start(t, root);
    service.run();
    const certificate = await service.source.first;
    assert.equal(certificate.authority, fingerprint(root));
    assert.equal(splitPem(certificate.certificate).length, 2);
  });

  test('is asked for again when the root file changes, with the token of then, and believes both roots', async (t) => {
    const root = verifyAuthority(await createRoot());
    const service = await Service.start(t, await issueIntermediate(root, { cluster: 'cluster-1' }));
    service.run();
    await service.source.first;
    const successor = await issueIntermediate(root, { cluster: 'cluster-1' });
    service.authority = await CertificateAuthority.create({ material: successor });
    await service.write('token', 'two');
    const other = (await createRoot()).roots;
    const changed = service.changed();
    await service.write('root-cert.pem', root.material.roots + other);
    await changed;
    const { authority, roots } = service.source.current;
    assert.equal(authority, fingerprint(successor));
    assert.deepEqual(splitPem(roots), [...splitPem(root.material.roots), ...splitPem(other)]);
    assert.deepEqual(service.tokens, ['Bearer one', 'Bearer two']);
  });

  test('is asked for again after a refusal, and there is none until then', async (t) => {
    const root = verifyAuthority(await createRoot());
    const service = await Service.start(t, await issueIntermediate(root, { cluster: 'cluster-1' }));
    await service.write('token', 'bad');
    service.run();
    while (service.tokens.length < 2) await new Promise((resolve) => setImmediate(resolve));
    assert.throws(() => service.source.current, { code: 'PEERING_CERTIFICATE', message: /authenticate failure/ });
    await service.write('token', 'good');
    await service.source.first;
    assert.equal(service.source.current.authority, service.authority.fingerprint);
  });

  test('an expired one is shown to nobody, but who signed it is still known', async (t) => {
    const root = verifyAuthority(await createRoot());
    const material = await issueIntermediate(root, { cluster: 'cluster-1' });
    const service = await Service.start(t, material);
    service.run();
    const { notAfter } = await service.source.first;
    t.mock.method(Date, 'now', () => notAfter + 1);
    assert.throws(() => service.source.current, { code: 'PEERING_CERTIFICATE' });
    assert.equal(service.source.authority, fingerprint(material));
  });

  test('is not taken when it is of somebody else', async (t) => {
    const root = verifyAuthority(await createRoot());
    const service = await Service.start(t, await issueIntermediate(root, { cluster: 'cluster-1' }));
    service.caller = 'spiffe://cluster.local/ns/istio-system/sa/other';
    service.run();
    while (service.tokens.length < 2) await new Promise((resolve) => setImmediate(resolve));
    assert.throws(() => service.source.current, { code: 'PEERING_CERTIFICATE' });
  });
});
