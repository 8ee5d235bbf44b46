import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import dnsPacket from 'dns-packet';

import manifest from '../package.json' with { type: 'json' };
import { resources } from '../src/api/resources.ts';
import { cniManifests } from '../src/cli/install/cni.ts';
import { istiodManifests } from '../src/cli/install/istiod.ts';
import type { KubeObject } from '../src/api/kubernetes.ts';
import { isolated } from '../src/lab/testing.ts';
import { runCommand } from '../src/linux/index.ts';
import { CertificateAuthority, createRoot, issueIntermediate, verifyAuthority } from '../src/pki/index.ts';
import { startCluster, type TestCluster } from './istiod/cluster.ts';
import { Container, runContainer, type ContainerOptions } from './support/container.ts';
import { readImage, sha256, type ReadImage } from './support/image.ts';
import { clientAs, tokenOf } from './support/service-account.ts';

const repository = path.resolve(import.meta.dirname, '..');

isolated(import.meta.filename, () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'image-'));
  const root = path.join(folder, 'root');
  const started = new AsyncDisposableStack();
  let image: ReadImage;

  // Without root on this machine only one user is mapped into the namespaces, and containers run as that one.
  const everyUser = !/^\s*0\s+\d+\s+1\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));
  const ownUser = everyUser ? '1337:1337' : '0:0';
  const noOtherUser = everyUser ? false : 'user 1337 is not mapped here: run as root';

  const build = async (name: string): Promise<string> => {
    const output = path.join(folder, name);
    await runCommand(path.join(repository, 'scripts/image.sh'), ['--output', output]);
    return output;
  };
  /** As the image says: its environment and entry point. */
  const container = (options: Partial<ContainerOptions> & { readonly args: readonly string[] }): ContainerOptions => {
    const { Env, Entrypoint } = image.config.config;
    const environment = Object.fromEntries(Env.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
    return { root, user: ownUser, command: [...Entrypoint, ...options.args], ...options, env: { ...environment, ...options.env } };
  };
  const isthmus = (...args: string[]) => runContainer(container({ args }));
  const script = (text: string, options: Partial<ContainerOptions> = {}) =>
    runContainer(container({ args: [], command: ['/usr/bin/node', '--input-type=module', '--eval', text], ...options }));

  before(async () => {
    await build('first');
    image = await readImage(path.join(folder, 'first/isthmus-image.tar'), path.join(folder, 'layout'), root);
  });
  after(async () => {
    await started.disposeAsync();
    rmSync(folder, { recursive: true, force: true });
  });

  test('the archive is an OCI image layout, and names the image', () => {
    assert.deepEqual(image.faults, []);
    const reference = `docker.io/isthmus/isthmus:${manifest.version}`;
    assert.deepEqual(image.descriptor.annotations, {
      'io.containerd.image.name': reference,
      'org.opencontainers.image.ref.name': reference,
    });
    const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as 'x64' | 'arm64'];
    assert.deepEqual(image.descriptor.platform, { architecture, os: 'linux' });
    assert.deepEqual([image.config.architecture, image.config.os], [architecture, 'linux']);
    const { User, Labels } = image.config.config;
    assert.equal(User, '1337:1337');
    assert.equal(Labels['org.opencontainers.image.version'], manifest.version);
    assert.equal(Labels['org.opencontainers.image.licenses'], 'Apache-2.0');
    const [docker] = image.docker;
    assert.ok(docker !== undefined);
    assert.ok(docker.RepoTags.includes(reference));
    for (const name of [docker.Config, ...docker.Layers]) {
      assert.ok(existsSync(path.join(folder, 'layout', name)), name);
    }
  });

  test('what is in its layers tells nothing of who built it when', () => {
    for (const listing of image.listings) {
      const names = listing.map((line) => line.split(/ +/)[5]?.replace(/\/$/, '') ?? '');
      assert.deepEqual(names, [...names].sort());
      for (const line of listing) {
        assert.match(line, /^[-dl][-rwxt]{9} 0\/0 +\d+ 1970-01-01 00:00:00 (?!\/)(?!.*\.\.\/)/);
        assert.doesNotMatch(line, /^-\S*s/, 'no set-user-ID');
      }
    }
  });

  test('a second build gives the same bytes', async () => {
    const [first, second] = [path.join(folder, 'first'), await build('second')];
    for (const name of readdirSync(first)) {
      assert.equal(sha256(readFileSync(path.join(second, name))), sha256(readFileSync(path.join(first, name))), name);
    }
    rmSync(second, { recursive: true });
  });

  test('the bill of materials names everything that this repository did not bring', () => {
    interface Component {
      readonly type: string;
      readonly name: string;
      readonly version?: string;
      readonly purl?: string;
      readonly hashes?: readonly { readonly content: string }[];
      readonly components?: readonly Component[];
    }
    const text = readFileSync(path.join(root, 'usr/share/isthmus/sbom.cdx.json'), 'utf8');
    assert.equal(readFileSync(path.join(folder, 'first/isthmus-image.cdx.json'), 'utf8'), text);
    const { components } = JSON.parse(text) as { readonly components: readonly Component[] };
    const files = components.flatMap((component) => (component.type === 'file' ? [component] : (component.components ?? [])));
    for (const { name, hashes } of files) assert.equal(sha256(readFileSync(path.join(root, name))), `sha256:${hashes?.[0]?.content ?? ''}`);
    const named = new Set(files.map(({ name }) => name));
    const programs = ['usr/bin', 'usr/sbin', 'usr/lib', 'usr/lib64'].flatMap((name) =>
      readdirSync(path.join(root, name), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => `/${path.relative(root, path.join(entry.parentPath, entry.name))}`),
    );
    assert.deepEqual(
      programs.filter((name) => !named.has(name)),
      ['/usr/bin/node'],
      'Node is an npm package',
    );
    const npm = components.filter(({ purl }) => purl?.startsWith('pkg:npm/')).map(({ name }) => name);
    assert.ok(npm.includes(`node-linux-${process.arch}`));
    const modules = path.join(root, 'opt/isthmus/node_modules');
    const installed = readdirSync(modules).flatMap((name) =>
      name.startsWith('@') ? readdirSync(path.join(modules, name)).map((inner) => `${name}/${inner}`) : [name],
    );
    assert.deepEqual(
      installed.filter((name) => !npm.includes(name)),
      [],
    );
    assert.ok(
      components.every(({ version, type }) => type === 'file' || version !== undefined),
      'all have versions',
    );
  });

  test('its commands run with a read-only root and nothing of this machine', async () => {
    assert.deepEqual(await isthmus('version'), { code: 0, output: `client version: ${manifest.version}\n` });
    const help = await isthmus('help');
    const commands = [...help.output.matchAll(/^ {2}(\w+) {2}/gm)].map(([, name = '']) => name).filter((name) => name !== 'version');
    assert.ok(commands.includes('istiod') && !commands.includes('lab'), help.output);
    for (const command of commands) {
      const { code, output } = await isthmus(command, '--help');
      assert.equal(code, 0, output);
      assert.match(output, new RegExp(`^usage: isthmus ${command}`, 'i'));
    }
    assert.deepEqual(await isthmus('lab', 'up'), {
      code: 64,
      output: 'isthmus: "lab" is not in the image [ISTHMUS_USAGE]; run it from a checkout of Isthmus\n',
    });
    const { code, output } = await script(`
      import { existsSync, readdirSync, writeFileSync } from 'node:fs';
      const write = (file) => { try { writeFileSync(file, ''); return 'written'; } catch ({ code }) { return code; } };
      console.log(JSON.stringify([readdirSync('/').join(), existsSync(${JSON.stringify(repository)}), ['/x', '/tmp/x', '/opt/isthmus/x'].map(write), process.pid]))`);
    assert.equal(code, 0, output);
    const entries = 'bin,dev,etc,lib,lib64,opt,proc,run,sbin,sys,tmp,usr,var';
    assert.deepEqual(JSON.parse(output), [entries, false, ['EROFS', 'EROFS', 'EROFS'], 1]);
  });

  test('it runs as user 1337', { skip: noOtherUser }, async () => {
    const { output } = await script(
      `import os from 'node:os'; console.log(JSON.stringify([os.userInfo().username, process.getuid(), process.getgid(), process.getgroups()]))`,
    );
    assert.deepEqual(JSON.parse(output), ['isthmus', 1337, 1337, [1337]]);
  });

  test('every module of the program loads, and is JavaScript with the lines of its source', async () => {
    const modules = readdirSync(path.join(root, 'opt/isthmus/src'), { recursive: true, encoding: 'utf8' }).filter((name) =>
      /\.\w+$/.test(name),
    );
    assert.ok(modules.length > 200, String(modules.length));
    assert.deepEqual(
      modules.filter((name) => !name.endsWith('.js')),
      [],
    );
    for (const name of ['cli/main', 'peering/peering', 'ztunnel/proxy']) {
      const lines = (file: string): number => readFileSync(file, 'utf8').split('\n').length;
      assert.equal(lines(path.join(root, `opt/isthmus/src/${name}.js`)), lines(path.join(repository, `src/${name}.ts`)));
    }
    const names = JSON.stringify(modules.filter((name) => name !== 'cli/main.js'));
    const { code, output } = await script(`for (const name of ${names}) await import('/opt/isthmus/src/' + name); console.log('all')`);
    assert.deepEqual([code, output], [0, 'all\n']);
  });

  test('names are looked up over DNS, and TLS trusts the bundle of certificates', async () => {
    await startNameServer();
    const authority = await CertificateAuthority.create({ material: await issueIntermediate(await verified(), { cluster: 'c' }) });
    const { chain, key, roots } = await authority.issueServing({ dnsNames: ['api.example.test'], uris: [] });
    const server = createServer({ cert: chain, key }, (request, response) => response.end(`hello ${request.headers.host}`)).listen(
      0,
      '127.0.0.1',
    );
    started.defer(() => void server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const ask = `try { const answer = await fetch('https://api.example.test:${port}/'); console.log(await answer.text()); }
      catch ({ cause }) { console.log(cause.code) }`;
    const mounts = { '/etc/resolv.conf': file('resolv.conf', 'nameserver 127.0.0.1\n') };
    const refused = await script(ask, { mounts });
    assert.match(refused.output, /^(?:SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+)\n$/);
    const bundle = file('bundle.crt', roots);
    const trusted = await script(ask, { mounts: { ...mounts, '/etc/ssl/certs/ca-certificates.crt': bundle } });
    assert.equal(trusted.output, `hello api.example.test:${port}\n`);
    const { output } = await script(`import tls from 'node:tls'; console.log(tls.getCACertificates('system').length)`);
    assert.ok(Number(output) > 100, `${output} authorities`);
  });

  test('istiod, the CNI agent and ztunnel put a pod into the mesh', async () => {
    const cluster = started.use(await startCluster({ name: 'cluster-1', serviceCidr: '10.255.10.0/24' }));
    const options = { clusterId: 'cluster-1', network: 'flat-network', trustDomain: 'cluster.local', image: 'isthmus:test' };
    const api = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(cluster.server.port) };
    const pod = { POD_NAMESPACE: 'istio-system', NODE_NAME: 'node-1', CLUSTER_ID: 'cluster-1', HOST_IP: '127.0.0.1' };
    const resolver = { '/etc/resolv.conf': file('resolv.conf', 'nameserver 127.0.0.1\n') };

    const istiod = started.use(
      new Container(
        container({
          args: ['istiod'],
          env: { ...api, ...pod, POD_NAME: 'istiod-1', CA_TRUSTED_NODE_ACCOUNTS: 'istio-system/ztunnel' },
          mounts: await serviceAccount(cluster, 'istiod', istiodManifests(options)),
        }),
      ),
    );
    await istiod.until('"ready"');

    await runCommand('ip', ['netns', 'add', 'pod-1']);
    await runCommand('ip', ['-n', 'pod-1', 'link', 'set', 'lo', 'up']);
    const shared = { '/var/run/ztunnel': made('ztunnel') };
    // The plugin finds the agent there, outside of the container.
    mkdirSync('/var/run/istio-cni');
    const host = { bin: made('bin'), net: made('net.d') };
    writeFileSync(path.join(host.net, '10-net.conflist'), JSON.stringify({ cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'ptp' }] }));
    const agent = started.use(
      new Container(
        container({
          args: ['cni'],
          user: '0:0',
          env: { ...api, ...pod, POD_NAME: 'istio-cni-node-1' },
          mounts: {
            ...shared,
            ...(await serviceAccount(cluster, 'istio-cni', cniManifests(options))),
            '/host/opt/cni/bin': host.bin,
            '/host/etc/cni/net.d': host.net,
            '/host/var/run/netns': '/var/run/netns',
            '/var/run/istio-cni': '/var/run/istio-cni',
          },
        }),
      ),
    );
    await agent.until('plugin chained');

    const own = await cluster.createPod({ namespace: 'istio-system', name: 'ztunnel-1', serviceAccount: 'ztunnel' });
    const roots = await cluster.client.get(resources.configMaps, { namespace: 'istio-system', name: 'istio-ca-root-cert' });
    const ztunnel = started.use(
      new Container(
        container({
          args: ['ztunnel'],
          user: '0:0',
          env: { ...api, ...pod, POD_NAME: 'ztunnel-1', SERVICE_ACCOUNT: 'ztunnel', INSTANCE_IP: '127.0.0.1' },
          mounts: {
            ...shared,
            ...resolver,
            '/var/run/secrets/tokens/istio-token': file('token', await cluster.token(own)),
            '/var/run/secrets/istio/root-cert.pem': file(
              'root-cert.pem',
              (roots as { data?: Record<string, string> }).data?.['root-cert.pem'] ?? '',
            ),
          },
        }),
      ),
    );

    const labels = { 'istio.io/dataplane-mode': 'ambient' };
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'demo', labels } });
    const { metadata } = await cluster.createPod({ namespace: 'demo', name: 'sleep' });
    await ztunnel.until('mesh received');
    // As the container runtime calls it: what the agent copied out of the image runs on the machine itself.
    const result = { cniVersion: '1.0.0', interfaces: [{ name: 'eth0' }], ips: [{ address: '10.9.0.2/24', interface: 0 }] };
    const [list] = readdirSync(host.net);
    const chained = JSON.parse(readFileSync(path.join(host.net, list ?? ''), 'utf8')) as { plugins: readonly object[] };
    const output = await runCommand(path.join(host.bin, 'istio-cni'), [], {
      accept: [0, 1],
      input: JSON.stringify({ cniVersion: '1.0.0', name: 'net', ...chained.plugins[1], prevResult: result }),
      env: {
        PATH: '/usr/bin:/bin',
        CNI_COMMAND: 'ADD',
        CNI_NETNS: '/var/run/netns/pod-1',
        CNI_ARGS: `K8S_POD_NAMESPACE=demo;K8S_POD_NAME=sleep;K8S_POD_UID=${metadata.uid ?? ''}`,
      },
    });
    assert.deepEqual(JSON.parse(output), result, agent.output);
    assert.match(await runCommand('ip', ['netns', 'exec', 'pod-1', 'nft', 'list', 'tables']), /table inet istio-ambient-nat/);
    assert.match(await runCommand('ip', ['netns', 'exec', 'pod-1', 'ss', '-ltn']), /:15008/);

    for (const [name, running] of Object.entries({ ztunnel, agent, istiod }))
      assert.equal(await running.stop(), 0, `${name}: ${running.output}`);
  });

  const verified = async () => verifyAuthority(await createRoot());

  function file(name: string, content: string): string {
    const target = path.join(made('files'), name);
    writeFileSync(target, content);
    return target;
  }

  function made(name: string): string {
    const target = path.join(folder, 'host', name);
    mkdirSync(target, { recursive: true });
    return target;
  }

  /** What the kubelet mounts for a ServiceAccount, which gets the permissions of its component's manifests. */
  async function serviceAccount(cluster: TestCluster, name: string, manifests: readonly KubeObject[]): Promise<Record<string, string>> {
    const account = { namespace: 'istio-system', name };
    using client = await clientAs(cluster.client, account, manifests);
    const mounted = made(`serviceaccount-${name}`);
    writeFileSync(path.join(mounted, 'token'), await tokenOf(cluster.client, account));
    writeFileSync(path.join(mounted, 'ca.crt'), client.transport.config.ca ?? '');
    writeFileSync(path.join(mounted, 'namespace'), account.namespace);
    return { '/var/run/secrets/kubernetes.io/serviceaccount': mounted };
  }

  /** Every name is this machine's; the port is the one that resolvers ask. */
  async function startNameServer(): Promise<void> {
    const socket = createSocket('udp4', (query, peer) => {
      const { id = 0, questions = [] } = dnsPacket.decode(query);
      const answers = questions.flatMap(({ name, type }) => (type === 'A' ? [{ name, type, ttl: 1, data: '127.0.0.1' } as const] : []));
      socket.send(dnsPacket.encode({ type: 'response', id, questions, answers }), peer.port, peer.address);
    });
    socket.bind(53, '127.0.0.1');
    await once(socket, 'listening');
    started.defer(() => void socket.close());
  }
});
