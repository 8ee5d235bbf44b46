import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import type { AnyObject, CustomResourceDefinition, Deployment, KubeObject, Pod, Service } from '../../api/kubernetes.ts';
import { resources, type ResourceType } from '../../api/resources.ts';
import { Informer, KubeClient, waitForObjects } from '../../kube/index.ts';
import { TestServer } from '../apiserver/testing/test-server.ts';
import { budgetsType } from './disruption.ts';
import { runHollowNode } from './hollow-node.ts';
import { runControllers } from './index.ts';
import { isPodActive, isPodReady } from './pod-state.ts';
import { template } from './testing.ts';

/** All controllers against a real API server; only what runs the pods is a stand-in. */

let server: TestServer;
let client: KubeClient;
let stopNode: AbortController;
let node: Promise<void>;
/** Moves the controllers' clock ahead, milliseconds. */
let ahead = 0;

/** The controllers process, which tests end and start again. */
let controllers: { readonly stop: AbortController; readonly done: Promise<void> };

function startControllers(): void {
  const stop = new AbortController();
  const own = KubeClient.fromKubeconfig({ path: server.pki.files.controllerManagerKubeconfig });
  const options = {
    client: own,
    rootCa: server.pki.ca,
    loadBalancerCidr: '172.18.201.0/29',
    dnsAddress: '10.96.0.10',
    clock: { now: () => Date.now() + ahead },
  };
  const done = runControllers(options, stop.signal).finally(() => own[Symbol.dispose]());
  controllers = { stop, done };
}

async function stopControllers(): Promise<void> {
  controllers.stop.abort();
  await controllers.done;
}

before(async () => {
  process.env['ISTHMUS_LOG'] ??= 'fatal';
  server = await TestServer.start();
  client = KubeClient.fromKubeconfig({ path: server.pki.files.adminKubeconfig });
  stopNode = new AbortController();
  const own = KubeClient.fromKubeconfig({ path: server.pki.files.nodeKubeconfig });
  startControllers();
  node = runHollowNode({ client: own, name: 'test-control-plane', signal: stopNode.signal, renewal: 1000 }).finally(() =>
    own[Symbol.dispose](),
  );
});

