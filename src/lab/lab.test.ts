import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { Pod } from '../api/kubernetes.ts';
import { resources } from '../api/resources.ts';
import { IsthmusError } from '../core/index.ts';
import { execInPod, KubeClient, waitForObjects } from '../kube/index.ts';
import { processExit } from '../linux/index.ts';
import { labDown, labStatus, labUp, type Lab } from './index.ts';
import { isolated } from './testing.ts';

/** A whole lab; its ports and its processes are the test's own. */

process.env['ISTHMUS_LAB_DIR'] = path.join(mkdtempSync(path.join(tmpdir(), 'isthmus-lab-')), 'a folder', 'lab');
process.env['XDG_CACHE_HOME'] = path.resolve(import.meta.dirname, '../../node_modules/.cache');

/** What a lab must leave as it was. */
function hostState() {
  const run = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: 'utf8' });
  return {
    links: run('ip', '-o', 'link').replace(/qlen \d+|qdisc \w+/g, ''),
    addresses: run('ip', '-o', 'address'),
    routes: run('ip', 'route', 'show', 'table', 'all'),
    rules: run('ip', 'rule'),
    nftables: run('nft', 'list', 'ruleset'),
    namespaces: existsSync('/run/netns') ? readdirSync('/run/netns') : [],
    mounts: readFileSync('/proc/self/mounts', 'utf8'),
    processes: processes(),
  };
}

/** The programs of all processes, but those of this test run. */
function processes(): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    })
    .filter((line) => /isthmus-lab|lab supervise|lab apiserver|lab controllers|lab node|shim\.sh|sleep infinity/.test(line))
    .sort();
}

const code = (expected: string) => (error: unknown) => error instanceof IsthmusError && error.code === expected;

function pod(name: string, spec: Partial<NonNullable<Pod['spec']>> = {}, container: object = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'c', image: 'curlimages/curl', command: ['sleep', 'infinity'], ...container }],
      ...spec,
    },
  };
}

function helloworld(name: string, version: string): Pod {
  const probe = { httpGet: { path: '/health', port: 5000 } };
  return pod(
    name,
    // With a grace period the object goes last: who sees it gone knows that all of the pod is.
    { terminationGracePeriodSeconds: 10 },
    {
      image: `docker.io/istio/examples-helloworld-${version}`,
      command: undefined,
      readinessProbe: probe,
      ports: [{ name: 'http', containerPort: 5000 }],
    },
  );
}

async function when(client: KubeClient, name: string, what: string, condition: (pod: Pod) => boolean): Promise<Pod> {
  const pods = await waitForObjects(
    {
      client,
      type: resources.pods,
      namespace: 'default',
      fieldSelector: `metadata.name=${name}`,
      what: `${name} ${what}`,
      timeout: 20_000,
    },
    (found) => found.some(condition),
  );
  const [found] = pods;
  assert.ok(found);
  return found;
}

const isReady = (of: Pod): boolean => of.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
const statusOf = (of: Pod) => of.status?.containerStatuses?.[0];

