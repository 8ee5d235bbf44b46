import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { resources } from '../src/api/resources.ts';
import { defaultImage } from '../src/api/version.ts';
import { installPeeringBeside } from '../src/cli/install/beside.ts';
import { install } from '../src/cli/install/install.ts';
import { uninstallPeering } from '../src/cli/install/uninstall-peering.ts';
import { uninstall } from '../src/cli/install/uninstall.ts';
import { KubeClient } from '../src/kube/index.ts';
import { createRoot, issueIntermediate, verifyAuthority } from '../src/pki/index.ts';
import { startApiServer, type ApiServer } from './support/api-server.ts';
import { installWithHelm } from './support/helm-installed-istio.ts';

const quiet = { progress: () => undefined, timeout: 0 };
const peering = { name: 'isthmus-peering', namespace: 'mesh-control' };

describe('install and uninstall in a cluster with an Istio of others', () => {
  let server: ApiServer;
  let client: KubeClient;

  before(async () => {
    server = await startApiServer({ name: 'others' });
    client = KubeClient.fromKubeconfig({ path: server.kubeconfig });
    await installWithHelm(client, {
      clusterId: 'one',
      network: 'net-1',
      namespace: 'mesh-control',
      authority: await issueIntermediate(verifyAuthority(await createRoot()), { cluster: 'one' }),
      podRange: '10.0.0.0/16',
      env: { PILOT_CA_CERT_CONFIGMAP: 'corp-roots' },
    });
  });
  after(async () => {
    client[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
  });

  async function istiodVersion(): Promise<string | undefined> {
    const found = await client.find(resources.deployments, { name: 'istiod', namespace: 'mesh-control' });
    return found?.metadata.resourceVersion;
  }

  test('neither the whole mesh goes in, nor does that Istio go out', async () => {
    const istiod = await istiodVersion();
    assert.notEqual(istiod, undefined);
    const options = { clusterId: 'one', network: 'net-1', trustDomain: 'cluster.local', image: defaultImage };
    await assert.rejects(install({ client, options, ...quiet }), { code: 'INSTALL_NOT_OURS' });
    assert.equal(await client.find(resources.deployments, { name: 'istiod', namespace: 'istio-system' }), undefined);
    await assert.rejects(uninstall({ client, ...quiet }), { code: 'UNINSTALL_NOT_OURS' });
    assert.equal(await istiodVersion(), istiod);
  });

  test('a cluster id that no object can be called after is refused before anything is written', async () => {
    const setId = async (value: string): Promise<void> => {
      const istiod = await client.get(resources.deployments, { name: 'istiod', namespace: 'mesh-control' });
      const env = istiod.spec?.template.spec?.containers[0]?.env?.find(({ name }) => name === 'CLUSTER_ID');
      assert.ok(env);
      env.value = value;
      await client.update(resources.deployments, istiod);
    };
    await setId('Kubernetes');
    const run = { client, image: defaultImage, clusterId: undefined, network: undefined, ...quiet };
    await assert.rejects(installPeeringBeside(run), { code: 'INSTALL_CLUSTER_ID' });
    assert.equal(await client.find(resources.deployments, peering), undefined);
    await setId('one');
  });

  test('peering and its gateways take the roots from the ConfigMap that istiod is told', async () => {
    await installPeeringBeside({ client, image: defaultImage, clusterId: undefined, network: undefined, ...quiet });
    const pod = (await client.find(resources.deployments, peering))?.spec?.template.spec;
    assert.equal(pod?.volumes?.find(({ name }) => name === 'istiod-ca-cert')?.configMap?.name, 'corp-roots');
    const env = pod.containers[0]?.env?.find(({ name }) => name === 'PILOT_CA_CERT_CONFIGMAP');
    assert.equal(env?.value, 'corp-roots');
  });

  test('a peering process that Helm installed is left to Helm, with its links', async () => {
    const relabel = async (manager: string): Promise<void> => {
      const body = { metadata: { labels: { 'app.kubernetes.io/managed-by': manager } } };
      await client.patch(resources.deployments, peering, { type: 'merge', body });
    };
    await relabel('Helm');
    await client.create(resources.gateways, {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'istio-remote-peer-two', namespace: 'default' },
      spec: {
        gatewayClassName: 'istio-remote',
        addresses: [{ type: 'IPAddress', value: '192.0.2.1' }],
        listeners: [{ name: 'xds-tls', port: 15_012, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
      },
    });
    await assert.rejects(uninstallPeering({ client, progress: () => undefined, timeout: 10_000 }), { code: 'UNINSTALL_NOT_OURS' });
    assert.equal((await client.list(resources.gateways)).items.length, 1);
    await relabel('isthmus');
    await uninstallPeering({ client, progress: () => undefined, timeout: 10_000 });
    assert.equal((await client.list(resources.gateways)).items.length, 0);
    assert.equal(await client.find(resources.deployments, peering), undefined);
  });
});
