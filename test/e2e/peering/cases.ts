import assert from 'node:assert/strict';

import type { Pod } from '../../../src/api/kubernetes.ts';
import { istioNamespace, labels } from '../../../src/api/names.ts';
import { resources } from '../../../src/api/resources.ts';
import { applyObjects } from '../../../src/cli/apply.ts';
import { isDeploymentReady } from '../../../src/cli/install/install.ts';
import { execInPod, waitForObjects } from '../../../src/kube/index.ts';
import { processesWith } from '../lab-fixture.ts';
import {
  applicationHost,
  applicationName,
  applicationNamespace,
  deploymentManifest,
  namespaceManifest,
  serviceManifest,
  type ServicePort,
} from './application.ts';
import { ensureTwoWriters } from './modes.ts';
import { loadNamespace } from './steady-load.ts';
import { staleBound } from './verdict.ts';
import type { Side, World } from './world.ts';

/** Something that happens to peered clusters. After each, the world has to settle into what the API servers say. */
export interface PeeringCase {
  readonly name: string;
  run(world: World): Promise<void>;
}

const application = { name: applicationName, namespace: applicationNamespace };

/** In their order; each leaves two pods of the service in each cluster. */
export const cases: readonly PeeringCase[] = [
  {
    name: 'appear',
    run: async (world) => {
      await deploy(world.exporting);
      await world.untilExported(world.exporting, 2);
      // Nobody in the importing cluster has such a Service: what answers comes from the peer.
      await world.settle();
      await deploy(world.importing);
      await world.untilExported(world.importing, 2);
    },
  },
  {
    name: 'scale up',
    run: async (world) => {
      await scale(world.exporting, 3);
      await world.untilExported(world.exporting, 3);
    },
  },
  {
    name: 'scale down',
    run: async (world) => {
      await scale(world.exporting, 1);
      await world.untilExported(world.exporting, 1);
      await world.settle();
      await scale(world.exporting, 2);
      await world.untilExported(world.exporting, 2);
    },
  },
  {
    name: 'not ready, and ready again',
    run: async (world) => {
      const [pod] = world.exportedPods(world.exporting);
      assert.ok(pod);
      const { client } = world.exporting.cluster;
      await execInPod(client, { name: pod.name, namespace: applicationNamespace }, ['touch', '/tmp/out-of-service']);
      await world.untilExported(world.exporting, 1);
      await world.settle();
      await execInPod(client, { name: pod.name, namespace: applicationNamespace }, ['rm', '/tmp/out-of-service']);
      await world.untilExported(world.exporting, 2);
    },
  },
  {
    name: 'rolling restart',
    run: async (world) => {
      const old = new Set(world.exportedPods(world.exporting).map(({ name }) => name));
      const { client } = world.exporting.cluster;
      const body = { spec: { template: { metadata: { annotations: { 'kubectl.kubernetes.io/restartedAt': new Date().toISOString() } } } } };
      await client.patch(resources.deployments, application, { type: 'merge', body });
      await world.untilExported(world.exporting, (pods) => pods.length === 2 && pods.every(({ name }) => !old.has(name)));
    },
  },
  {
    name: 'label removed, and put back',
    run: async (world) => {
      await setScope(world.exporting, null);
      await world.untilExported(world.exporting, 0);
      await world.settle();
      await setScope(world.exporting, 'global');
      await world.untilExported(world.exporting, 2);
    },
  },
  {
    name: 'service deleted, and made again',
    run: async (world) => {
      const { client } = world.exporting.cluster;
      await client.delete(resources.services, application);
      await world.untilExported(world.exporting, 0);
      await world.settle();
      await applyObjects(client, [serviceManifest()]);
      await world.untilExported(world.exporting, 2);
    },
  },
  {
    name: 'namespace deleted, and made again',
    run: async (world) => {
      const { client } = world.exporting.cluster;
      await client.delete(resources.namespaces, { name: applicationNamespace });
      await waitForObjects({ client, type: resources.namespaces, what: 'the namespace to be gone', timeout: 45_000 }, (found) =>
        found.every(({ metadata }) => metadata.name !== applicationNamespace),
      );
      await world.settle();
      await deploy(world.exporting);
      await world.untilExported(world.exporting, 2);
    },
  },
  {
    name: 'port renamed, first by the peer, then here',
    run: async (world) => {
      const renamed = [{ name: 'http-web', port: 5000 }];
      for (const side of [world.exporting, world.importing]) {
        await setPorts(world, side, renamed);
        await world.settle();
      }
      for (const side of [world.exporting, world.importing]) await setPorts(world, side, [{ name: 'http', port: 5000 }]);
    },
  },
  {
    name: 'service without pods, in the peer, then everywhere',
    run: async (world) => {
      for (const side of [world.exporting, world.importing]) {
        await scale(side, 0);
        await world.untilExported(side, 0);
        await world.settle();
      }
      for (const side of world.sides) await scale(side, 2);
      for (const side of world.sides) await world.untilExported(side, 2);
    },
  },
  {
    name: 'other ports and other target ports in the peer',
    run: async (world) => {
      await setPorts(world, world.exporting, [
        { name: 'http', port: 5000, targetPort: 'second' },
        { name: 'http-alt', port: 8080, targetPort: 5000 },
      ]);
      await world.settle();
      // Only the peer has this port. Our istiod leaves the pods here out of it; plain Istio could not, so that there it is no port of the name.
      const expected = world.mode.rules.placement === 'root' ? { [world.exporting.version]: 10 } : {};
      assert.deepEqual(await answersOn(world.importing, 8080), expected);
      await setPorts(world, world.exporting, [{ name: 'http', port: 5000 }]);
    },
  },
  {
    name: "peer's process killed, and back",
    run: (world) =>
      world.withoutWrites(async () => {
        await killWriters(world, world.exporting);
        await world.settle();
      }),
  },
  {
    name: 'importing process killed while pods appear, and back',
    run: async (world) => {
      const back = killWriters(world, world.importing);
      await scale(world.exporting, 3);
      await world.untilExported(world.exporting, 3);
      await back;
      await world.settle();
      await scale(world.exporting, 2);
      await world.untilExported(world.exporting, 2);
    },
  },
  {
    name: "peer's Gateway deleted, and made again",
    run: async (world) => {
      const { client } = world.importing.cluster;
      const { items } = await client.list(resources.gateways);
      const gateway = items.find(({ spec }) => spec.gatewayClassName === 'istio-remote');
      assert.ok(gateway);
      const { name, namespace = '', labels: marks = {}, annotations = {} } = gateway.metadata;
      await client.delete(resources.gateways, { name, namespace });
      await world.settle();
      const again = {
        apiVersion: gateway.apiVersion,
        kind: gateway.kind,
        metadata: { name, namespace, labels: marks, annotations },
        spec: gateway.spec,
      };
      await client.create(resources.gateways, again);
    },
  },
  {
    // Shows that the checks see what they are for.
    name: 'importing process stopped: the check fails',
    run: async (world) => {
      const { importing, exporting } = world;
      const pids = (await writerPods(world, importing)).flatMap(({ metadata }) => processesOf(metadata.name));
      signal(pids, 'SIGSTOP');
      try {
        await scale(exporting, 1);
        await world.changes.until('requests to a pod that has been gone for too long', () =>
          world.verdict(importing).stale.some(({ goneMs }) => goneMs > staleBound) ? true : undefined,
        );
        assert.throws(() => world.assertRight(), /requests went to pods that were gone for more than 5000 ms/);
      } finally {
        signal(pids, 'SIGCONT');
      }
      await world.settle();
      world.judgeFromNow();
      await scale(exporting, 2);
      await world.untilExported(exporting, 2);
    },
  },
  {
    name: 'of two importing replicas the leading one is killed while a pod goes away',
    run: (world) => killLeader(world, world.importing),
  },
  {
    name: 'of two exporting replicas the leading one is killed while a pod goes away',
    run: (world) => killLeader(world, world.exporting),
  },
];