after(async () => {
  stopNode.abort();
  await node;
  await stopControllers();
  client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

/** Waits until the objects of a namespace (all, for kinds without) are as described. */
async function until<T extends KubeObject>(
  type: ResourceType<T>,
  namespace: string,
  what: string,
  condition: (objects: readonly T[]) => boolean,
  labelSelector?: string,
): Promise<readonly T[]> {
  const scope = type.namespaced ? { namespace } : {};
  return await waitForObjects({ client, type, ...scope, labelSelector, what, timeout: 15_000 }, condition);
}

async function inNamespace(name: string, work: (namespace: string) => Promise<void>): Promise<void> {
  await client.create(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  await until(resources.serviceAccounts, name, 'the default service account', (accounts) =>
    accounts.some(({ metadata }) => metadata.name === 'default'),
  );
  await work(name);
  await client.delete(resources.namespaces, { name });
  await until(
    resources.namespaces,
    name,
    `namespace ${name} to go`,
    (namespaces) => !namespaces.some(({ metadata }) => metadata.name === name),
  );
}

function web(namespace: string, replicas: number, image = 'web:1', spec: Partial<NonNullable<Deployment['spec']>> = {}): Deployment {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace },
    spec: { replicas, selector: { matchLabels: { app: 'web' } }, template: template(image), ...spec },
  };
}

/** What `kubectl rollout status` waits for. */
function rolledOut({ metadata, spec, status }: Deployment): boolean {
  const wanted = spec?.replicas ?? 1;
  return (
    (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) &&
    (status?.updatedReplicas ?? 0) === wanted &&
    (status?.replicas ?? 0) === wanted &&
    (status?.availableReplicas ?? 0) === wanted
  );
}

const roll = (namespace: string): Promise<readonly Deployment[]> =>
  until(resources.deployments, namespace, 'the rollout', (all) => all.every(rolledOut));
const setImage = (namespace: string, image: string): Promise<Deployment> =>
  client.patch(
    resources.deployments,
    { name: 'web', namespace },
    { type: 'strategic', body: { spec: { template: { spec: { containers: [{ name: 'main', image }] } } } } },
  );
const scale = (namespace: string, replicas: number): Promise<Deployment> =>
  client.patch(resources.deployments, { name: 'web', namespace }, { type: 'merge', body: { spec: { replicas } } });
const active = async (namespace: string): Promise<readonly Pod[]> =>
  (await client.list(resources.pods, { namespace })).items.filter(isPodActive);

void test('a Deployment becomes pods, endpoints and events', async () => {
  await inNamespace('t1', async (namespace) => {
    const spec = { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] };
    await client.create(resources.services, { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace }, spec });
    await client.create(resources.deployments, web(namespace, 2));
    await roll(namespace);
    const [slice] = await until(resources.endpointSlices, namespace, 'two endpoints', ([one]) => one?.endpoints?.length === 2);
    assert.deepEqual(
      slice?.endpoints?.map(({ conditions, nodeName, targetRef }) => [conditions?.ready, nodeName, targetRef?.kind]),
      Array.from({ length: 2 }, () => [true, 'test-control-plane', 'Pod']),
    );
    assert.deepEqual(slice.ports, [{ name: 'http', port: 8080, protocol: 'TCP' }]);
    const { items: sets } = await client.list(resources.replicaSets, { namespace });
    const [set] = sets;
    const hash = set?.metadata.labels?.['pod-template-hash'] ?? '';
    assert.equal(set?.metadata.name, `web-${hash}`);
    const pods = await active(namespace);
    assert.ok(pods.every(({ metadata }) => new RegExp(`^web-${hash}-[a-z0-9]{5}$`).test(metadata.name)));
    const events = await until(
      resources.events,
      namespace,
      'the events',
      (all) => all.filter(({ reason }) => reason === 'Scheduled').length === 2,
    );
    const told = events.map(({ reason, message, source }) => `${reason ?? ''} ${source?.component ?? ''} ${message ?? ''}`);
    for (const wanted of [
      `ScalingReplicaSet deployment-controller Scaled up replica set web-${hash} from 0 to 2`,
      ...pods.map(({ metadata }) => `SuccessfulCreate replicaset-controller Created pod: ${metadata.name}`),
      ...pods.map(
        ({ metadata }) => `Scheduled default-scheduler Successfully assigned ${namespace}/${metadata.name} to test-control-plane`,
      ),
    ]) {
      assert.ok(told.includes(wanted), `${wanted}\nis not among\n${told.join('\n')}`);
    }
  });
});

void test('during a rolling update no pod is one too many or one too few at any moment', async () => {
  await inNamespace('t2', async (namespace) => {
    await client.create(
      resources.deployments,
      web(namespace, 4, 'web:1', { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 1 } } }),
    );
    await roll(namespace);
    const stop = new AbortController();
    const pods = new Informer({ client, type: resources.pods, namespace });
    const seen: string[] = [];
    const running = pods.run(stop.signal);
    await pods.synced;
    pods.onChange(() => {
      const living = [...pods.list()].filter(isPodActive);
      const ready = living.filter(isPodReady).length;
      if (living.length > 5 || ready < 3) seen.push(`${String(living.length)} pods, ${String(ready)} ready`);
    });
    for (const image of ['web:2', 'web:3', 'web:1']) {
      await setImage(namespace, image);
      await roll(namespace);
    }
    stop.abort();
    await running;
    assert.deepEqual(seen, []);
    const revisions = (await client.list(resources.replicaSets, { namespace })).items.map(({ metadata, spec }) => [
      metadata.annotations?.['deployment.kubernetes.io/revision'],
      spec?.replicas,
    ]);
    assert.deepEqual(revisions.sort(), [
      ['2', 0],
      ['3', 0],
      ['4', 4],
    ]);
  });
});

void test('a broken image stops the rollout with the old pods still serving, and going back heals it', async () => {
  await inNamespace('t3', async (namespace) => {
    await client.create(resources.deployments, web(namespace, 3, 'web:1', { progressDeadlineSeconds: 2 }));
    await roll(namespace);
    await setImage(namespace, 'broken:1');
    await until(resources.deployments, namespace, 'the deadline', ([one]) =>
      (one?.status?.conditions ?? []).some(({ reason }) => reason === 'ProgressDeadlineExceeded'),
    );
    assert.equal((await active(namespace)).filter(isPodReady).length, 3);
    await setImage(namespace, 'web:1');
    await roll(namespace);
  });
});

