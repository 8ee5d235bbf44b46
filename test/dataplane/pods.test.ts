import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';

import { createLogger } from '../../src/core/index.ts';
import type { TlsCredentials } from '../../src/hbone/index.ts';
import { connectTcp, NetworkNamespace, runCommand } from '../../src/linux/index.ts';
import { CertificateAuthority, createRoot, issueIntermediate, verifyAuthority } from '../../src/pki/index.ts';
import { AccessLog } from '../../src/ztunnel/access-log.ts';
import { configFromEnvironment } from '../../src/ztunnel/config.ts';
import { ConnectionTracker } from '../../src/ztunnel/connections.ts';
import { parseLocalState } from '../../src/ztunnel/local-state.ts';
import { ZtunnelMetrics } from '../../src/ztunnel/metrics.ts';
import { startPodProxy } from '../../src/ztunnel/proxy.ts';
import { MeshState } from '../../src/ztunnel/state/mesh-state.ts';
import { curl, makePod, serveEcho, serveHello, type Pod } from './pods.ts';
import { parseAccessLog, readScenarios, type LogLine } from './scenarios.ts';

/** The mesh of the recorded situations, as cluster-1's control plane tells it. */
const clientMesh = `
workloads:
- uid: cluster-1//Pod/demo/sleep-1
  name: sleep-1
  namespace: demo
  serviceAccount: sleep
  workloadIps: [10.10.0.2]
  protocol: HBONE
  node: node-1
  network: flat-network
  clusterId: cluster-1
  workloadName: sleep-1
  workloadType: pod
  canonicalName: sleep
  canonicalRevision: latest
- uid: cluster-1/networking.istio.io/WorkloadEntry/demo/autogenflat.cluster-2.demo.global-service-x.eacd81ea03fd
  name: autogenflat.cluster-2.demo.global-service-x.eacd81ea03fd
  namespace: demo
  serviceAccount: SERVICE_ACCOUNT
  workloadIps: [10.20.0.2]
  protocol: HBONE
  network: flat-network
  clusterId: cluster-1
  services: { demo/global-service.demo.mesh.internal: { 5000: 5000 } }
services:
- name: autogen.demo.global-service
  namespace: demo
  hostname: global-service.demo.mesh.internal
  vips: [flat-network/240.240.0.1]
  ports: { 5000: 5000 }
  canonical: true
- name: empty
  namespace: demo
  hostname: empty.demo.svc.cluster.local
  vips: [flat-network/10.96.235.150]
  ports: { 80: 80 }
  canonical: true
`;

/** cluster-2 knows its own pod, and nothing of the client. */
const serverMesh = `
workloads:
- uid: cluster-2//Pod/demo/global-service-x
  name: global-service-x
  namespace: demo
  serviceAccount: default
  workloadIps: [10.20.0.2]
  protocol: HBONE
  node: node-2
  network: flat-network
  clusterId: cluster-2
  workloadName: global-service-x
  workloadType: pod
  canonicalName: global-service
  canonicalRevision: v2
  authorizationPolicies: POLICY_KEYS
`;

const strict = `
policies:
- { name: istio_converted_static_strict, namespace: istio-system, scope: WorkloadSelector, action: Deny, rules: [[[{ notPrincipals: [{ Presence: [] }] }]]] }
`;
const denySleep = `
policies:
- { name: deny-sleep, namespace: demo, scope: Namespace, action: Deny, rules: [[[{ principals: [{ Exact: cluster.local/ns/demo/sa/sleep }] }]]] }
`;
const allowOther = `
policies:
- { name: allow-other, namespace: demo, scope: Namespace, action: Allow, rules: [[[{ principals: [{ Exact: cluster.local/ns/demo/sa/other }] }]]] }
`;

/** One cluster's ztunnel with one pod, in this process. */
class Side implements AsyncDisposable {
  readonly state: MeshState;
  readonly metrics = new ZtunnelMetrics();
  readonly #lines: LogLine[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #stack = new AsyncDisposableStack();

  constructor(state: MeshState) {
    this.state = state;
  }

