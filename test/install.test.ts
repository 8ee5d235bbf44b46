import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { resources, type ResourceType } from '../src/api/resources.ts';
import { defaultImage } from '../src/api/version.ts';
import { install } from '../src/cli/install/install.ts';
import { KubeClient } from '../src/kube/index.ts';
import { startApiServer, type ApiServer } from './support/api-server.ts';

const options = { clusterId: 'cluster-1', network: 'flat-network', trustDomain: 'cluster.local', image: defaultImage };
const written: readonly ResourceType[] = [
  resources.customResourceDefinitions,
  resources.namespaces,
  resources.serviceAccounts,
  resources.clusterRoles,
  resources.clusterRoleBindings,
  resources.roles,
  resources.roleBindings,
  resources.configMaps,
  resources.services,
  resources.deployments,
  resources.daemonSets,
];

describe('install against the API server', () => {
  let server: ApiServer;
  let client: KubeClient;

  before(async () => {
    server = await startApiServer();
    client = KubeClient.fromKubeconfig({ path: server.kubeconfig });
  });

  after(async () => {
    client[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
  });

  /** Every object of the kinds that install writes, by its version. */
  async function snapshot(): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for (const type of written) {
      for (const { metadata } of (await client.list(type)).items) {
        found[`${type.plural} ${metadata.namespace ?? ''}/${metadata.name}`] = metadata.resourceVersion ?? '';
      }
    }
    return found;
  }

  test('every manifest is accepted, and a second run changes nothing', async () => {
    const run = { client, options, progress: () => undefined, timeout: 0 };
    await install(run);
    const first = await snapshot();
    for (const name of ['deployments istio-system/istiod', 'daemonsets istio-system/ztunnel', 'daemonsets istio-system/istio-cni-node']) {
      assert.ok(name in first, name);
    }
    await install(run);
    assert.deepEqual(await snapshot(), first);
  });
});