void test('Recreate ends every old pod before a new one begins', async () => {
  await inNamespace('t4', async (namespace) => {
    await client.create(resources.deployments, web(namespace, 3, 'web:1', { strategy: { type: 'Recreate' } }));
    await roll(namespace);
    const stop = new AbortController();
    const pods = new Informer({ client, type: resources.pods, namespace });
    let mixed = false;
    const running = pods.run(stop.signal);
    pods.onChange(() => {
      mixed ||= new Set([...pods.list()].map(({ spec }) => spec?.containers[0]?.image)).size > 1;
    });
    await setImage(namespace, 'web:2');
    await roll(namespace);
    stop.abort();
    await running;
    assert.equal(mixed, false);
  });
});

void test('ended in the middle of its work at any moment, it continues and makes nothing twice', async () => {
  await inNamespace('t5', async (namespace) => {
    await client.create(resources.deployments, web(namespace, 1));
    for (const [replicas, pause] of [
      [6, 0],
      [2, 5],
      [7, 10],
      [3, 20],
      [5, 40],
    ] as const) {
      await scale(namespace, replicas);
      await new Promise((resolve) => setTimeout(resolve, pause));
      await stopControllers();
      startControllers();
      await roll(namespace);
      assert.equal((await active(namespace)).length, replicas);
    }
    assert.equal((await client.list(resources.replicaSets, { namespace })).items.length, 1);
  });
});

void test('paused, a Deployment scales but does not roll', async () => {
  await inNamespace('t6', async (namespace) => {
    await client.create(resources.deployments, web(namespace, 1));
    await roll(namespace);
    await client.patch(resources.deployments, { name: 'web', namespace }, { type: 'merge', body: { spec: { paused: true } } });
    await setImage(namespace, 'web:2');
    await scale(namespace, 3);
    await until(resources.pods, namespace, 'three pods', (pods) => pods.filter(isPodReady).length === 3);
    assert.ok((await active(namespace)).every(({ spec }) => spec?.containers[0]?.image === 'web:1'));
    await client.patch(resources.deployments, { name: 'web', namespace }, { type: 'merge', body: { spec: { paused: false } } });
    await roll(namespace);
    assert.ok((await active(namespace)).every(({ spec }) => spec?.containers[0]?.image === 'web:2'));
  });
});

void test('a disruption budget says how many pods may go', async () => {
  await inNamespace('th', async (namespace) => {
    await client.create(resources.deployments, web(namespace, 3));
    const spec = { selector: { matchLabels: { app: 'web' } }, maxUnavailable: '50%' };
    await client.create(budgetsType, { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: { name: 'web', namespace }, spec });
    const allows = (wanted: number): Promise<unknown> =>
      until(budgetsType, namespace, `${wanted} disruptions`, ([budget]) => budget?.status?.disruptionsAllowed === wanted);
    await allows(2);
    await scale(namespace, 1);
    await allows(1);
  });
});

const gone = (objects: readonly KubeObject[]): boolean => objects.length === 0;

for (const propagationPolicy of ['Background', 'Foreground'] as const) {
  void test(`deleted in the ${propagationPolicy.toLowerCase()}, a Deployment takes all that it made with it`, async () => {
    await inNamespace(`t7-${propagationPolicy.toLowerCase()}`, async (namespace) => {
      await client.create(resources.deployments, web(namespace, 2));
      await roll(namespace);
      await client.delete(resources.deployments, { name: 'web', namespace }, { propagationPolicy });
      await until(resources.deployments, namespace, 'the Deployment to go', gone);
      if (propagationPolicy === 'Foreground')
        assert.equal((await client.list(resources.pods, { namespace })).items.length, 0, 'it goes last');
      await until(resources.replicaSets, namespace, 'the ReplicaSet to go', gone);
      await until(resources.pods, namespace, 'the pods to go', gone);
    });
  });
}

void test('deleted as an orphanage, it leaves them alone, and its successor adopts them', async () => {
  await inNamespace('t8', async (namespace) => {
    await client.create(resources.deployments, web(namespace, 2));
    await roll(namespace);
    const before = (await active(namespace)).map(({ metadata }) => metadata.uid).sort();
    await client.delete(resources.deployments, { name: 'web', namespace }, { propagationPolicy: 'Orphan' });
    await until(resources.deployments, namespace, 'the Deployment to go', gone);
    const [set] = await until(
      resources.replicaSets,
      namespace,
      'the ReplicaSet to be free',
      ([one]) => one !== undefined && (one.metadata.ownerReferences ?? []).length === 0,
    );
    const successor = await client.create(resources.deployments, web(namespace, 2));
    await roll(namespace);
    const adopted = await client.get(resources.replicaSets, set?.metadata ?? { name: '' });
    assert.equal(adopted.metadata.ownerReferences?.[0]?.uid, successor.metadata.uid);
    assert.deepEqual((await active(namespace)).map(({ metadata }) => metadata.uid).sort(), before);
  });
});

