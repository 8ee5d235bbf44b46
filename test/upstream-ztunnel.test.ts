import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';

import { installRedirection } from '../src/cni/redirection.ts';
import { ZdsServer } from '../src/cni/zds-server.ts';
import { createLogger } from '../src/core/index.ts';
import { bindUdp, connectTcp, listenTcp, runCommand, type NetworkNamespace } from '../src/linux/index.ts';
import { namespacePair } from './support/namespaces.ts';

/** An unmodified ztunnel of Istio's, if the machine has one. */
const ztunnelBinary = process.env['ZTUNNEL_BIN'];

test('an unmodified ztunnel takes pods from our agent', { skip: ztunnelBinary === undefined && 'ZTUNNEL_BIN is not set' }, async () => {
  await using resources = new AsyncDisposableStack();
  const { a: node, b: pod } = resources.use(await namespacePair());
  const connected = Promise.withResolvers<undefined>();
  const zds = new ZdsServer({ path: '/run/ztunnel.sock', log: createLogger('zds'), onConnected: () => connected.resolve(undefined) });
  resources.defer(() => zds.close());
  await installRedirection(pod, {
    dns: true,
    inbound: true,
    ipv6: true,
    probeAddresses: { ipv4: '169.254.7.127', ipv6: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' },
    virtualInterfaces: [],
  });
  zds.remember({ uid: 'uid-1', name: 'sleep-1', namespace: 'demo', serviceAccount: 'sleep', netns: pod });
  zds.listen();
  writeFileSync('/run/mesh.yaml', mesh);
  const [ended] = await start(ztunnelBinary ?? '', resources);
  await Promise.race([connected.promise, ended]);

  const listening = async (): Promise<string> => await runCommand('ss', ['-Hltnu'], { namespace: pod });
  for (const address of ['*:15001', '*:15006', '*:15008', '127.0.0.1:15053', '[::1]:15053']) {
    assert.ok((await listening()).includes(address), address);
  }
  const server = createServer((socket) => socket.end('plain'));
  server.listen({ fd: listenTcp({ namespace: node, host: '192.0.2.1', port: 8080 }), backlog: 8 });
  resources.defer(() => void server.close());
  assert.equal(await get(pod, '192.0.2.1', 8080), 'plain', 'through 15001 and out again');
  const application = createServer((socket) => socket.end(`hello ${socket.remoteAddress ?? ''}`));
  application.listen({ fd: listenTcp({ namespace: pod, host: '0.0.0.0', port: 8081 }), backlog: 8 });
  resources.defer(() => void application.close());
  assert.equal(await get(node, '192.0.2.2', 8081), 'hello 192.0.2.1', 'through 15006, with the source address of the client');
  assert.match(await resolve(pod, 'local-svc.demo.svc.cluster.local'), /10\.96\.156\.138/);

  await zds.delete('uid-1');
  const deadline = Date.now() + 5000;
  while ((await listening()).includes(':15001')) assert.ok(Date.now() < deadline, 'ztunnel goes on serving a deleted pod');
});

const mesh = `
workloads:
- uid: cluster-1//Pod/demo/sleep-1
  name: sleep-1
  namespace: demo
  serviceAccount: sleep
  workloadIps: ["192.0.2.2"]
  protocol: TCP
  node: node-1
  network: ""
  services: {}
services:
- name: local-svc
  namespace: demo
  hostname: local-svc.demo.svc.cluster.local
  vips: ["/10.96.156.138"]
  ports: {80: 8080}
policies: []
`;

/** Resolves when it runs, to a promise that rejects when it ends by itself. */
async function start(binary: string, resources: AsyncDisposableStack): Promise<[ended: Promise<never>]> {
  const env = {
    ...process.env,
    LOCAL_XDS_PATH: '/run/mesh.yaml',
    XDS_ADDRESS: '',
    // It must be set; nobody asks for a certificate here.
    CA_ADDRESS: 'http://127.0.0.1:1',
    PROXY_MODE: 'shared',
    NODE_NAME: 'node-1',
    NETWORK: '',
    INPOD_UDS: '/run/ztunnel.sock',
    ZTUNNEL_WORKER_THREADS: '1',
  };
  const child = spawn(binary, ['proxy', 'ztunnel'], { env, stdio: ['ignore', 'pipe', 'pipe'], cwd: '/run' });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += String(chunk)));
  const closed = once(child, 'close');
  await once(child, 'spawn');
  resources.defer(async () => {
    child.kill('SIGKILL');
    await closed;
  });
  const ended = closed.then((): never => assert.fail(`ztunnel has ended: ${said.slice(-2000)}`));
  ended.catch(() => undefined);
  return [ended];
}

async function get(namespace: NetworkNamespace, host: string, port: number): Promise<string> {
  const socket = await connectTcp({ namespace, host, port });
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

/** The answer to an A query to a server elsewhere, which the redirection takes to ztunnel. */
async function resolve(namespace: NetworkNamespace, name: string): Promise<string> {
  const { decode, encode } = await import('dns-packet');
  const client = bindUdp({ namespace, host: '0.0.0.0', port: 0 });
  try {
    client.send(encode({ type: 'query', id: 1, flags: 0x100, questions: [{ name, type: 'A' }] }), 53, '192.0.2.1');
    const [answer] = (await once(client, 'message', { signal: AbortSignal.timeout(5000) })) as [Buffer];
    return JSON.stringify(decode(answer).answers);
  } finally {
    client.close();
  }
}
