import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, watch, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';

import type * as kubernetes from '../src/api/kubernetes.ts';
import { resources } from '../src/api/resources.ts';
import { configFromEnvironment, runCniAgent } from '../src/cni/index.ts';
import { createLogger } from '../src/core/index.ts';
import { KubeClient, waitForObjects } from '../src/kube/index.ts';
import { TestServer } from '../src/lab/apiserver/testing/test-server.ts';
import { NetworkNamespace, connectTcp, listenTcp, runCommand } from '../src/linux/index.ts';
import { runInPod, type Pod } from '../src/ztunnel/inpod/index.ts';
import type { PodProxy } from '../src/ztunnel/proxy.ts';

const log = createLogger('node-agent-test');
const redirection = 'ambient.istio.io/redirection';

/** A running CNI agent, or ztunnel's end of the handover. */
interface Running {
  readonly failed: Promise<unknown>;
  stop(): Promise<void>;
}

function running(start: (signal: AbortSignal) => Promise<void>): Running {
  const stop = new AbortController();
  const done = start(stop.signal);
  const failed = done.then(
    () => undefined,
    (error: unknown) => error,
  );
  return {
    failed,
    stop: async () => {
      stop.abort();
      await done;
    },
  };
}

/**
 * The agent on a node of its own: this process's network namespace is the node, pods are namespaces with a cable to it, the
 * API server and ztunnel's end of the handover are the real ones. In place of ztunnel's data path stands a listener per
 * port that says which it is.
 */