void test('a pod that loses the label of its ReplicaSet is let go and replaced', async () => {
  await inNamespace('t9', async (namespace) => {
    await client.create(resources.deployments, web(namespace, 1));
    await roll(namespace);
    const [pod] = await active(namespace);
    assert.ok(pod);
    await client.patch(resources.pods, pod.metadata, { type: 'merge', body: { metadata: { labels: { app: 'quarantine' } } } });
    const pods = await until(resources.pods, namespace, 'a second pod', (all) => all.length === 2 && all.every(isPodReady));
    assert.deepEqual(pods.find(({ metadata }) => metadata.uid === pod.metadata.uid)?.metadata.ownerReferences ?? [], []);
  });
});

const widgets: ResourceType<AnyObject> = { group: 'test.isthmus.dev', version: 'v1', plural: 'widgets', kind: 'Widget', namespaced: true };

function widgetDefinition(): CustomResourceDefinition {
  const schema = {
    openAPIV3Schema: { type: 'object', properties: { spec: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } } },
  };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'widgets.test.isthmus.dev' },
    spec: {
      group: widgets.group,
      scope: 'Namespaced',
      names: { plural: widgets.plural, singular: 'widget', kind: widgets.kind, listKind: 'WidgetList' },
      versions: [{ name: 'v1', served: true, storage: true, schema }],
    },
  };
}

const widget = (namespace: string, name: string, metadata: Partial<KubeObject['metadata']> = {}): AnyObject => ({
  apiVersion: 'test.isthmus.dev/v1',
  kind: 'Widget',
  metadata: { name, namespace, ...metadata },
});

void test('custom resources own and are owned, and a namespace waits for the finalizers of what is in it', async () => {
  await client.create(resources.customResourceDefinitions, widgetDefinition());
  await until(resources.customResourceDefinitions, '', 'the CRD to be served', (all) =>
    all.some(
      ({ metadata, status }) =>
        metadata.name.startsWith('widgets') && (status?.conditions ?? []).some((c) => c.type === 'Established' && c.status === 'True'),
    ),
  );
  const namespace = 'ta';
  await client.create(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
  const owner = await client.create(widgets, widget(namespace, 'owner'));
  const ownerReferences = [{ apiVersion: owner.apiVersion, kind: owner.kind, name: 'owner', uid: owner.metadata.uid ?? '' }];
  await client.create(resources.configMaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'owned', namespace, ownerReferences },
  });
  await client.create(widgets, widget(namespace, 'owned', { ownerReferences }));
  await client.create(widgets, widget(namespace, 'held', { finalizers: ['test.isthmus.dev/hold'] }));
  await client.delete(widgets, { name: 'owner', namespace });
  await until(widgets, namespace, 'the owned widget to go', (all) => all.length === 1);
  await until(
    resources.configMaps,
    namespace,
    'the owned ConfigMap to go',
    (all) => !all.some(({ metadata }) => metadata.name === 'owned'),
  );

  await client.delete(resources.namespaces, { name: namespace });
  const condition = 'NamespaceFinalizersRemaining';
  const [waiting] = (
    await until(resources.namespaces, '', 'the namespace to say what it waits for', (all) =>
      all.some(
        ({ metadata, status }) =>
          metadata.name === namespace && (status?.conditions ?? []).some((c) => c.type === condition && c.status === 'True'),
      ),
    )
  ).filter(({ metadata }) => metadata.name === namespace);
  assert.equal(waiting?.status?.phase, 'Terminating');
  assert.match(
    waiting.status.conditions?.find(({ type }) => type === condition)?.message ?? '',
    /test\.isthmus\.dev\/hold in 1 resource instances/,
  );
  await client.patch(widgets, { name: 'held', namespace }, { type: 'merge', body: { metadata: { finalizers: null } } });
  await until(resources.namespaces, '', 'the namespace to go', (all) => !all.some(({ metadata }) => metadata.name === namespace));
  await client.delete(resources.customResourceDefinitions, { name: 'widgets.test.isthmus.dev' });
});