isolated(import.meta.filename, () => {
  test('without a lab, down and status say so in one line', async () => {
    await assert.rejects(labDown(), code('LAB_NOT_RUNNING'));
    await assert.rejects(labStatus(), code('LAB_NOT_RUNNING'));
  });

  test('a taken port is told, and nothing is started', async () => {
    const server = net.createServer().listen(16_442, '127.0.0.1');
    await once(server, 'listening');
    const state = hostState();
    await assert.rejects(labUp(), code('LAB_PORT_TAKEN'));
    assert.deepEqual(hostState(), state);
    server.close();
    await once(server, 'close');
  });

  describe('a lab', () => {
    const host = hostState();
    let lab: Lab;
    let clients: readonly [KubeClient, KubeClient];
    const exec = async (client: KubeClient, name: string, command: readonly string[]) =>
      await execInPod(client, { namespace: 'default', name, container: 'c' }, command);

    before(async () => {
      lab = await labUp();
      const client = (context: string): KubeClient => KubeClient.fromKubeconfig({ path: lab.kubeconfig, context });
      clients = [client('cluster-1'), client('cluster-2')];
    });

    after(async () => {
      for (const client of clients) client[Symbol.dispose]();
      await labDown();
      const { kubeconfig } = lab;
      assert.equal(existsSync(path.dirname(kubeconfig)), false, 'nothing is left of its files');
      assert.deepEqual(hostState(), host, 'nothing is left of its processes, and the host is as it was');
    });

    test("its kubeconfig is for its owner alone; its network is not the host's", async () => {
      assert.deepEqual(lab.contexts, ['cluster-1', 'cluster-2']);
      assert.equal(statSync(lab.kubeconfig).mode & 0o777, 0o600);
      const { links, routes, nftables, mounts } = hostState();
      assert.deepEqual(
        { links, routes, nftables, mounts },
        { links: host.links, routes: host.routes, nftables: host.nftables, mounts: host.mounts },
      );
      await assert.rejects(labUp(), code('LAB_ALREADY_RUNNING'));
    });

    test('pods start, have addresses that the other cluster reaches, names, and API credentials', async () => {
      const [one, two] = clients;
      await one.create(resources.pods, pod('client'));
      await two.create(resources.pods, helloworld('server', 'v2'));
      const server = await when(two, 'server', 'ready', isReady);
      await when(one, 'client', 'ready', isReady);
      const address = server.status?.podIP ?? '';
      assert.match(address, /^10\.20\.0\.\d+$/);
      const answer = await exec(one, 'client', ['curl', '-s', '--max-time', '5', `http://${address}:5000/hello`]);
      assert.equal(answer.stdout, 'Hello version: v2, instance: server\n');
      const script = `
        cd /var/run/secrets/kubernetes.io/serviceaccount
        curl -s --cacert ca.crt -H "Authorization: Bearer $(cat token)" https://kubernetes.default.svc/version | grep -o gitVersion
        curl -s --cacert ca.crt https://$KUBERNETES_SERVICE_HOST/livez; cat /etc/hostname namespace`;
      assert.equal((await exec(one, 'client', ['sh', '-c', script])).stdout, 'gitVersion\nokclient\ndefault');
    });

    test('exec and logs: outputs apart, exit codes, standard input, previous runs', async () => {
      const [one] = clients;
      const said = await exec(one, 'client', ['sh', '-c', 'echo out; echo err >&2; exit 3']);
      assert.deepEqual([said.stdout, said.stderr, said.exitCode], ['out\n', 'err\n', 3]);
      await one.create(resources.pods, pod('failing', {}, { command: ['sh', '-c', 'echo run; exit 4'] }));
      const failing = await when(one, 'failing', 'restarted', (found) => statusOf(found)?.state?.waiting?.reason === 'CrashLoopBackOff');
      assert.equal(statusOf(failing)?.restartCount, 1);
      assert.equal(statusOf(failing)?.lastState?.terminated?.exitCode, 4);
      assert.equal(await one.logs({ namespace: 'default', name: 'failing' }), 'run\n');
    });

    test('a ConfigMap that changes is seen by a pod that runs', async () => {
      const [one] = clients;
      const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'settings', namespace: 'default' }, data: { key: 'old' } };
      await one.create(resources.configMaps, object);
      const volumes = [{ name: 'v', configMap: { name: 'settings' } }];
      const wait = 'until [ "$(cat /v/key)" = new ]; do sleep 0.05; done; echo seen';
      await one.create(
        resources.pods,
        pod('reader', { volumes, restartPolicy: 'Never' }, { command: ['sh', '-c', wait], volumeMounts: [{ name: 'v', mountPath: '/v' }] }),
      );
      await when(one, 'reader', 'ready', isReady);
      await one.patch(resources.configMaps, { namespace: 'default', name: 'settings' }, { type: 'merge', body: { data: { key: 'new' } } });
      await when(one, 'reader', 'done', (found) => found.status?.phase === 'Succeeded');
      assert.equal(await one.logs({ namespace: 'default', name: 'reader' }), 'seen\n');
    });

    test('what cannot start says why', async () => {
      const [one] = clients;
      await one.create(resources.pods, pod('unknown-image', {}, { image: 'example.com/none:1' }));
      await one.create(
        resources.pods,
        pod('no-secret', {}, { env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'none', key: 'k' } } }] }),
      );
      const image = await when(one, 'unknown-image', 'refused', (found) => statusOf(found)?.state?.waiting?.reason === 'ImagePullBackOff');
      assert.match(statusOf(image)?.state?.waiting?.message ?? '', /example\.com\/none:1/);
      await when(one, 'no-secret', 'refused', (found) => statusOf(found)?.state?.waiting?.reason === 'CreateContainerConfigError');
      const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'none', namespace: 'default' }, stringData: { k: 'v' } };
      await one.create(resources.secrets, secret);
      await when(one, 'no-secret', 'started', isReady);
    });

    test('a node agent that is killed comes back, finds its pods running, and tells how one ended meanwhile', async () => {
      const [one] = clients;
      await one.create(
        resources.pods,
        pod(
          'ends-alone',
          { restartPolicy: 'Never' },
          { command: ['sh', '-c', 'until [ -e /tmp/end ]; do sleep 0.05; done; echo bye; exit 5'] },
        ),
      );
      await when(one, 'ends-alone', 'ready', isReady);
      const before = await one.get(resources.pods, { namespace: 'default', name: 'client' });
      const agent = await processOf('node');
      // Without a node agent there is no exec: the container is told beforehand.
      await exec(one, 'ends-alone', ['sh', '-c', '(sleep 0.3; touch /tmp/end) >/dev/null 2>&1 </dev/null &']);
      process.kill(agent, 'SIGKILL');
      await processExit(agent);
      const ended = await when(one, 'ends-alone', 'ended', (found) => found.status?.phase === 'Failed');
      assert.equal(statusOf(ended)?.state?.terminated?.exitCode, 5);
      assert.equal(await one.logs({ namespace: 'default', name: 'ends-alone' }), 'bye\n');
      assert.equal((await exec(one, 'client', ['echo', 'still here'])).stdout, 'still here\n');
      const later = await one.get(resources.pods, { namespace: 'default', name: 'client' });
      assert.equal(statusOf(later)?.restartCount, 0);
      assert.equal(statusOf(later)?.containerID, statusOf(before)?.containerID);
    });

    test('an API server that is killed comes back, and its pod counts the restart', async () => {
      const [one] = clients;
      const server = await processOf('apiserver');
      process.kill(server, 'SIGKILL');
      await processExit(server);
      const name = 'kube-apiserver-cluster-1-control-plane';
      const [mirror] = await waitForObjects(
        {
          client: one,
          type: resources.pods,
          namespace: 'kube-system',
          fieldSelector: `metadata.name=${name}`,
          what: `${name} restarted`,
          timeout: 20_000,
        },
        (found) => found.some((candidate) => statusOf(candidate)?.restartCount === 1 && isReady(candidate)),
      );
      assert.equal(mirror && statusOf(mirror)?.lastState?.terminated?.signal, 9);
      assert.equal((await exec(one, 'client', ['echo', 'works'])).stdout, 'works\n');
    });

    test('a deleted pod is gone, and its network with it', async () => {
      const [one, two] = clients;
      const server = await two.get(resources.pods, { namespace: 'default', name: 'server' });
      await two.delete(resources.pods, { namespace: 'default', name: 'server' });
      await waitForObjects(
        { client: two, type: resources.pods, namespace: 'default', what: 'server gone', timeout: 20_000 },
        (found) => found.length === 0,
      );
      const answer = await exec(one, 'client', ['curl', '-sS', '--max-time', '5', `http://${server.status?.podIP ?? ''}:5000/hello`]);
      assert.equal(answer.exitCode, 7, `refused at once, not timed out: ${answer.stderr}`);
    });

    test('status shows clusters and processes', async () => {
      const { clusters, processes: all } = await labStatus();
      assert.deepEqual(
        clusters.map(({ name }) => name),
        ['cluster-1', 'cluster-2'],
      );
      for (const { api, processes: own } of clusters) {
        assert.ok('nodeReady' in api && api.nodeReady);
        assert.deepEqual(
          own.map(({ name }) => name),
          ['apiserver', 'controllers', 'node'],
        );
        for (const { pid, rssKilobytes } of own) {
          assert.match(readlinkSync(`/proc/${pid ?? 0}/exe`), /node$/);
          assert.ok(rssKilobytes > 10_000);
        }
      }
      assert.deepEqual(
        clusters[0]?.processes.map(({ restarts }) => restarts),
        [1, 0, 1],
      );
      assert.ok(all.count >= 8);
    });

    async function processOf(name: string): Promise<number> {
      const { clusters } = await labStatus();
      const pid = clusters[0]?.processes.find((candidate) => candidate.name === name)?.pid;
      assert.ok(pid !== undefined, `${name} runs`);
      return pid;
    }
  });

  test('a lab that dies with its caller does, however the caller ends', async () => {
    const host = hostState();
    const program = `import { labUp } from ${JSON.stringify(path.join(import.meta.dirname, 'index.ts'))};
      await labUp({ clusters: 1, diesWithCaller: true });
      console.log('up');
      setInterval(() => undefined, 1_000_000);`;
    const caller = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(caller.stdout, 'data');
    const { pid } = readLabState();
    caller.kill('SIGKILL');
    await processExit(pid);
    assert.deepEqual(hostState(), host);
  });

  test('when its supervisor is killed, all of it is gone, and the next lab starts clean', async () => {
    const host = hostState();
    await labUp({ clusters: 1 });
    const state = readLabState();
    const [supervisor = 0] = childrenOf(childrenOf(state.pid)[0] ?? 0);
    assert.match(readFileSync(`/proc/${supervisor}/cmdline`, 'utf8'), /supervise/);
    process.kill(supervisor, 'SIGKILL');
    await processExit(state.pid);
    assert.deepEqual(hostState(), host);
    await assert.rejects(labStatus(), code('LAB_NOT_RUNNING'));
    await labUp({ clusters: 1 });
    assert.deepEqual(await labDown(), { was: 'running' });
    assert.deepEqual(hostState(), host);
  });
});

function childrenOf(pid: number): readonly number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
}

function readLabState(): { readonly pid: number } {
  return JSON.parse(readFileSync(path.join(process.env['ISTHMUS_LAB_DIR'] ?? '', 'lab.json'), 'utf8')) as { pid: number };
}