  static async start(options: {
    pod: Pod;
    cluster: string;
    node: string;
    name: string;
    serviceAccount: string;
    authority: CertificateAuthority;
  }): Promise<Side> {
    const { pod, cluster, node, name, serviceAccount, authority } = options;
    const side = new Side(new MeshState({ localNode: node, localCluster: cluster }));
    const credentials = new Map<string, Promise<TlsCredentials>>();
    const config = configFromEnvironment({
      NODE_NAME: node,
      CLUSTER_ID: cluster,
      NETWORK: 'flat-network',
      XDS_ADDRESS: '',
      CA_ADDRESS: '',
    });
    const proxy = await startPodProxy({
      uid: `uid-${name}`,
      workloadInfo: { name, namespace: 'demo', serviceAccount },
      namespace: pod.namespace,
      config,
      state: side.state,
      metrics: side.metrics,
      certificates: {
        get: (identity) => {
          let issued = credentials.get(identity);
          if (issued === undefined) credentials.set(identity, (issued = issue(authority, identity)));
          return issued;
        },
      },
      connections: side.#stack.use(new ConnectionTracker({ state: side.state, log: createLogger('test') })),
      accessLog: new AccessLog({
        format: 'text',
        write: (lines) => {
          side.#write(lines);
        },
      }),
    });
    side.#stack.use(proxy);
    return side;
  }

  async mesh(text: string): Promise<void> {
    const { addresses, policies } = await parseLocalState(text, 'test');
    const known = [...this.state.workloads.values()].map(({ uid }) => uid);
    this.state.applyAddresses({
      ...addresses,
      removed: known.filter((uid) => !(addresses.workloads ?? []).some((workload) => workload.uid === uid)),
    });
    this.state.applyPolicies({
      ...policies,
      removed: [...this.state.policies.values()].map(({ namespace, name }) => `${namespace}/${name}`),
    });
  }

  async policies(text: string): Promise<void> {
    this.state.applyPolicies({ removed: [...this.state.policies.values()].map(({ namespace, name }) => `${namespace}/${name}`) });
    this.state.applyPolicies((await parseLocalState(text, 'test')).policies);
  }