void test('an object whose owner never existed is garbage', async () => {
  await inNamespace('tb', async (namespace) => {
    const ownerReferences = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'ghost', uid: '00000000-0000-4000-8000-000000000000' }];
    await client.create(resources.configMaps, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'child', namespace, ownerReferences },
    });
    await until(resources.configMaps, namespace, 'the child to go', (all) => !all.some(({ metadata }) => metadata.name === 'child'));
  });
});

void test('load balancer addresses come from the pool, are not given twice, and come back', async () => {
  await inNamespace('tc', async (namespace) => {
    const make = (name: string): Promise<KubeObject> =>
      client.create(resources.services, {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, namespace },
        spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
      });
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
    for (const name of names) await make(name);
    const address = ({ status }: { status?: { loadBalancer?: { ingress?: { ip?: string }[] } } }): string | undefined =>
      status?.loadBalancer?.ingress?.[0]?.ip;
    // 172.18.201.0/29 has six.
    const services = await until(
      resources.services,
      namespace,
      'six addresses',
      (all) => all.filter((one) => address(one) !== undefined).length === 6,
    );
    assert.deepEqual(
      services.flatMap((one) => address(one) ?? []).sort(),
      [1, 2, 3, 4, 5, 6].map((n) => `172.18.201.${String(n)}`),
    );
    const without = services.find((one) => address(one) === undefined)?.metadata.name;
    const [first] = services.filter((one) => address(one) !== undefined);
    await client.delete(resources.services, first?.metadata ?? { name: '' });
    await until(resources.services, namespace, 'the seventh to get the free one', (all) =>
      all.some((one) => one.metadata.name === without && address(one) === (first && address(first))),
    );
    const second = services.find((one) => address(one) !== undefined && one !== first);
    await client.patch(resources.services, second?.metadata ?? { name: '' }, { type: 'merge', body: { spec: { type: 'ClusterIP' } } });
    await until(resources.services, namespace, 'the address of a ClusterIP service to go', (all) =>
      all.every((one) => one.metadata.name !== second?.metadata.name || address(one) === undefined),
    );
  });
});

void test('a DaemonSet has its pod on the node, and updates it', async () => {
  await inNamespace('td', async (namespace) => {
    const spec = { selector: { matchLabels: { app: 'web' } }, template: template('agent:1') };
    await client.create(resources.daemonSets, { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 'agent', namespace }, spec });
    const done = (image: string): Promise<unknown> =>
      until(
        resources.pods,
        namespace,
        `the pod of ${image}`,
        (pods) => pods.length === 1 && pods.every((pod) => isPodReady(pod) && pod.spec?.containers[0]?.image === image),
      );
    await done('agent:1');
    await client.patch(
      resources.daemonSets,
      { name: 'agent', namespace },
      { type: 'merge', body: { spec: { template: template('agent:2') } } },
    );
    await done('agent:2');
    const [status] = await until(
      resources.daemonSets,
      namespace,
      'its status',
      ([one]) => one?.status?.numberAvailable === 1 && one.status.observedGeneration === 2,
    );
    assert.deepEqual(
      [status?.status?.desiredNumberScheduled, status?.status?.updatedNumberScheduled, status?.status?.numberReady],
      [1, 1, 1],
    );
    const { items } = await client.list(resources.controllerRevisions, { namespace });
    assert.deepEqual(items.map(({ revision }) => revision).sort(), [1, 2]);
  });
});

void test('a StatefulSet numbers its pods, begins them in order and ends them from the last', async () => {
  await inNamespace('te', async (namespace) => {
    const spec = { replicas: 3, serviceName: 'db', selector: { matchLabels: { app: 'web' } }, template: template('db:1') };
    await client.create(resources.statefulSets, { apiVersion: 'apps/v1', kind: 'StatefulSet', metadata: { name: 'db', namespace }, spec });
    const names = (pods: readonly Pod[]): string =>
      pods
        .map(({ metadata }) => metadata.name)
        .sort()
        .join(' ');
    const pods = await until(
      resources.pods,
      namespace,
      'three ready pods',
      (all) => names(all) === 'db-0 db-1 db-2' && all.every(isPodReady),
    );
    assert.deepEqual(pods.map(({ spec: podSpec }) => [podSpec?.hostname, podSpec?.subdomain]).sort(), [
      ['db-0', 'db'],
      ['db-1', 'db'],
      ['db-2', 'db'],
    ]);
    await client.patch(resources.statefulSets, { name: 'db', namespace }, { type: 'merge', body: { spec: { replicas: 1 } } });
    await until(resources.pods, namespace, 'one pod', (all) => names(all) === 'db-0');
  });
});

