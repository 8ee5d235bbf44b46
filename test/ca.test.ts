import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';

import { resources } from '../src/api/resources.ts';
import { run } from '../src/cli/ca.ts';
import { KubeClient } from '../src/kube/index.ts';
import { ensureClusterPki, runApiServer } from '../src/lab/apiserver/index.ts';
import { readAuthority, verifyAuthority, type AuthorityMaterial } from '../src/pki/index.ts';

const stack = new AsyncDisposableStack();
const directory = mkdtempSync(path.join(tmpdir(), 'isthmus-ca-'));
stack.defer(() => rmSync(directory, { recursive: true }));
const ref = { name: 'cacerts', namespace: 'istio-system' };
let client: KubeClient;
let kubeconfig: string;

before(async () => {
  const server = { stateDir: path.join(directory, 'cluster'), host: '127.0.0.1', port: 7461 };
  const pki = await ensureClusterPki({ ...server, clusterName: 'cluster-1', nodeName: 'node-1', addresses: [server.host] });
  kubeconfig = pki.files.adminKubeconfig;
  const stop = new AbortController();
  const { promise: ready, resolve } = Promise.withResolvers<unknown>();
  const running = runApiServer({ ...server, serviceCidr: '10.255.10.0/24', onReady: resolve }, stop.signal);
  stack.defer(async () => {
    stop.abort();
    await running;
  });
  await Promise.race([ready, running]);
  client = stack.use(KubeClient.fromKubeconfig({ path: kubeconfig }));
});
after(() => stack.disposeAsync());

const issue = (dir: string, ...more: string[]): Promise<void> => {
  const { context } = client.transport.config;
  const to = ['--dir', path.join(directory, dir), '--cluster', 'cluster-1', '--context', context, '-c', kubeconfig];
  return run(['issue-intermediate', ...to, ...more]);
};

async function secret(): Promise<AuthorityMaterial> {
  const { data = {} } = await client.get(resources.secrets, ref);
  const text = (name: string): string => Buffer.from(data[name] ?? '', 'base64').toString();
  return { certificate: text('ca-cert.pem'), key: text('ca-key.pem'), chain: text('cert-chain.pem'), roots: text('root-cert.pem') };
}

describe('isthmus ca', () => {
  it("puts a cluster's intermediate into its Secret, and makes the namespace", async () => {
    assert.equal(await client.find(resources.namespaces, { name: 'istio-system' }), undefined);
    await run(['create-root', '--dir', path.join(directory, 'one')]);
    await issue('one');
    const material = await secret();
    assert.deepEqual(material, await readAuthority(path.join(directory, 'one', 'cluster-1')));
    assert.match(verifyAuthority(material).certificate.subject, /L=cluster-1/);
  });

  it('changes nothing when run again', async () => {
    const { metadata } = await client.get(resources.secrets, ref);
    await issue('one');
    assert.equal((await client.get(resources.secrets, ref)).metadata.resourceVersion, metadata.resourceVersion);
  });

  it('does not replace the Secret of another root, unless it is told to', async () => {
    await run(['create-root', '--dir', path.join(directory, 'two')]);
    const old = await secret();
    await assert.rejects(issue('two'), { code: 'PKI_ROOT_EXISTS' });
    assert.deepEqual(await secret(), old);
    await issue('two', '--force');
    assert.deepEqual(await secret(), await readAuthority(path.join(directory, 'two', 'cluster-1')));
  });

  it('names what is wrong', async () => {
    await assert.rejects(issue('none'), { code: 'PKI_ROOT_MISSING' });
    await assert.rejects(run(['create-root', '--dir', path.join(directory, 'one')]), { code: 'PKI_ROOT_EXISTS' });
    await assert.rejects(run(['issue-intermediate', '--dir', directory, '--cluster', '../etc']), { code: 'ISTHMUS_USAGE' });
    await assert.rejects(run(['issue-intermediate']), { code: 'ISTHMUS_USAGE' });
  });
});
