/** `isthmus demo` with Istio's own, unmodified programs in place of ours: ISTIOD_BIN is pilot-discovery, ZTUNNEL_BIN is ztunnel. */
import assert from 'node:assert/strict';
import { after, afterEach, describe, test } from 'node:test';

import { resources } from '../../src/api/resources.ts';
import { execInPod, KubeClient } from '../../src/kube/index.ts';
import { isthmus, TestLab } from './lab-fixture.ts';

const istiod = process.env['ISTIOD_BIN'] ?? '';
const ztunnel = process.env['ZTUNNEL_BIN'] ?? '';
const missing = [...(istiod === '' ? ['ISTIOD_BIN'] : []), ...(ztunnel === '' ? ['ZTUNNEL_BIN'] : [])];
const skip = missing.length > 0 && `${missing.join(' and ')} not set`;
const skipWithoutZtunnel = ztunnel === '' && 'ZTUNNEL_BIN not set';

const lab = new TestLab(26581);
const url = 'global-service.demo.mesh.internal:5000/hello';

/** What every demo shows, whoever's programs run: ten answers, and a request that crossed without a gateway. */
function assertGuideOutput(output: string): void {
  const counts = [...output.matchAll(/^\s+(\d+) version: v[12]$/gm)].map(([, count]) => Number(count));
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    10,
    output,
  );
  assert.equal([...output.matchAll(/^✅ Peers Check: all clusters connected$/gm)].length, 2, output);
  assert.match(output, /access\tconnection complete\tsrc\.addr=10\.10\.\S+ .* dst\.addr=10\.20\.\d+\.\d+:15008 .*direction="outbound"/);
}

/** The lines of a `kubectl get` of the output. */
function section(output: string, command: string): string {
  return output.split('\n$ ').find((part) => part.startsWith(command)) ?? '';
}

async function podOf(client: KubeClient, namespace: string, app: string) {
  const { items } = await client.list(resources.pods, { namespace, labelSelector: `app=${app}` });
  const [pod] = items;
  assert.ok(pod, `no pod of ${app}`);
  return pod;
}

/** Every other way than the demo's own: from a cluster's sleep pod until a pod of the other cluster has answered. */
async function crosses(from: string, to: string, version: string, podRange: string): Promise<void> {
  using client = KubeClient.fromKubeconfig({ path: lab.kubeconfig, context: from });
  using other = KubeClient.fromKubeconfig({ path: lab.kubeconfig, context: to });
  const sleep = await podOf(client, 'demo', 'sleep');
  const script = `for i in $(seq 1 40); do curl -s -m 5 ${url} | grep "version: ${version}" && exit 0; done; exit 1`;
  const { stdout } = await execInPod(client, sleep.metadata, ['sh', '-c', script]);
  const [, instance = ''] = /instance: (\S+)/.exec(stdout) ?? [];
  assert.notEqual(instance, '', `${from}: no answer from ${to}: ${stdout}`);
  const target = (await other.get(resources.pods, { namespace: 'demo', name: instance })).status?.podIP ?? '';
  assert.ok(target.startsWith(podRange), target);

  const source = sleep.status?.podIP ?? '';
  const lineOf = async (cluster: KubeClient, direction: string): Promise<string | undefined> => {
    const log = await cluster.logs((await podOf(cluster, 'istio-system', 'ztunnel')).metadata);
    const wanted = [`src.addr=${source}:`, `dst.addr=${target}:15008 `, `direction="${direction}"`, 'connection complete'];
    return log.split('\n').findLast((line) => wanted.every((part) => line.includes(part)));
  };
  // The line is written when the connection has ended on that side.
  for (const [cluster, direction] of [
    [client, 'outbound'],
    [other, 'inbound'],
  ] as const) {
    const deadline = Date.now() + 5_000;
    let line: string | undefined;
    while ((line = await lineOf(cluster, direction)) === undefined) assert.ok(Date.now() < deadline, `no ${direction} line`);
    assert.match(line, /dst\.identity="spiffe:\/\/cluster\.local\/ns\/demo\/sa\/default"/);
    assert.match(line, /src\.identity="spiffe:\/\/cluster\.local\/ns\/demo\/sa\/sleep"/);
  }
}