suite('the node agent', { concurrency: false }, () => {
  let server: TestServer;
  let client: KubeClient;
  const folder = mkdtempSync(path.join(tmpdir(), 'node-agent-'));
  const dirs = { netns: '/run/netns', bin: path.join(folder, 'bin'), net: path.join(folder, 'net.d'), run: '/run/istio-cni' };
  const pods = new Map<string, { namespace: NetworkNamespace; address: string; netns: string }>();
  const listeners: (() => void)[] = [];
  let agent: Running | undefined;
  let ztunnel: Running | undefined;

  before(async () => {
    for (const dir of Object.values(dirs)) mkdirSync(dir, { recursive: true });
    writeFileSync(
      path.join(dirs.net, '10-net.conflist'),
      JSON.stringify({ cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'bridge' }] }),
    );
    server = await TestServer.start();
    const { ca, admin } = server.pki;
    client = new KubeClient({
      server: `https://127.0.0.1:${server.port}`,
      ca,
      cert: admin.certificate,
      key: admin.key,
      namespace: 'default',
      context: 'test',
    });
    await client.create(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'demo' } });
    await client.create(resources.serviceAccounts, {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'default', namespace: 'demo' },
    });
  });
  after(async () => {
    await agent?.stop();
    await ztunnel?.stop();
    for (const close of listeners) close();
    client[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
    for (const { namespace } of pods.values()) namespace[Symbol.dispose]();
  });

  /** A pod's sandbox as a runtime and a network plugin make it. */
  async function sandbox(index: number): Promise<{ namespace: NetworkNamespace; address: string; netns: string }> {
    const namespace = NetworkNamespace.create();
    const netns = path.join(dirs.netns, `cni-${randomUUID()}`);
    namespace.bindTo(netns);
    const address = `10.10.0.${index}`;
    const veth = `veth${index}`;
    const inPod = `/proc/${process.pid}/fd/${namespace.fd}`;
    await runCommand('sh', [
      '-ec',
      `ip link add ${veth} type veth peer name eth0 netns ${inPod}; ip link set ${veth} up; ip addr replace 10.10.0.1/32 dev ${veth}; ip route add ${address}/32 dev ${veth}; echo 1 > /proc/sys/net/ipv4/ip_forward`,
    ]);
    await runCommand(
      'sh',
      [
        '-ec',
        `ip link set lo up; ip link set eth0 up; ip addr add ${address}/32 dev eth0; ip route add 10.10.0.1 dev eth0; ip route add default via 10.10.0.1`,
      ],
      { namespace },
    );
    return { namespace, address, netns };
  }

  async function createPod(name: string, labels: Record<string, string> = {}): Promise<kubernetes.Pod> {
    return await client.create(resources.pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'demo', labels },
      spec: {
        nodeName: 'node-1',
        serviceAccountName: 'default',
        automountServiceAccountToken: false,
        containers: [{ name: 'app', image: 'app' }],
      },
    });
  }

  async function setRunning(name: string, address: string): Promise<void> {
    const body = { status: { phase: 'Running', podIP: address, podIPs: [{ ip: address }] } };
    await client.patch(resources.pods, { name, namespace: 'demo' }, { type: 'merge', body }, { subresource: 'status' });
  }

  async function runningPod(name: string, index: number, labels: Record<string, string> = {}): Promise<void> {
    const made = await sandbox(index);
    pods.set(name, made);
    await listen(made.namespace, 8080);
    await createPod(name, labels);
    await setRunning(name, made.address);
  }

  async function listen(namespace: NetworkNamespace, port: number): Promise<() => void> {
    const sockets = new Set<Socket>();
    const tcp = createServer((socket) => {
      sockets.add(socket.on('error', () => undefined));
      socket.end(String(port));
    });
    tcp.listen({ fd: listenTcp({ namespace, host: '0.0.0.0', port, reusePort: true }), backlog: 16 });
    await once(tcp, 'listening');
    const close = (): void => {
      tcp.close();
      for (const socket of sockets) socket.destroy();
    };
    listeners.push(close);
    return close;
  }

  /** Which port of the pod answers a connection to its port 8080. */
  async function ask(from: NetworkNamespace, name: string): Promise<string> {
    try {
      const socket = await connectTcp({ namespace: from, host: pods.get(name)?.address ?? '', port: 8080, timeout: 2000 });
      let text = '';
      for await (const chunk of socket) text += String(chunk);
      return text;
    } catch (error) {
      return (error as { errno?: string; code: string }).errno ?? (error as { code: string }).code;
    }
  }
  const fromOutside = (name: string): Promise<string> => ask(pods.get('outside')?.namespace ?? NetworkNamespace.current(), name);
  const fromNode = (name: string): Promise<string> => ask(NetworkNamespace.current(), name);

  async function marked(name: string, mark: string | undefined): Promise<void> {
    await waitForObjects(
      { client, type: resources.pods, namespace: 'demo', what: `${name} marked ${mark ?? 'as nothing'}`, timeout: 10_000 },
      (all) => all.some((pod) => pod.metadata.name === name && pod.metadata.annotations?.[redirection] === mark),
    );
  }

  async function label(mode: string | null): Promise<void> {
    await client.patch(
      resources.namespaces,
      { name: 'demo' },
      { type: 'merge', body: { metadata: { labels: { 'istio.io/dataplane-mode': mode } } } },
    );
  }

  function startAgent(extra: Record<string, string> = {}): Running {
    const config = configFromEnvironment({
      NODE_NAME: 'node-1',
      HOST_IP: '127.0.0.1',
      CNI_NET_DIR: dirs.net,
      CNI_BIN_DIR: dirs.bin,
      CNI_NODE_BINARY: process.execPath,
      CNI_AGENT_RUN_DIR: dirs.run,
      ZTUNNEL_UDS_ADDRESS: '/run/ztunnel.sock',
      NETNS_DIR: dirs.netns,
      HEALTH_PORT: '8000',
      ...extra,
    });
    return running((signal) => runCniAgent({ config, client, log }, signal));
  }

  /** Resolves when all pods of the agent's snapshot are served. */
  async function startZtunnel(): Promise<Running> {
    const start = async ({ uid, workloadInfo, namespace }: Pod): Promise<PodProxy> => {
      const closers = await Promise.all([15001, 15006, 15008].map((port) => listen(namespace, port)));
      const stop = (): Promise<void> => {
        for (const close of closers) close();
        return Promise.resolve();
      };
      return { uid, workloadInfo, drain: stop, [Symbol.asyncDispose]: stop };
    };
    const ready = Promise.withResolvers<undefined>();
    const onReady = (isReady: boolean): void => {
      if (isReady) ready.resolve(undefined);
    };
    const process = running((signal) => runInPod({ path: '/run/ztunnel.sock', start, onReady, drainDeadlineMs: 100, log, signal }));
    await Promise.race([ready.promise, process.failed]);
    return process;
  }

  /** Calls the plugin as a container runtime does. */
  async function plugin(command: string, name: string, input: object): Promise<{ code: number; output: Record<string, unknown> }> {
    const pod = pods.get(name);
    const { uid } = (await client.get(resources.pods, { name, namespace: 'demo' })).metadata;
    const env = {
      PATH: process.env['PATH'],
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'c1',
      CNI_NETNS: pod?.netns,
      CNI_IFNAME: 'eth0',
      CNI_PATH: dirs.bin,
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=${name};K8S_POD_UID=${uid ?? ''}`,
    };
    const { promise, resolve } = Promise.withResolvers<{ code: number; output: Record<string, unknown> }>();
    const child = execFile(path.join(dirs.bin, 'istio-cni'), { env }, (error, stdout) => {
      resolve({
        code: error === null ? 0 : Number(error.code),
        output: stdout === '' ? {} : (JSON.parse(stdout) as Record<string, unknown>),
      });
    });
    child.stdin?.end(JSON.stringify(input));
    return await promise;
  }

  function pluginInput(address: string): { prevResult: object } & Record<string, unknown> {
    const list = JSON.parse(readFileSync(path.join(dirs.net, '10-net.conflist'), 'utf8')) as {
      cniVersion: string;
      plugins: { type: string }[];
    };
    const entry = list.plugins.find(({ type }) => type === 'istio-cni');
    assert.ok(entry !== undefined);
    const prevResult = {
      cniVersion: list.cniVersion,
      interfaces: [{ name: 'eth0' }],
      ips: [{ address: `${address}/32`, gateway: '10.10.0.1', interface: 0 }],
      dns: {},
    };
    return { cniVersion: list.cniVersion, name: 'net', ...entry, prevResult };
  }

  async function isReady(): Promise<number> {
    try {
      return (await fetch('http://127.0.0.1:8000/readyz')).status;
    } catch {
      return 0;
    }
  }
  async function becomesReady(running: Running): Promise<void> {
    const deadline = Date.now() + 10_000;
    while ((await isReady()) !== 200) {
      const early = await Promise.race([running.failed, new Promise((resolve) => setTimeout(resolve, 20, 'waiting'))]);
      if (early !== 'waiting') throw early instanceof Error ? early : new Error('the agent has stopped');
      assert.ok(Date.now() < deadline, 'the agent does not become ready');
    }
  }

  test('it starts, chains its plugin, and leaves pods alone that do not belong to the mesh', async () => {
    await runningPod('outside', 2, { 'istio.io/dataplane-mode': 'none' });
    await runningPod('inside', 3);
    agent = startAgent();
    await becomesReady(agent);
    const list = JSON.parse(readFileSync(path.join(dirs.net, '10-net.conflist'), 'utf8')) as { plugins: { type: string }[] };
    assert.deepEqual(
      list.plugins.map(({ type }) => type),
      ['bridge', 'istio-cni'],
    );
    assert.equal(await fromOutside('inside'), '8080');
  });

  test('a namespace that is labelled has its running pods redirected; without a ztunnel they are pending', async () => {
    await label('ambient');
    await marked('inside', 'pending');
    assert.equal(await fromOutside('inside'), 'ECONNREFUSED', 'it belongs to the mesh and does not speak outside of it');
    await marked('outside', undefined);
  });

  test('when ztunnel comes they are served at once, and the probes of the node reach them', async () => {
    ztunnel = await startZtunnel();
    await marked('inside', 'enabled');
    assert.equal(await fromOutside('inside'), '15006');
    assert.equal(await fromNode('inside'), '8080');
    assert.equal(await ask(pods.get('inside')?.namespace ?? NetworkNamespace.current(), 'outside'), '15001');
    assert.equal(await ask(pods.get('inside')?.namespace ?? NetworkNamespace.current(), 'inside'), '8080');
  });

  test('the plugin puts a pod into the mesh before it starts, and passes the result on', async () => {
    const made = await sandbox(4);
    pods.set('starting', made);
    await createPod('starting');
    const input = pluginInput(made.address);
    const started = performance.now();
    const { code, output } = await plugin('ADD', 'starting', input);
    log.info({ ms: Math.round(performance.now() - started) }, 'plugin');
    assert.equal(code, 0, JSON.stringify(output));
    assert.deepEqual(output, { ...input.prevResult, cniVersion: '1.0.0' });
    await listen(made.namespace, 8080);
    assert.equal(await fromOutside('starting'), '15006');
    await marked('starting', 'enabled');
    await setRunning('starting', made.address);
    assert.deepEqual(await plugin('DEL', 'starting', input), { code: 0, output: {} });
    assert.deepEqual(await plugin('CHECK', 'starting', input), { code: 0, output: {} });
    assert.ok(((await plugin('VERSION', 'starting', {})).output['supportedVersions'] as string[]).includes('1.0.0'));
  });

  test('a pod of the mesh does not start without ztunnel, one outside does', async () => {
    await ztunnel?.stop();
    const made = await sandbox(5);
    pods.set('refused', made);
    await createPod('refused');
    const { code, output } = await plugin('ADD', 'refused', pluginInput(made.address));
    assert.equal(code, 1);
    assert.match(String(output['msg']), /no ztunnel is connected.*CNI_NO_ZTUNNEL/);
    pods.set('alone', await sandbox(6));
    await createPod('alone', { 'istio.io/dataplane-mode': 'none' });
    assert.equal((await plugin('ADD', 'alone', pluginInput('10.10.0.6'))).code, 0);
    ztunnel = await startZtunnel();
    assert.ok(!('prevResult' in output));
  });

  test('someone who overwrites the network configuration finds the plugin chained again', async () => {
    const file = path.join(dirs.net, '10-net.conflist');
    const stopWatching = new AbortController();
    const watcher = watch(dirs.net, { signal: stopWatching.signal });
    writeFileSync(file, JSON.stringify({ cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'bridge', mtu: 1400 }] }));
    try {
      while (!readFileSync(file, 'utf8').includes('istio-cni')) await once(watcher, 'change', { signal: AbortSignal.timeout(5000) });
    } finally {
      stopWatching.abort();
    }
    const list = JSON.parse(readFileSync(file, 'utf8')) as { plugins: { type: string; mtu?: number }[] };
    assert.deepEqual(
      list.plugins.map(({ type, mtu }) => [type, mtu]),
      [
        ['bridge', 1400],
        ['istio-cni', undefined],
      ],
    );
    assert.deepEqual(readdirSync(dirs.net), ['10-net.conflist']);
  });

  test('while the agent is away pods are served, and none starts; its successor goes on where it was', async () => {
    await marked('inside', 'enabled');
    const input = pluginInput('10.10.0.5');
    await agent?.stop();
    assert.equal(await fromOutside('inside'), '15006');
    const { code, output } = await plugin('ADD', 'refused', input);
    assert.equal(code, 1);
    assert.match(String(output['msg']), /CNI_AGENT_UNREACHABLE/);
    agent = startAgent();
    await becomesReady(agent);
    assert.equal(await fromOutside('inside'), '15006');
    assert.equal((await client.get(resources.pods, { name: 'inside', namespace: 'demo' })).metadata.annotations?.[redirection], 'enabled');
    assert.equal(await fromNode('inside'), '8080');
  });

  test('a pod that is gone is forgotten, and its address free for another', async () => {
    const gone = pods.get('starting');
    await client.delete(resources.pods, { name: 'starting', namespace: 'demo' }, { gracePeriodSeconds: 0 });
    gone?.namespace[Symbol.dispose]();
    await runCommand('sh', ['-c', 'umount "$1"; rm "$1"; ip link del veth4 2>/dev/null || true', 'sh', gone?.netns ?? '']);
    const made = await sandbox(4);
    pods.set('starting', made);
    await listen(made.namespace, 8080);
    await createPod('starting', { 'istio.io/dataplane-mode': 'none' });
    await setRunning('starting', made.address);
    assert.equal(await fromOutside('starting'), '8080');
  });

  test('without the label its pods are back to plain traffic', async () => {
    await label(null);
    await marked('inside', undefined);
    assert.equal(await fromOutside('inside'), '8080');
    assert.doesNotMatch(
      await runCommand('nft', ['list', 'ruleset'], { namespace: pods.get('inside')?.namespace ?? NetworkNamespace.current() }),
      /istio/,
    );
  });

  test('an agent that is uninstalled takes everything back', async () => {
    await label('ambient');
    await marked('inside', 'enabled');
    await agent?.stop();
    // This one has a pod of its own, whose DaemonSet the API server does not know.
    agent = startAgent({ POD_NAME: 'istio-cni-node-abcde', POD_NAMESPACE: 'istio-system' });
    await becomesReady(agent);
    await agent.stop();
    await marked('inside', undefined);
    assert.equal(await fromOutside('inside'), '8080');
    assert.equal(await runCommand('nft', ['list', 'tables']), '');
    const list = JSON.parse(readFileSync(path.join(dirs.net, '10-net.conflist'), 'utf8')) as { plugins: { type: string }[] };
    assert.deepEqual(
      list.plugins.map(({ type }) => type),
      ['bridge'],
    );
    assert.deepEqual(readdirSync(dirs.bin), []);
    assert.ok(!existsSync('/run/ztunnel.sock'));
  });
});
