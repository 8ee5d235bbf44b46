import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';

import { createLogger } from '../../core/index.ts';
import { runCommand } from '../../linux/index.ts';
import { chainPlugin, installPlugin, unchainPlugin, uninstallPlugin } from './install.ts';
import { runPlugin } from './plugin.ts';
import { listenForPlugin, type PluginAdd } from './server.ts';

const prevResult = {
  cniVersion: '1.0.0',
  interfaces: [{ name: 'eth0', sandbox: '/n' }],
  ips: [{ address: '10.1.2.3/23', gateway: '10.1.2.1', interface: 0 }, { address: 'fd00::3/61' }],
  routes: [{ dst: '0.0.0.0/0' }],
};

suite('CNI plugin', () => {
  let folder: string;
  let server: Server | undefined;
  let asked: PluginAdd[];

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'cni-plugin-'));
    asked = [];
  });
  afterEach(() => {
    server?.close();
    server = undefined;
  });

  async function agent(onAdd: () => Promise<void> = () => Promise.resolve(), ready = true): Promise<void> {
    server = await listenForPlugin({
      runDir: folder,
      ready: () => ready,
      log: createLogger('plugin-test'),
      onAdd: (pod) => {
        asked.push(pod);
        return onAdd();
      },
    });
  }
  const call = async (
    command: string,
    input: object | string = {},
    env: Record<string, string> = {},
  ): Promise<{ exitCode: number; output: unknown }> => {
    const environment = {
      CNI_COMMAND: command,
      CNI_NETNS: '/var/run/netns/x',
      CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=sleep;K8S_POD_UID=u1',
      ...env,
    };
    const config = {
      cniVersion: '1.0.0',
      name: 'net',
      type: 'istio-cni',
      cni_agent_run_dir: folder,
      exclude_namespaces: ['kube-system'],
      pod_namespace: 'istio-system',
    };
    const { exitCode, output } = await runPlugin({
      environment,
      input: typeof input === 'string' ? input : JSON.stringify({ ...config, ...input }),
    });
    return { exitCode, output: output === '' ? '' : (JSON.parse(output) as unknown) };
  };

  test('ADD asks the agent and passes the result on', async () => {
    await agent();
    assert.deepEqual(await call('ADD', { prevResult }), { exitCode: 0, output: prevResult });
    assert.deepEqual(asked, [
      { netns: '/var/run/netns/x', name: 'sleep', namespace: 'demo', uid: 'u1', addresses: ['10.1.2.3', 'fd00::3'] },
    ]);
  });

  test("what it sends is what upstream's plugin sends, with the UID", async () => {
    const bodies: unknown[] = [];
    server = createServer((request, response) => {
      let text = `${request.method ?? ''} ${request.url ?? ''} `;
      request.on('data', (chunk) => (text += String(chunk)));
      request.on('end', () => {
        bodies.push(text);
        response.end();
      });
    }).listen(path.join(folder, 'pluginevent.sock'));
    await once(server, 'listening');
    await call('ADD', { prevResult });
    const ips = [
      { Interface: 0, Address: { IP: '10.1.2.3', Mask: '///+AA==' }, Gateway: '10.1.2.1' },
      { Interface: null, Address: { IP: 'fd00::3', Mask: '//////////gAAAAAAAAAAA==' }, Gateway: '' },
    ];
    assert.deepEqual(bodies, [
      `POST /cmdadd ${JSON.stringify({ Netns: '/var/run/netns/x', PodName: 'sleep', PodNamespace: 'demo', PodUID: 'u1', IPs: ips })}`,
    ]);
  });

  test('a pod is not started when the agent refuses or is not there', async () => {
    const missing = await call('ADD', { prevResult });
    assert.equal(missing.exitCode, 1);
    assert.equal((missing.output as { code: number }).code, 100);
    await agent(() => Promise.reject(new Error('no ztunnel')));
    const refused = await call('ADD', { prevResult });
    assert.deepEqual(refused, {
      exitCode: 1,
      output: { cniVersion: '1.0.0', code: 101, msg: 'the node agent could not put the pod into the mesh: no ztunnel' },
    });
  });

  test('excluded pods, the agent itself, and what is no pod start without the agent', async () => {
    for (const args of [
      'K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=dns',
      'K8S_POD_NAMESPACE=istio-system;K8S_POD_NAME=istio-cni-node-x2x4z',
      '',
    ]) {
      assert.equal((await call('ADD', { prevResult }, { CNI_ARGS: args })).exitCode, 0, args);
    }
    assert.equal((await call('ADD', { prevResult }, { CNI_ARGS: 'K8S_POD_NAMESPACE=istio-system;K8S_POD_NAME=ztunnel-x' })).exitCode, 1);
  });

  test('the other commands, and wrong calls', async () => {
    for (const command of ['DEL', 'CHECK', 'GC']) assert.deepEqual(await call(command, { prevResult }), { exitCode: 0, output: '' });
    assert.ok(((await call('VERSION')).output as { supportedVersions: string[] }).supportedVersions.includes('0.3.1'));
    assert.equal((await call('STATUS')).exitCode, 1);
    await agent();
    assert.equal((await call('STATUS')).exitCode, 0);
    for (const [command, input, code] of [
      ['ADD', {}, 7],
      ['ADD', '{', 6],
      ['ADD', { cniVersion: '9.0.0' }, 1],
      ['PLUGH', {}, 4],
    ] as const) {
      const { exitCode, output } = await call(command, input);
      assert.deepEqual([exitCode, (output as { code: number }).code], [1, code], command);
    }
  });

  const config = (changes: object = {}): Parameters<typeof installPlugin>[0] => ({
    binDir: path.join(folder, 'bin'),
    netDir: folder,
    confName: undefined,
    nodeBinary: process.execPath,
    runDir: folder,
    excludeNamespaces: new Set(['kube-system']),
    pod: { name: 'istio-cni-node-a', namespace: 'istio-system' },
    ...changes,
  });
  const readJson = (file: string): { plugins: Record<string, unknown>[] } =>
    JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as { plugins: Record<string, unknown>[] };

  test('installed it runs alone, with nothing but a Node', async () => {
    installPlugin(config());
    installPlugin(config());
    const program = path.join(folder, 'bin', 'istio-cni');
    assert.equal(statSync(program).mode & 0o777, 0o755);
    const output = await runCommand(program, [], { input: '', env: { CNI_COMMAND: 'VERSION', PATH: '/usr/bin:/bin' } });
    assert.equal((JSON.parse(output) as { cniVersion: string }).cniVersion, '1.0.0');
    uninstallPlugin(config());
    assert.deepEqual(readdirSync(path.join(folder, 'bin')), []);
  });

  test('with a copy of Node where the node has none', async () => {
    installPlugin(config({ nodeBinary: undefined }));
    const support = path.join(folder, 'bin', 'istio-cni.d');
    const copies = (): string[] => readdirSync(support).filter((name) => name.startsWith('node-'));
    const [copy = '', ...more] = copies();
    assert.deepEqual(more, []);
    assert.equal(statSync(path.join(support, copy, 'node')).size, statSync(process.execPath).size);
    // The loader that it comes with runs it, with no library of the node.
    const program = path.join(folder, 'bin', 'istio-cni');
    const env = { CNI_COMMAND: 'VERSION', PATH: '/usr/bin:/bin', LD_DEBUG: 'libs', LD_DEBUG_OUTPUT: path.join(folder, 'loaded') };
    assert.match(await runCommand(program, [], { env }), /supportedVersions/);
    // The script's shell comes first in the same file: it was the same process.
    const loaded = readdirSync(folder).filter((name) => name.startsWith('loaded.'));
    const texts = loaded.map((name) => readFileSync(path.join(folder, name), 'utf8')).filter((text) => text.includes(copy));
    assert.equal(texts.length, 1);
    const ofNode = texts[0]?.slice(texts[0].indexOf(copy)) ?? '';
    const folders = [...ofNode.matchAll(/calling init: (\/.*)/g)].map(([, file = '']) => path.dirname(file));
    assert.deepEqual([...new Set(folders)], [path.join(support, copy)]);
    // An upgrade leaves no older copy behind.
    mkdirSync(path.join(support, 'node-older'));
    installPlugin(config({ nodeBinary: undefined }));
    assert.deepEqual(copies(), [copy]);
    uninstallPlugin(config());
  });

  test('it is chained last into the first configuration, once', () => {
    assert.equal(chainPlugin(config()), undefined, 'no configuration yet');
    writeFileSync(path.join(folder, '20-other.conflist'), JSON.stringify({ plugins: [{ type: 'other' }] }));
    writeFileSync(
      path.join(folder, '10-first.conflist'),
      JSON.stringify({ cniVersion: '0.4.0', name: 'k', disableCheck: true, plugins: [{ type: 'istio-cni', old: 1 }, { type: 'ptp' }] }),
    );
    assert.equal(chainPlugin(config()), '10-first.conflist');
    const list = readJson('10-first.conflist');
    assert.deepEqual(list.plugins, [
      { type: 'ptp' },
      {
        type: 'istio-cni',
        name: 'istio-cni',
        cni_agent_run_dir: folder,
        exclude_namespaces: ['kube-system'],
        pod_namespace: 'istio-system',
      },
    ]);
    assert.deepEqual({ ...list, plugins: [] }, { cniVersion: '0.4.0', name: 'k', disableCheck: true, plugins: [] });
    const { mtimeNs, ino } = statSync(path.join(folder, '10-first.conflist'), { bigint: true });
    chainPlugin(config());
    const again = statSync(path.join(folder, '10-first.conflist'), { bigint: true });
    assert.deepEqual([again.mtimeNs, again.ino], [mtimeNs, ino], 'a file that is right already is not written');
    assert.deepEqual(readJson('20-other.conflist').plugins, [{ type: 'other' }]);
    unchainPlugin(config());
    assert.deepEqual(readJson('10-first.conflist').plugins, [{ type: 'ptp' }]);
    assert.equal(chainPlugin(config({ confName: '20-other.conflist' })), '20-other.conflist');
    assert.equal(readJson('20-other.conflist').plugins.length, 2);
  });

  test("a single plugin's file becomes a list", () => {
    writeFileSync(path.join(folder, '10-net.conf'), JSON.stringify({ cniVersion: '0.3.1', name: 'single', type: 'bridge', mtu: 1400 }));
    assert.equal(chainPlugin(config()), '10-net.conflist');
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.includes('10-')),
      ['10-net.conflist'],
    );
    const list = readJson('10-net.conflist');
    assert.deepEqual(list.plugins[0], { type: 'bridge', mtu: 1400 });
    assert.equal((list as { name?: string }).name, 'single');
  });

  test('what is no configuration is told', () => {
    writeFileSync(path.join(folder, '10-broken.conflist'), '{');
    assert.throws(() => chainPlugin(config()), { code: 'CNI_NETWORK_CONFIG' });
    writeFileSync(path.join(folder, '10-broken.conflist'), '{"name":"nothing"}');
    assert.throws(() => chainPlugin(config()), { code: 'CNI_NETWORK_CONFIG' });
  });
});