/** Two pods of the service in each cluster: what every case but the first begins with. For after one that failed. */
export async function restore(world: World): Promise<void> {
  for (const side of world.sides) await deploy(side);
  for (const side of world.sides) await world.untilExported(side, 2);
}

async function deploy({ cluster, version }: Side): Promise<void> {
  await applyObjects(cluster.client, [namespaceManifest, serviceManifest(), deploymentManifest(version, 2)]);
}

async function scale({ cluster }: Side, replicas: number): Promise<void> {
  await cluster.client.patch(resources.deployments, application, { type: 'merge', body: { spec: { replicas } } }, { subresource: 'scale' });
}

async function setScope({ cluster }: Side, value: string | null): Promise<void> {
  const body = { metadata: { labels: { [labels.serviceScope]: value } } };
  await cluster.client.patch(resources.services, application, { type: 'merge', body });
}

/** Resolves when the cluster's EndpointSlices have them too. */
async function setPorts(world: World, side: Side, ports: readonly ServicePort[]): Promise<void> {
  await side.cluster.client.patch(resources.services, application, { type: 'merge', body: { spec: { ports } } });
  await world.changes.until(`${side.cluster.name}: endpoints with the ports ${JSON.stringify(ports)}`, () => {
    const named = ports
      .map(({ name }) => name)
      .sort()
      .join();
    const slices = side.cluster
      .state()
      .endpointSlices.filter(({ metadata }) => metadata.labels?.[labels.endpointSliceService] === applicationName);
    return slices.every(
      (slice) =>
        (slice.ports ?? [])
          .map(({ name }) => name ?? '')
          .sort()
          .join() === named,
    )
      ? true
      : undefined;
  });
}

