/**
 * The guide from its first to its last line, by its own commands, on two clusters of a lab; then what the guide only claims:
 * what was on the wire, what happens when pods go, links go, processes die.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import type { Pod } from '../../src/api/kubernetes.ts';
import { annotations, istioNamespace, labels } from '../../src/api/names.ts';
import { resources } from '../../src/api/resources.ts';
import { deploySamples, linkClusters, waitForCheck } from '../../src/cli/demo/guide.ts';
import { execInPod, KubeClient, waitForObjects } from '../../src/kube/index.ts';
import { beginsWithClientHello, startCapture } from './capture.ts';
import { findKubectl, hostSnapshot, processesWith, repository, TestLab } from './lab-fixture.ts';

const kubectl = findKubectl();
const lab = new TestLab(26441);
const contexts = ['cluster-1', 'cluster-2'] as const;
const clients = new Map<string, KubeClient>();
const url = 'global-service.demo.mesh.internal:5000/hello';
let hostBefore = '';

/** Variables of the guide; contexts are the lab's, without kind's prefix. */
const variables = 'REMOTE_CONTEXT1=cluster-1 REMOTE_CONTEXT2=cluster-2\n';

function client(context: string): KubeClient {
  const known = clients.get(context);
  if (known !== undefined) return known;
  const made = KubeClient.fromKubeconfig({ path: lab.kubeconfig, context });
  clients.set(context, made);
  return made;
}

async function guide(lines: string): Promise<string> {
  assert.ok(kubectl !== undefined);
  return await lab.bash(variables + lines, kubectl);
}

/** Answers by version of `count` requests from the sleep pod of a cluster. */
async function ask(context: string, count: number, target = url): Promise<Record<string, number>> {
  const { items } = await client(context).list(resources.pods, { namespace: 'demo', labelSelector: 'app=sleep' });
  const [pod] = items;
  assert.ok(pod);
  const script = `for i in $(seq 1 ${String(count)}); do curl -s -m 5 ${target}; echo; done`;
  const { stdout } = await execInPod(client(context), pod.metadata, ['sh', '-c', script]);
  const counts: Record<string, number> = {};
  for (const [, version = ''] of stdout.matchAll(/version: (v\d)/g)) counts[version] = (counts[version] ?? 0) + 1;
  return counts;
}