describe("isthmus demo with Istio's own programs", { concurrency: false }, () => {
  afterEach(async () => {
    await lab.try(isthmus, ['lab', 'down']);
  });

  after(async () => {
    await lab.remove();
  });

  test('two clusters of istiod and ztunnel, and peering beside them', { skip }, async () => {
    const output = await lab.isthmus('demo', '--keep', '--istiod-binary', istiod, '--ztunnel-binary', ztunnel);
    assertGuideOutput(output);
    for (const cluster of ['cluster-1', 'cluster-2']) {
      const pods = section(output, `kubectl get pods -n istio-system --context ${cluster}`);
      assert.equal([...pods.matchAll(/^isthmus-peering-\S+\s+1\/1\s+Running/gm)].length, 2, pods);
      assert.match(pods, /^istiod-\S+\s+1\/1\s+Running/m);
      assert.match(pods, /^ztunnel-\S+\s+1\/1\s+Running/m);
      assert.match(section(output, `kubectl get serviceentry -n demo --context ${cluster}`), /^autogen\.demo\.global-service\s/m);
      const peer = cluster === 'cluster-1' ? 'cluster-2' : 'cluster-1';
      const entries = section(output, `kubectl get workloadentry -n demo --context ${cluster}`);
      assert.match(entries, new RegExp(`^autogen\\.${peer}\\.demo\\.global-service\\s`, 'm'));
      assert.equal([...entries.matchAll(new RegExp(`^autogenflat\\.${peer}\\.demo\\.global-service-`, 'gm'))].length, 2, entries);
    }
    await crosses('cluster-1', 'cluster-2', 'v2', '10.20.');
    await crosses('cluster-2', 'cluster-1', 'v1', '10.10.');
  });

  test('what runs are those programs', { skip }, async () => {
    const output = await lab.isthmus('demo', '--keep', '--istiod-binary', `${istiod},-`, '--ztunnel-binary', `-,${ztunnel}`);
    assertGuideOutput(output);
    assert.match(section(output, 'kubectl get serviceentry -n demo --context cluster-1'), /autogen\.demo\.global-service/);
    assert.match(section(output, 'kubectl get serviceentry -n istio-system --context cluster-2'), /autogen\.demo\.global-service/);
    const isUpstream = async (context: string, app: string): Promise<boolean> => {
      using client = KubeClient.fromKubeconfig({ path: lab.kubeconfig, context });
      const pod = await podOf(client, 'istio-system', app);
      const { stdout } = await execInPod(client, pod.metadata, ['sh', '-c', 'readlink /proc/[0-9]*/exe']);
      const programs = stdout.split('\n');
      const upstream = programs.some((program) => program.startsWith('/opt/istio/'));
      assert.notEqual(
        upstream,
        programs.some((program) => program.endsWith('/node')),
        stdout,
      );
      return upstream;
    };
    assert.ok(await isUpstream('cluster-1', 'istiod'));
    assert.ok(!(await isUpstream('cluster-1', 'ztunnel')));
    assert.ok(!(await isUpstream('cluster-2', 'istiod')));
    assert.ok(await isUpstream('cluster-2', 'ztunnel'));
    await crosses('cluster-1', 'cluster-2', 'v2', '10.20.');
    await crosses('cluster-2', 'cluster-1', 'v1', '10.10.');
  });

  test('ztunnel with our istiod', { skip: skipWithoutZtunnel }, async () => {
    assertGuideOutput(await lab.isthmus('demo', '--ztunnel-binary', ztunnel));
  });

  test('a program that is not there is told before anything is started', async () => {
    const { code, stderr } = await lab.try(isthmus, ['demo', '--istiod-binary', '/nowhere/pilot-discovery']);
    assert.notEqual(code, 0);
    assert.match(stderr, /^isthmus: there is no program \/nowhere\/pilot-discovery \[LAB_PROGRAM\]\n$/);
    assert.match((await lab.try(isthmus, ['lab', 'status'])).stderr, /LAB_NOT_RUNNING/);
  });
});