/** Answers of ten requests by version. */
async function answersOn({ cluster }: Side, port: number): Promise<Readonly<Record<string, number>>> {
  const script = `for i in $(seq 1 10); do curl -s -m 1 http://${applicationHost}:${String(port)}/hello; echo; done`;
  const { stdout } = await execInPod(cluster.client, { name: 'client', namespace: loadNamespace }, ['sh', '-c', script]);
  const counts: Record<string, number> = {};
  for (const [, version = ''] of stdout.matchAll(/"version":"(\w+)"/g)) counts[version] = (counts[version] ?? 0) + 1;
  return counts;
}

async function killLeader(world: World, side: Side): Promise<void> {
  await ensureTwoWriters(side.cluster.client, world.mode);
  await scale(world.exporting, 3);
  await world.untilExported(world.exporting, 3);
  await world.settle();
  const { spec } = await side.cluster.client.get(resources.leases, { name: 'isthmus-peering-leader', namespace: istioNamespace });
  signal(processesOf(spec?.holderIdentity ?? ''), 'SIGKILL');
  await scale(world.exporting, 2);
  await world.untilExported(world.exporting, 2);
}

/** Pods of what exports and imports in a cluster. */
async function writerPods({ mode }: World, { cluster }: Side): Promise<readonly Pod[]> {
  const { items } = await cluster.client.list(resources.pods, { namespace: istioNamespace, labelSelector: mode.writerPods });
  assert.ok(items.length > 0);
  return items;
}

/** Kills all replicas of what exports and imports in a cluster, and waits until they are back and ready. */
async function killWriters(world: World, side: Side): Promise<void> {
  const { cluster } = side;
  const { client } = cluster;
  const items = await writerPods(world, side);
  const restarts = new Map(items.map(({ metadata, status }) => [metadata.name, status?.containerStatuses?.[0]?.restartCount ?? 0]));
  signal(
    items.flatMap(({ metadata }) => processesOf(metadata.name)),
    'SIGKILL',
  );
  await waitForObjects(
    {
      client,
      type: resources.pods,
      namespace: istioNamespace,
      labelSelector: world.mode.writerPods,
      what: `${cluster.name}: ${world.mode.writers} back`,
      timeout: 45_000,
    },
    (pods) =>
      pods.every(({ metadata, status }) => {
        const container = status?.containerStatuses?.[0];
        return container?.ready === true && container.restartCount > (restarts.get(metadata.name) ?? 0);
      }),
  );
  await waitForObjects(
    {
      client,
      type: resources.deployments,
      namespace: istioNamespace,
      what: `${cluster.name}: ${world.mode.writers} ready`,
      timeout: 45_000,
    },
    (found) => found.some((one) => one.metadata.name === world.mode.writers && isDeploymentReady(one)),
  );
}

function processesOf(pod: string): readonly number[] {
  const pids = processesWith(`POD_NAME=${pod}`);
  assert.ok(pod !== '' && pids.length > 0, `no process of ${pod}`);
  return pids;
}

/** From outside, as an operator, or the kernel's OOM killer, would. One process may end with another. */
function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}