void test('the cluster CA is put back into its ConfigMap, and the default account is made again', async () => {
  await inNamespace('tf', async (namespace) => {
    const ca = { name: 'kube-root-ca.crt', namespace };
    const whole = (configMaps: readonly { metadata: { name: string }; data?: Record<string, string> }[]): boolean =>
      configMaps.some(({ metadata, data }) => metadata.name === ca.name && data?.['ca.crt'] === server.pki.ca);
    await until(resources.configMaps, namespace, 'the CA', whole);
    await client.patch(resources.configMaps, ca, { type: 'merge', body: { data: { 'ca.crt': 'forged' } } });
    await until(resources.configMaps, namespace, 'the CA again', whole);
    await client.delete(resources.configMaps, ca);
    await until(resources.configMaps, namespace, 'the CA once more', whole);
    const old = await client.get(resources.serviceAccounts, { name: 'default', namespace });
    await client.delete(resources.serviceAccounts, old.metadata);
    await until(
      resources.serviceAccounts,
      namespace,
      'a new default account',
      ([one]) => one !== undefined && one.metadata.uid !== old.metadata.uid,
    );
  });
});

void test('cluster DNS has its Service, with its address and without a selector, also after somebody deleted it', async () => {
  const wanted = (services: readonly Service[]): boolean =>
    services.some(({ metadata, spec }) => metadata.name === 'kube-dns' && spec?.clusterIP === '10.96.0.10' && spec.selector === undefined);
  await until(resources.services, 'kube-system', 'kube-dns', wanted);
  await client.delete(resources.services, { name: 'kube-dns', namespace: 'kube-system' });
  await until(resources.services, 'kube-system', 'kube-dns again', wanted);
  await until(resources.endpointSlices, 'kube-system', 'its endpoint', ([slice]) => slice?.endpoints?.[0]?.addresses[0] === '10.96.0.10');
});

void test('a node that is silent is Unknown and gets no pods; its pods are not ready; all of it ends when it speaks again', async () => {
  await inNamespace('tg', async (namespace) => {
    await client.create(resources.deployments, web(namespace, 1));
    await roll(namespace);
    const name = 'silent';
    const kubelet = new AbortController();
    const running = runHollowNode({ client, name, signal: kubelet.signal, renewal: 0 });
    const ready = (wanted: string): Promise<unknown> =>
      until(resources.nodes, '', `the node to be ${wanted}`, (nodes) =>
        nodes.some(
          ({ metadata, status }) => metadata.name === name && status?.conditions?.some((c) => c.type === 'Ready' && c.status === wanted),
        ),
      );
    await ready('True');
    const spec = { nodeName: name, containers: [{ name: 'main', image: 'web:1' }] };
    await client.create(resources.pods, { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'there', namespace }, spec });
    const there = (wanted: boolean): Promise<unknown> =>
      until(resources.pods, namespace, 'the pod there', (pods) =>
        pods.some((pod) => pod.metadata.name === 'there' && isPodReady(pod) === wanted),
      );
    await there(true);
    ahead = 41_000;
    // The other node renews its lease within a second; a label makes the controller look now rather than in 40 s.
    await client.patch(resources.nodes, { name }, { type: 'merge', body: { metadata: { labels: { look: 'now' } } } });
    await ready('Unknown');
    await there(false);
    const taints = async (): Promise<unknown> => (await client.get(resources.nodes, { name })).spec?.taints?.map(({ key }) => key);
    await until(resources.nodes, '', 'the taint', (nodes) =>
      nodes.some(({ metadata, spec }) => metadata.name === name && spec?.taints?.length === 1),
    );
    assert.deepEqual(await taints(), ['node.kubernetes.io/unreachable']);
    kubelet.abort();
    await running;
    const again = new AbortController();
    const back = runHollowNode({ client, name, signal: again.signal });
    await ready('True');
    await until(resources.nodes, '', 'the taint to go', (nodes) =>
      nodes.some(({ metadata, spec }) => metadata.name === name && (spec?.taints ?? []).length === 0),
    );
    again.abort();
    await back;
    await client.delete(resources.pods, { name: 'there', namespace }, { gracePeriodSeconds: 0 });
    await client.delete(resources.nodes, { name });
    ahead = 0;
  });
});
