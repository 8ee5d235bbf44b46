import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import type { ClusterRole } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import { applyObjects } from '../../src/cli/apply.ts';
import { findMesh, readMeshIdentity, readRoots, readSigningAuthority } from '../../src/cli/multicluster/mesh-identity.ts';
import { KubeClient } from '../../src/kube/index.ts';
import { createRoot, issueIntermediate, publicKeySha256, verifyAuthority, type VerifiedAuthority } from '../../src/pki/index.ts';
import { startApiServer, type ApiServer } from '../support/api-server.ts';
import { installWithHelm, makeNamespace } from '../support/helm-installed-istio.ts';
import { clientAs } from '../support/service-account.ts';

describe('finding an Istio that others installed', () => {
  let server: ApiServer;
  let client: KubeClient;
  let root: VerifiedAuthority;

  before(async () => {
    server = await startApiServer({ name: 'somewhere' });
    client = KubeClient.fromKubeconfig({ path: server.kubeconfig });
    root = verifyAuthority(await createRoot());
  });
  after(async () => {
    client[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
  });

  test('a cluster without one says so', async () => {
    await assert.rejects(findMesh(client), { code: 'MESH_NOT_INSTALLED' });
  });

  test('a revision in namespaces of its own', async () => {
    const authority = await issueIntermediate(root, { cluster: 'one' });
    await installWithHelm(client, {
      clusterId: 'one',
      network: 'net-1',
      namespace: 'mesh-control',
      dataPlaneNamespace: 'kube-system',
      revision: '1-27',
      trustDomain: 'corp.example',
      authority,
      podRange: '10.0.0.0/16',
    });
    assert.deepEqual(await readMeshIdentity(client), {
      clusterId: 'one',
      network: 'net-1',
      trustDomain: 'corp.example',
      istioNamespace: 'mesh-control',
      revision: '1-27',
      caAddress: 'istiod-1-27.mesh-control.svc:15012',
      rootConfigMap: 'istio-ca-root-cert',
      isIsthmus: false,
    });
    const mesh = await findMesh(client);
    assert.equal(mesh.istiod.version, '1.27.1');
    assert.deepEqual(
      mesh.ztunnels.map(({ namespace, version }) => [namespace, version]),
      [['kube-system', '1.27.1']],
    );
    assert.deepEqual(
      mesh.cnis.map(({ namespace }) => namespace),
      ['kube-system'],
    );
    assert.deepEqual(await readRoots(client, mesh.istiod), [root.certificate.fingerprint256.replaceAll(':', '').toLowerCase()]);
    assert.deepEqual(await readSigningAuthority(client, 'mesh-control'), {
      secret: 'cacerts',
      sha256: publicKeySha256(verifyAuthority(authority).certificate),
      isSelfSigned: false,
    });
  });

  test('of two revisions in one namespace, the one that ztunnel asks', async () => {
    await copyIstiod('mesh-control', 'istiod-1-28', '1-28');
    assert.equal((await findMesh(client)).istiod.name, 'istiod-1-27');
    assert.equal((await findMesh(client, { revision: '1-28' })).istiod.name, 'istiod-1-28');
  });

  test('of several in different namespaces none, but the one that is named', async () => {
    await makeNamespace(client, 'legacy');
    await copyIstiod('legacy', 'istiod', 'default');
    await assert.rejects(findMesh(client), (error: Error) => {
      for (const name of ['mesh-control/istiod-1-27', 'mesh-control/istiod-1-28', 'legacy/istiod']) assert.ok(error.message.includes(name));
      return (error as Error & { code: string }).code === 'MESH_AMBIGUOUS';
    });
    assert.equal((await findMesh(client, { istioNamespace: 'legacy' })).istiod.revision, 'default');
    await assert.rejects(findMesh(client, { istioNamespace: 'kube-system' }), { code: 'MESH_NOT_INSTALLED' });
  });

  test('what isthmus-peering was told counts before what istiod was', async () => {
    const labels = { app: 'isthmus-peering' };
    const env = [
      { name: 'CLUSTER_ID', value: 'renamed' },
      { name: 'NETWORK', value: 'net-9' },
    ];
    const spec = {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'peering', image: 'x', env }] } },
    };
    await applyObjects(client, [
      { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'isthmus-peering', namespace: 'mesh-control', labels }, ...{ spec } },
    ]);
    const { clusterId, network } = await readMeshIdentity(client, { revision: '1-27' });
    assert.deepEqual({ clusterId, network }, { clusterId: 'renamed', network: 'net-9' });
    await client.delete(resources.deployments, { name: 'isthmus-peering', namespace: 'mesh-control' });
  });

  test('a namespace without network is an error that says how to label it', async () => {
    await assert.rejects(readMeshIdentity(client, { istioNamespace: 'legacy' }), { code: 'MESH_NETWORK_UNSET' });
  });

  test("a self-signed CA, and cert-manager's form of cacerts", async () => {
    await makeNamespace(client, 'own-ca');
    const own = await createRoot();
    await applyObjects(client, [secret('own-ca', 'istio-ca-secret', { 'ca-cert.pem': own.certificate })]);
    const found = await readSigningAuthority(client, 'own-ca');
    assert.deepEqual([found?.secret, found?.isSelfSigned], ['istio-ca-secret', true]);
    await applyObjects(client, [
      secret('own-ca', 'cacerts', { 'tls.crt': root.material.certificate, 'ca.crt': root.material.certificate }),
    ]);
    assert.deepEqual([(await readSigningAuthority(client, 'own-ca'))?.sha256], [publicKeySha256(root.certificate)]);
    assert.equal(await readSigningAuthority(client, 'legacy'), undefined);
  });

  test('without permission to read Secrets, all but the CA is found', async () => {
    const account = { name: 'viewer', namespace: 'legacy' };
    const role: ClusterRole = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'viewer' },
      rules: [
        { apiGroups: [''], resources: ['configmaps', 'namespaces'], verbs: ['get', 'list'] },
        { apiGroups: ['apps'], resources: ['deployments', 'daemonsets'], verbs: ['get', 'list'] },
      ],
    };
    const binding = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'viewer' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'viewer' },
      subjects: [{ kind: 'ServiceAccount', ...account }],
    };
    using viewer = await clientAs(client, account, [{ apiVersion: 'v1', kind: 'ServiceAccount', metadata: account }, role, binding]);
    const { istiod } = await findMesh(viewer, { revision: '1-27' });
    assert.equal((await readRoots(viewer, istiod)).length, 1);
    assert.equal(await readSigningAuthority(viewer, 'mesh-control'), undefined);
  });

  async function copyIstiod(namespace: string, name: string, revision: string): Promise<void> {
    const { spec } = await client.get(resources.deployments, { name: 'istiod-1-27', namespace: 'mesh-control' });
    assert.ok(spec);
    const labels = { app: 'istiod', 'istio.io/rev': revision };
    const template = { ...spec.template, metadata: { labels } };
    await client.create(resources.deployments, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace, labels },
      spec: { selector: { matchLabels: labels }, template },
    });
  }
});

function secret(namespace: string, name: string, files: Record<string, string>) {
  const data = Object.fromEntries(Object.entries(files).map(([file, text]) => [file, Buffer.from(text).toString('base64')]));
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, data };
}