  /** The next line of the access log. */
  async nextLine(): Promise<LogLine> {
    for (;;) {
      const line = this.#lines.shift();
      if (line !== undefined) return line;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Lines that nobody has asked for. */
  get unread(): readonly LogLine[] {
    return this.#lines;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #write(text: string): void {
    this.#lines.push(...parseAccessLog(text));
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

async function issue(authority: CertificateAuthority, identity: string): Promise<TlsCredentials> {
  const { chain, key, roots } = await authority.issueServing({ dnsNames: [], uris: [identity] });
  return { identity, certificateChain: chain, privateKey: key, roots };
}

const changing: ReadonlySet<string> = new Set(['bytes_sent', 'bytes_recv', 'duration']);

/** Fields that differ from run to run; the client's address stays, its port goes. */
function comparable({ level, message, fields }: LogLine): object {
  const stable = Object.entries(fields).filter(([name]) => !changing.has(name));
  return { level, message, fields: { ...Object.fromEntries(stable), 'src.addr': fields['src.addr']?.replace(/:\d+$/, '') } };
}

const recorded = readScenarios();
const stack = new AsyncDisposableStack();
let clientPod: Pod;
let serverPod: Pod;
let client: Side;
let server: Side;

before(async () => {
  const root = verifyAuthority(await createRoot());
  const authorityOf = async (cluster: string): Promise<CertificateAuthority> =>
    CertificateAuthority.create({ material: await issueIntermediate(root, { cluster }) });
  clientPod = stack.use(await makePod({ address: '10.10.0.2', redirect: true }));
  serverPod = stack.use(await makePod({ address: '10.20.0.2', redirect: true }));
  // The host that is not in the mesh.
  await runCommand('ip', ['addr', 'add', '172.18.0.3/32', 'dev', 'lo']);
  stack.use(await serveHello(serverPod, 5000));
  stack.use(await serveEcho(serverPod, 6000));
  client = stack.use(
    await Side.start({
      pod: clientPod,
      cluster: 'cluster-1',
      node: 'node-1',
      name: 'sleep-1',
      serviceAccount: 'sleep',
      authority: await authorityOf('cluster-1'),
    }),
  );
  server = stack.use(
    await Side.start({
      pod: serverPod,
      cluster: 'cluster-2',
      node: 'node-2',
      name: 'global-service-x',
      serviceAccount: 'default',
      authority: await authorityOf('cluster-2'),
    }),
  );
  await client.mesh(clientMesh.replace('SERVICE_ACCOUNT', 'default'));
  await server.mesh(serverMesh.replace('POLICY_KEYS', '[]'));
});
after(() => stack.disposeAsync());

const globalName = [
  '--resolve',
  'global-service.demo.mesh.internal:5000:240.240.0.1',
  'http://global-service.demo.mesh.internal:5000/hello',
];

/** Runs curl in the client's pod and compares the lines of both sides with those that upstream logged. */
async function compare(
  title: string,
  args: readonly string[],
  options: { ignoreError?: boolean } = {},
): Promise<{ output: string; exit: number; client: LogLine | undefined; server: LogLine | undefined }> {
  const scenario = recorded.get(title);
  assert.ok(scenario, `no recorded situation "${title}"`);
  const result = await curl(clientPod.namespace, ...args);
  const lines = { client: scenario.client[0] && (await client.nextLine()), server: scenario.server[0] && (await server.nextLine()) };
  for (const side of ['client', 'server'] as const) {
    const expected: LogLine | undefined = scenario[side][0];
    const actual: LogLine | undefined = lines[side];
    if (expected === undefined || actual === undefined) continue;
    assert.deepEqual(comparable(actual), comparable(expected), side);
    if (options.ignoreError !== true) assert.deepEqual(Object.keys(actual.fields), Object.keys(expected.fields), 'order of the fields');
  }
  return { ...result, ...lines };
}

describe('two pods of two clusters, redirected, through two proxies: what upstream logs', () => {
  test('global service, remote pod', async () => {
    const { output, client: sent, server: received } = await compare('global service, remote pod', globalName);
    assert.equal(output, 'Hello version: v2 from 10.10.0.2\n', "the application sees the client's own address");
    assert.notEqual(sent?.fields['bytes_sent'], '0');
    assert.equal(sent?.fields['bytes_sent'], received?.fields['bytes_recv']);
    assert.equal(sent?.fields['bytes_recv'], received?.fields['bytes_sent']);
    assert.match(sent?.fields['duration'] ?? '', /^\d+ms$/);
  });

  test('pod IP', async () => {
    const { output } = await compare('pod IP of the remote pod; cluster-1 knows it only through the WorkloadEntry', [
      'http://10.20.0.2:5000/hello',
    ]);
    assert.equal(output, 'Hello version: v2 from 10.10.0.2\n');
  });

  test('a port that nothing listens on', async () => {
    assert.notEqual((await compare('port that nothing listens on, via pod IP', ['http://10.20.0.2:5999/'])).exit, 0);
  });

  test('a port that the service does not have', async () => {
    assert.notEqual((await compare('port that the service does not have', ['http://240.240.0.1:81/'])).exit, 0);
  });

  test('a service without endpoints', async () => {
    assert.notEqual((await compare('service without endpoints', ['http://10.96.235.150/'])).exit, 0);
  });

  test('an address outside the mesh that refuses', async () => {
    assert.notEqual((await compare('address outside the mesh, refused (passthrough)', ['http://172.18.0.3:5999/'])).exit, 0);
  });

  test('an address outside the mesh that cannot be reached', async () => {
    assert.notEqual((await compare('address outside the mesh, unreachable', ['http://10.77.0.1:80/'])).exit, 0);
  });

  async function plaintext(title: string): Promise<{ output: string; exit: number }> {
    const result = await curl(NetworkNamespace.current(), 'http://10.20.0.2:5000/hello');
    const [expected] = recorded.get(title)?.server ?? [];
    assert.ok(expected);
    assert.deepEqual(comparable(await server.nextLine()), comparable(expected));
    return result;
  }

  test('plaintext from outside the mesh, PERMISSIVE', async () => {
    const { output } = await plaintext('plaintext from a host that is not in the mesh to a pod in the mesh (PERMISSIVE)');
    assert.equal(output, 'Hello version: v2 from 10.20.0.1\n');
  });

  test('plaintext from outside the mesh, STRICT', async () => {
    await server.mesh(serverMesh.replace('POLICY_KEYS', '[istio-system/istio_converted_static_strict]'));
    await server.policies(strict);
    assert.notEqual((await plaintext('the same under STRICT')).exit, 0);
    assert.equal((await compare('global service, remote pod', globalName)).exit, 0, 'mTLS still passes');
  });

  test('a DENY policy on the principal', async () => {
    await server.policies(denySleep);
    assert.notEqual((await compare("DENY policy on the client's principal at the server's side", globalName)).exit, 0);
  });

  test('an ALLOW policy that does not match', async () => {
    await server.policies(allowOther);
    assert.notEqual((await compare('ALLOW policy that does not match', globalName)).exit, 0);
    await server.policies('policies: []');
  });

  test('a server with another identity than the mesh says', async () => {
    await client.mesh(clientMesh.replace('SERVICE_ACCOUNT', 'wrong'));
    const { exit } = await curl(clientPod.namespace, ...globalName);
    assert.notEqual(exit, 0);
    const line = await client.nextLine();
    const [expected] = recorded.get("the WorkloadEntry names another service account than the pod's")?.client ?? [];
    assert.ok(expected);
    const { error: actualError = '', ...actual } = line.fields;
    const { error: expectedError = '', ...fields } = expected.fields;
    assert.deepEqual(comparable({ ...line, fields: actual }), comparable({ ...expected, fields }));
    const reason = /identity verification error: [^)]*\), got [^)]*/;
    assert.equal(reason.exec(actualError)?.[0], reason.exec(expectedError)?.[0]);
    await client.mesh(clientMesh.replace('SERVICE_ACCOUNT', 'default'));
    assert.equal((await compare('again with the right one', globalName)).exit, 0);
  });

  test('nothing was logged beyond that', () => {
    assert.deepEqual([...client.unread, ...server.unread], []);
  });
});

describe('what the recorded situations do not show', () => {
  /** A connection from the client's pod to the echo application that has carried a byte each way. */
  async function openConnection(): Promise<Socket> {
    const socket = await connectTcp({ namespace: clientPod.namespace, host: '10.20.0.2', port: 6000 });
    socket.on('error', () => undefined);
    socket.write('x');
    await once(socket.resume(), 'data');
    return socket;
  }

  test('a changed policy closes an open connection', async () => {
    const socket = await openConnection();
    await server.policies(denySleep);
    await closed(socket);
    const line = await server.nextLine();
    assert.equal(line.level, 'error');
    assert.equal(line.fields['error'], 'connection closed due to policy change');
    assert.equal(line.fields['bytes_recv'], '1');
    assert.equal((await client.nextLine()).fields['bytes_sent'], '1');
    await server.policies('policies: []');
  });

  test('a call to a port of the proxy does not loop', async () => {
    for (const port of [15001, 15006]) {
      const { exit } = await curl(NetworkNamespace.current(), `http://10.20.0.2:${port}/`);
      assert.notEqual(exit, 0);
      const line = await server.nextLine();
      assert.equal(line.message, 'connection failed');
      assert.equal(line.fields['error'], 'attempted recursive call to ourselves');
    }
  });

  test('metrics tell both sides, with equal bytes', async () => {
    await curl(clientPod.namespace, ...globalName);
    await client.nextLine();
    await server.nextLine();
    const value = (side: Side, name: string): number =>
      side.metrics
        .render()
        .split('\n')
        .filter((line) => line.startsWith(`${name}{`) && line.includes('connection_security_policy="mutual_tls"'))
        .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
    assert.ok(value(client, 'istio_tcp_connections_opened_total') > 0);
    assert.ok(value(server, 'istio_tcp_received_bytes_total') > 0);
    assert.equal(value(client, 'istio_tcp_received_bytes_total'), value(server, 'istio_tcp_received_bytes_total'));
    assert.equal(value(client, 'istio_tcp_sent_bytes_total'), value(server, 'istio_tcp_sent_bytes_total'));
  });

  test('a pod that stops breaks its open connections and says so', async () => {
    const socket = await openConnection();
    await server[Symbol.asyncDispose]();
    await closed(socket);
    assert.equal((await server.nextLine()).fields['error'], 'connection closed due to connection drain');
    const line = await client.nextLine();
    assert.equal(line.level, 'error');
    assert.match(line.fields['error'] ?? '', /^h2 failed: |^http2 |reset/);
    const { exit } = await curl(clientPod.namespace, ...globalName);
    assert.notEqual(exit, 0);
    const refused = recorded.get('remote ztunnel dead')?.client[0];
    assert.ok(refused);
    assert.deepEqual(comparable(await client.nextLine()), comparable(refused));
  });
});

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else
      socket.once('close', () => {
        resolve();
      });
  });
}