/** Repeats requests until they satisfy `wanted`: the data plane follows the API a moment later. */
async function askUntil(context: string, count: number, wanted: (counts: Record<string, number>) => boolean, target = url): Promise<void> {
  const deadline = Date.now() + 60_000;
  let counts: Record<string, number> = {};
  while (Date.now() < deadline) {
    counts = await ask(context, count, target).catch(() => ({}));
    if (wanted(counts)) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.fail(`${context}: answers stayed ${JSON.stringify(counts)}`);
}

const bothAnswer = (counts: Record<string, number>): boolean => (counts['v1'] ?? 0) > 0 && (counts['v2'] ?? 0) > 0;

async function waitForDemoReady(context: string): Promise<void> {
  await waitForObjects(
    { client: client(context), type: resources.deployments, namespace: 'demo', what: `${context}: demo ready`, timeout: 60_000 },
    (found) => found.length > 0 && found.every(({ status, spec }) => (status?.readyReplicas ?? 0) === (spec?.replicas ?? 1)),
  );
}

async function waitForFlatEntries(context: string, peer: string, count: number): Promise<void> {
  await waitForObjects(
    {
      client: client(context),
      type: resources.workloadEntries,
      namespace: istioNamespace,
      what: `${context}: ${String(count)} entries of ${peer}`,
      timeout: 60_000,
    },
    (found) => found.filter(({ metadata }) => metadata.name.startsWith(`autogenflat.${peer}.demo.global-service-`)).length === count,
  );
}

describe('the guide', { concurrency: false }, () => {
  before(async () => {
    hostBefore = hostSnapshot();
    const printed = await lab.isthmus('lab', 'up');
    assert.match(printed, new RegExp(`export KUBECONFIG=${lab.kubeconfig}`));
  });

  after(async () => {
    for (const made of clients.values()) made[Symbol.dispose]();
    await lab.remove();
    assert.equal(hostSnapshot(), hostBefore, 'the lab left something on the machine');
    assert.deepEqual(processesWith(lab.dir), [], 'the lab left processes behind');
  });

  test('shared root and an intermediate per cluster', async () => {
    await lab.isthmus('ca', 'create-root', '--dir', `${lab.dir}/ca`);
    for (const context of contexts)
      await lab.isthmus('ca', 'issue-intermediate', '--dir', `${lab.dir}/ca`, '--cluster', context, '--context', context);
    for (const context of contexts) {
      const secret = await client(context).get(resources.secrets, { name: 'cacerts', namespace: istioNamespace });
      assert.deepEqual(Object.keys(secret.data ?? {}).sort(), ['ca-cert.pem', 'ca-key.pem', 'cert-chain.pem', 'root-cert.pem']);
    }
  });

  test('install', async () => {
    await Promise.all(contexts.map((context) => lab.isthmus('install', '--context', context)));
  });

  test(
    'the guide by its own command lines',
    { skip: kubectl === undefined ? 'no kubectl: neither KUBECTL_BIN nor one on PATH' : false },
    async (t) => {
      await t.test('control plane', async () => {
        await guide(`
        kubectl --context=$REMOTE_CONTEXT1 label namespace istio-system topology.istio.io/network=flat-network --overwrite
        kubectl --context=$REMOTE_CONTEXT2 label namespace istio-system topology.istio.io/network=flat-network --overwrite`);
        const pods = await guide(`
        kubectl get pods -n istio-system --context $REMOTE_CONTEXT1
        kubectl get pods -n istio-system --context $REMOTE_CONTEXT2`);
        const running = (name: string): RegExp => new RegExp(`^${name}\\s+1/1\\s+Running\\s+0\\s+\\d+[ms]`, 'gm');
        for (const name of ['istio-cni-node-[a-z0-9]{5}', 'istiod-[a-z0-9]+-[a-z0-9]{5}', 'ztunnel-[a-z0-9]{5}']) {
          assert.equal([...pods.matchAll(running(name))].length, 2, `${name} in\n${pods}`);
        }
      });

      await t.test('expose and link', async () => {
        await guide(
          `
        for ctx in $REMOTE_CONTEXT1 $REMOTE_CONTEXT2; do
          kubectl create namespace istio-eastwest --context $ctx
          istioctl --context=$ctx multicluster expose --namespace istio-eastwest
        done`,
        );
        await guide('istioctl multicluster link --contexts=cluster-1,cluster-2 --namespace istio-eastwest');
        const gateways = await guide(`
        for ctx in $REMOTE_CONTEXT1 $REMOTE_CONTEXT2; do
          kubectl get gateway -n istio-eastwest --context $ctx
        done`);
        assert.equal([...gateways.matchAll(/^istio-eastwest\s+istio-eastwest\s+172\.18\.\d+\.\d+\s+True\s+\d+/gm)].length, 2, gateways);
        assert.equal(
          [...gateways.matchAll(/^istio-remote-peer-cluster-[12]\s+istio-remote\s+172\.18\.\d+\.\d+\s+True\s+\d+/gm)].length,
          2,
          gateways,
        );
        for (const context of contexts) {
          await waitForObjects({ client: client(context), type: resources.gateways, what: 'peers connected', timeout: 60_000 }, (found) =>
            found.some(({ status }) =>
              status?.conditions?.some(({ type, status: is }) => type === 'gloo.solo.io/PeeringSucceeded' && is === 'True'),
            ),
          );
        }
        const checks = await guide(`
        for ctx in $REMOTE_CONTEXT1 $REMOTE_CONTEXT2; do
          istioctl multicluster check --context $ctx
        done`);
        for (const line of [
          '✅ License Check: license is valid for multicluster',
          '✅ Pod Check (istiod): all pods healthy',
          '✅ Pod Check (ztunnel): all pods healthy',
          '✅ Pod Check (eastwest gateway): all pods healthy',
          '✅ Gateway Check: all eastwest gateways programmed',
          '✅ Peers Check: all clusters connected',
        ]) {
          assert.equal(checks.split(line).length - 1, 2, `${line} twice in\n${checks}`);
        }
      });

      await t.test('samples, entries, requests, log', async () => {
        await guide(`
        for ctx in $REMOTE_CONTEXT1 $REMOTE_CONTEXT2; do
          kubectl --context=$ctx create namespace demo
          kubectl --context=$ctx label namespace demo istio.io/dataplane-mode=ambient
          kubectl --context=$ctx apply -n demo -f ${repository}/samples/sleep-client.yaml
        done
        sed 's/VERSION_PLACEHOLDER/v1/g' ${repository}/samples/global-service.yaml | kubectl --context=$REMOTE_CONTEXT1 apply -n demo -f -
        sed 's/VERSION_PLACEHOLDER/v2/g' ${repository}/samples/global-service.yaml | kubectl --context=$REMOTE_CONTEXT2 apply -n demo -f -
        sed 's/VERSION_PLACEHOLDER/v1/g' ${repository}/samples/local-service.yaml | kubectl --context=$REMOTE_CONTEXT1 apply -n demo -f -
        sed 's/VERSION_PLACEHOLDER/v2/g' ${repository}/samples/local-service.yaml | kubectl --context=$REMOTE_CONTEXT2 apply -n demo -f -
        for ctx in $REMOTE_CONTEXT1 $REMOTE_CONTEXT2; do
          for app in sleep global-service local-service; do kubectl --context=$ctx rollout status -n demo deploy/$app --timeout=60s; done
        done`);
        await waitForFlatEntries('cluster-1', 'cluster-2', 2);
        await waitForFlatEntries('cluster-2', 'cluster-1', 2);
        const entries = await guide(`
        for ctx in $REMOTE_CONTEXT1 $REMOTE_CONTEXT2; do
          kubectl get serviceentry -n istio-system --context $ctx
          kubectl get workloadentry -n istio-system --context $ctx
        done`);
        assert.match(entries, /^NAME\s+HOSTS\s+LOCATION\s+RESOLUTION\s+AGE$/m);
        assert.match(entries, /^NAME\s+AGE\s+ADDRESS$/m);
        assert.equal(
          [...entries.matchAll(/^autogen\.demo\.global-service\s+\["global-service\.demo\.mesh\.internal"\]\s+STATIC\s+\d+/gm)].length,
          2,
          entries,
        );
        for (const [peer, range] of [
          ['cluster-2', '10\\.20'],
          ['cluster-1', '10\\.10'],
        ] as const) {
          assert.match(entries, new RegExp(`^autogen\\.${peer}\\.demo\\.global-service\\s+\\d+m?s\\s*$`, 'm'));
          const flat = new RegExp(
            `^autogenflat\\.${peer}\\.demo\\.global-service-[a-z0-9]+-[a-z0-9]{5}\\.eacd81ea03fd\\s+\\d+m?s\\s+${range}\\.\\d+\\.\\d+$`,
            'gm',
          );
          assert.equal([...entries.matchAll(flat)].length, 2, entries);
        }
        assert.doesNotMatch(entries, /local-service/);
        await askUntil('cluster-1', 4, bothAnswer);
        const counts = await guide(`
        kubectl --context=$REMOTE_CONTEXT1 exec -n demo deploy/sleep -- sh -c "
        for i in \\$(seq 1 20); do
          curl -s global-service.demo.mesh.internal:5000/hello
          echo
        done" | grep -o 'version: v[0-9]' | sort | uniq -c`);
        assert.match(counts, /\d+ version: v1\n\s*\d+ version: v2/);
        const log = await guide(`
        pod=$(kubectl get pods -n istio-system --context $REMOTE_CONTEXT1 | grep ztunnel | cut -d' ' -f1)
        kubectl logs $pod -n istio-system --context $REMOTE_CONTEXT1`);
        const line =
          /^\d{4}-\d\d-\d\dT[\d:.]+Z\tinfo\taccess\tconnection complete\tsrc\.addr=10\.10\.\d+\.\d+:\d+ src\.workload="sleep-[a-z0-9]+-[a-z0-9]{5}" src\.namespace="demo" src\.identity="spiffe:\/\/cluster\.local\/ns\/demo\/sa\/sleep" src\.cluster="cluster-1" dst\.addr=10\.20\.\d+\.\d+:15008 dst\.hbone_addr=10\.20\.\d+\.\d+:5000 dst\.service="global-service\.demo\.mesh\.internal" dst\.workload="autogenflat\.cluster-2\.demo\.global-service-[a-z0-9]+-[a-z0-9]{5}\.eacd81ea03fd" dst\.namespace="demo" dst\.identity="spiffe:\/\/cluster\.local\/ns\/demo\/sa\/default" dst\.cluster="cluster-2" direction="outbound" bytes_sent=\d+ bytes_recv=\d+ duration="\d+ms"$/m;
        assert.match(log, line);
      });
    },
  );

  // The tests below need the mesh that the guide sets up; without kubectl the demo's own steps do.
  test('the guide by our own steps', { skip: kubectl === undefined ? false : 'kubectl did it' }, async () => {
    const clusters = contexts.map((name, index) => ({
      name,
      client: client(name),
      version: `v${String(index + 1)}`,
      binaries: { istiod: undefined, ztunnel: undefined },
      entryNamespace: 'istio-system',
    }));
    await linkClusters(clusters, () => undefined);
    for (const cluster of clusters) await waitForCheck(cluster);
    await Promise.all(clusters.map(deploySamples));
    await waitForFlatEntries('cluster-1', 'cluster-2', 2);
    await waitForFlatEntries('cluster-2', 'cluster-1', 2);
    await askUntil('cluster-1', 4, bothAnswer);
  });

  test('local-service stays in its own cluster', async () => {
    assert.deepEqual(Object.keys(await ask('cluster-1', 6, 'local-service.demo:5000/hello')), ['v1']);
    assert.deepEqual(Object.keys(await ask('cluster-2', 6, 'local-service.demo:5000/hello')), ['v2']);
  });

  test('on the wire: TLS from pod to pod on 15008, nothing at the gateway, nothing readable', async () => {
    const { supervisor } = await lab.status();
    const running = await startCapture({ pid: supervisor, interfaceName: 'node1', needles: ['GET /hello', 'version: v2'] });
    // Tunnels are pooled: only a new client pod's first connection shows its handshake.
    const base = { client: client('cluster-1'), type: resources.pods, namespace: 'demo', labelSelector: 'app=sleep' };
    const { items: before } = await client('cluster-1').list(resources.pods, base);
    for (const { metadata } of before) await client('cluster-1').delete(resources.pods, metadata);
    const [pod] = await waitForObjects(
      { ...base, what: 'a new sleep pod', timeout: 60_000 },
      (pods) =>
        pods.length === 1 &&
        pods.every(
          ({ metadata, status }) =>
            before.every((old) => old.metadata.uid !== metadata.uid) &&
            status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
        ),
    );
    const source = pod?.status?.podIP;
    await askUntil('cluster-1', 10, bothAnswer);
    const captured = await running.stop();
    const gatewayPods = await client('cluster-2').list(resources.pods, { namespace: 'istio-eastwest' });
    const gatewayAddresses = new Set(gatewayPods.items.flatMap(({ status }) => status?.podIP ?? []));
    const { items: gateways } = await client('cluster-2').list(resources.gateways, { namespace: 'istio-eastwest' });
    for (const { status } of gateways) for (const { value } of status?.addresses ?? []) gatewayAddresses.add(value);
    const { items: servers } = await client('cluster-2').list(resources.pods, { namespace: 'demo', labelSelector: 'app=global-service' });
    const serverAddresses = new Set(servers.flatMap(({ status }) => status?.podIP ?? []));
    const crossing = captured.flows.filter((flow) => flow.source === source && flow.destination.startsWith('10.20.') && flow.bytes > 0);
    assert.ok(crossing.length > 0, JSON.stringify(captured.flows.map((flow) => [flow.source, flow.destination, flow.port, flow.bytes])));
    for (const { destination, port, head } of crossing) {
      assert.ok(serverAddresses.has(destination), destination);
      assert.equal(port, 15008);
      assert.ok(beginsWithClientHello(head), 'not a TLS handshake');
    }
    assert.deepEqual(
      captured.flows.filter(({ destination, port, bytes }) => gatewayAddresses.has(destination) && port === 15008 && bytes > 0),
      [],
    );
    assert.deepEqual(captured.found, { 'GET /hello': 0, 'version: v2': 0 });
  });

  test('the application sees its client', async () => {
    const { items } = await client('cluster-2').list(resources.pods, { namespace: istioNamespace, labelSelector: 'app=ztunnel' });
    const [proxy] = items;
    assert.ok(proxy);
    const log = await client('cluster-2').logs(proxy.metadata);
    assert.match(
      log,
      /src\.addr=10\.10\.\d+\.\d+:\d+ .*src\.cluster="cluster-1" dst\.addr=10\.20\.\d+\.\d+:15008 .*dst\.cluster="cluster-2" direction="inbound"/,
    );
  });

  test('scaled to 0 in one cluster, every answer comes from the other; scaled back, from both', async () => {
    const scale = async (replicas: number): Promise<void> => {
      await client('cluster-1').patch(
        resources.deployments,
        { name: 'global-service', namespace: 'demo' },
        { type: 'merge', body: { spec: { replicas } } },
        { subresource: 'scale' },
      );
    };
    await scale(0);
    await waitForFlatEntries('cluster-2', 'cluster-1', 0);
    await askUntil('cluster-1', 6, (counts) => counts['v2'] === 6);
    await askUntil('cluster-2', 6, (counts) => counts['v2'] === 6);
    await scale(2);
    await waitForFlatEntries('cluster-2', 'cluster-1', 2);
    await askUntil('cluster-2', 6, bothAnswer);
  });

  test('without its label the service leaves the other clusters, with it it returns', async () => {
    const label = async (value: string | null): Promise<void> => {
      const body = { metadata: { labels: { [labels.serviceScope]: value } } };
      await client('cluster-2').patch(resources.services, { name: 'global-service', namespace: 'demo' }, { type: 'merge', body });
    };
    await label(null);
    await waitForFlatEntries('cluster-1', 'cluster-2', 0);
    await label('global');
    await waitForFlatEntries('cluster-1', 'cluster-2', 2);
  });

  test('a deleted peer Gateway takes its entries along; applied by hand it links again', async () => {
    const ref = { name: 'istio-remote-peer-cluster-2', namespace: 'istio-eastwest' };
    const gateway = await client('cluster-1').get(resources.gateways, ref);
    await client('cluster-1').delete(resources.gateways, ref);
    await waitForFlatEntries('cluster-1', 'cluster-2', 0);
    await askUntil('cluster-1', 6, (counts) => counts['v1'] === 6);
    const byHand = { ...gateway.metadata.annotations };
    Reflect.deleteProperty(byHand, annotations.peerCaSha256);
    await client('cluster-1').create(resources.gateways, {
      apiVersion: gateway.apiVersion,
      kind: gateway.kind,
      metadata: { ...ref, labels: gateway.metadata.labels ?? {}, annotations: byHand },
      spec: gateway.spec,
    });
    await waitForFlatEntries('cluster-1', 'cluster-2', 2);
    await askUntil('cluster-1', 6, bothAnswer);
  });

  test('a namespace without its label is back to plain traffic, and in the mesh again with it', async () => {
    const setMode = async (mode: string | null): Promise<void> => {
      await client('cluster-1').patch(
        resources.namespaces,
        { name: 'demo' },
        { type: 'merge', body: { metadata: { labels: { [labels.dataplaneMode]: mode } } } },
      );
      await waitForObjects(
        { client: client('cluster-1'), type: resources.pods, namespace: 'demo', what: 'pods to follow', timeout: 30_000 },
        (pods) => pods.every(({ metadata }) => (metadata.annotations?.[annotations.redirection] === 'enabled') === (mode !== null)),
      );
    };
    await setMode(null);
    assert.deepEqual(await ask('cluster-1', 3), {}, 'the mesh name is known outside the mesh');
    assert.deepEqual(await ask('cluster-1', 3, 'local-service.demo:5000/hello'), { v1: 3 });
    // Now the capture has to see what it did not see in the mesh: the same request, readable, on the application's own port.
    const { items: servers } = await client('cluster-2').list(resources.pods, { namespace: 'demo', labelSelector: 'app=global-service' });
    const address = servers[0]?.status?.podIP ?? '';
    const running = await startCapture({
      pid: (await lab.status()).supervisor,
      interfaceName: 'node1',
      needles: ['GET /hello', 'version: v2'],
    });
    assert.deepEqual(await ask('cluster-1', 1, `${address}:5000/hello`), { v2: 1 });
    assert.deepEqual((await running.stop()).found, { 'GET /hello': 1, 'version: v2': 1 });
    await setMode('ambient');
    await askUntil('cluster-1', 6, bothAnswer);
  });

  test('a deleted Service takes its entries along', async () => {
    const ref = { name: 'global-service', namespace: 'demo' };
    const service = await client('cluster-2').get(resources.services, ref);
    await client('cluster-2').delete(resources.services, ref);
    await waitForFlatEntries('cluster-1', 'cluster-2', 0);
    await client('cluster-2').create(resources.services, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { ...ref, labels: service.metadata.labels ?? {} },
      spec: { ports: [{ port: 5000, name: 'http' }], selector: { app: 'global-service' } },
    });
    await waitForFlatEntries('cluster-1', 'cluster-2', 2);
    await askUntil('cluster-1', 6, bothAnswer);
  });

  describe('kill -9', { concurrency: false }, () => {
    for (const [what, selector] of [
      ['ztunnel', 'app=ztunnel'],
      ['CNI agent', 'k8s-app=istio-cni-node'],
      ['istiod', 'app=istiod'],
    ] as const) {
      test(`${what} comes back, ready, and requests work again`, async () => {
        const find = async () => {
          const { items } = await client('cluster-1').list(resources.pods, { namespace: istioNamespace, labelSelector: selector });
          assert.equal(items.length, 1);
          const [pod] = items;
          assert.ok(pod);
          return pod;
        };
        const pod = await find();
        const restarts = pod.status?.containerStatuses?.[0]?.restartCount ?? 0;
        const pids = processesWith(`POD_NAME=${pod.metadata.name}`);
        assert.ok(pids.length > 0, `no process of ${pod.metadata.name}`);
        for (const pid of pids) process.kill(pid, 'SIGKILL');
        await waitForObjects(
          {
            client: client('cluster-1'),
            type: resources.pods,
            namespace: istioNamespace,
            fieldSelector: `metadata.name=${pod.metadata.name}`,
            what: `${what} to be back`,
            timeout: 60_000,
          },
          ([found]) => {
            const status = found?.status?.containerStatuses?.[0];
            return status !== undefined && status.restartCount > restarts && status.ready;
          },
        );
        await askUntil('cluster-1', 6, bothAnswer);
      });
    }

    test('API server comes back, and requests work again', async () => {
      const ref = { name: 'kube-apiserver-cluster-1-control-plane', namespace: 'kube-system' };
      const restartsOf = (pod: Pod | undefined): number => pod?.status?.containerStatuses?.[0]?.restartCount ?? 0;
      const restarts = restartsOf(await client('cluster-1').get(resources.pods, ref));
      const { clusters } = await lab.status();
      const server = clusters.find(({ name }) => name === 'cluster-1')?.processes.find(({ name }) => name === 'apiserver');
      assert.ok(server?.pid !== undefined);
      process.kill(server.pid, 'SIGKILL');
      assert.deepEqual(await ask('cluster-2', 2, 'local-service.demo:5000/hello'), { v2: 2 });
      const base = {
        client: client('cluster-1'),
        type: resources.pods,
        namespace: ref.namespace,
        fieldSelector: `metadata.name=${ref.name}`,
      };
      await waitForObjects({ ...base, what: 'the API server to be back', timeout: 60_000 }, ([pod]) => restartsOf(pod) > restarts);
      await askUntil('cluster-1', 6, bothAnswer);
      await waitForDemoReady('cluster-1');
    });
  });

  test('uninstall takes it all away, and pods talk plainly', async () => {
    await lab.isthmus('uninstall', '--context', 'cluster-1');
    assert.equal(await client('cluster-1').find(resources.namespaces, { name: istioNamespace }), undefined);
    await waitForObjects(
      {
        client: client('cluster-1'),
        type: resources.deployments,
        namespace: 'istio-eastwest',
        what: 'the gateway to be gone',
        timeout: 30_000,
      },
      (found) => found.length === 0,
    );
    const { items: crds } = await client('cluster-1').list(resources.customResourceDefinitions);
    assert.deepEqual(
      crds.map(({ metadata }) => metadata.name),
      [],
    );
    await askUntil('cluster-1', 3, (counts) => counts['v1'] === 3, 'local-service.demo:5000/hello');
  });
});
