import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { create, toBinary } from '@bufbuild/protobuf';

import { Action, AuthorizationSchema, Scope } from '../../src/api/gen/istio/authorization_pb.js';
import { AddressSchema, TunnelProtocol, WorkloadType } from '../../src/api/gen/istio/workload_pb.js';
import { ZdsServer } from '../../src/cni/zds-server.ts';
import { createLogger } from '../../src/core/index.ts';
import { runCommand } from '../../src/linux/index.ts';
import { CertificateAuthority, certificateServiceRoutes, createRoot, issueIntermediate, verifyAuthority } from '../../src/pki/index.ts';
import { GrpcServer, ResourceTable, XdsServer } from '../../src/xds/index.ts';
import { curl, makePod, serveHello, type Pod } from './pods.ts';
import { parseAccessLog, type LogLine } from './scenarios.ts';

const addressType = 'type.googleapis.com/istio.workload.Address';
const authorizationType = 'type.googleapis.com/istio.security.Authorization';
const log = createLogger('test');
const directory = mkdtempSync(join(tmpdir(), 'ztunnel-'));
const stack = new AsyncDisposableStack();
const addresses = new ResourceTable({ typeUrl: addressType });
const policies = new ResourceTable({ typeUrl: authorizationType });
const tokens: string[] = [];
let authority: CertificateAuthority;
let controlPlane: GrpcServer;
let agent: ZdsServer;
let client: Pod;
let server: Pod;
let ztunnel: ChildProcess;
const lines: LogLine[] = [];
const waiting: (() => void)[] = [];

before(async () => {
  const root = verifyAuthority(await createRoot());
  authority = await CertificateAuthority.create({ material: await issueIntermediate(root, { cluster: 'cluster-1' }) });
  // The pods' programs ask this name server; it does not exist, and need not: queries are redirected.
  writeFileSync(join(directory, 'resolv.conf'), 'nameserver 10.255.255.53\n');
  await runCommand('mount', ['--bind', join(directory, 'resolv.conf'), '/etc/resolv.conf']);
  client = stack.use(await makePod({ address: '10.11.0.2', redirect: true, dns: true }));
  server = stack.use(await makePod({ address: '10.11.1.2', redirect: true }));
  stack.use(await serveHello(server, 5000));
  controlPlane = await startControlPlane();
  agent = new ZdsServer({ path: join(directory, 'zds.sock'), log });
  stack.defer(() => {
    agent.close();
  });
  ztunnel = startZtunnel();
  stack.defer(async () => {
    if (ztunnel.exitCode === null && ztunnel.signalCode === null) {
      ztunnel.kill('SIGKILL');
      await once(ztunnel, 'exit');
    }
  });
});
after(() => stack.disposeAsync());

/** istiod's side of both services, as upstream's ztunnel would find them. */
async function startControlPlane(port = 0): Promise<GrpcServer> {
  const { chain, key, roots } = await authority.issueServing({ dnsNames: ['istiod.istio-system.svc'], uris: [] });
  const xds = new XdsServer({ tables: [addresses, policies], authenticate: () => 'ztunnel', log });
  const certificates = certificateServiceRoutes({
    authority: () => authority,
    trustDomain: 'cluster.local',
    authenticate: (context) => {
      tokens.push(context.requestHeader.get('authorization') ?? '');
      return Promise.resolve({ identity: 'spiffe://cluster.local/ns/istio-system/sa/ztunnel' });
    },
    authorizeImpersonation: () => undefined,
    log,
  });
  const made = await GrpcServer.listen({
    methods: [xds.method],
    routes: [certificates],
    tls: { certificate: chain, key, roots },
    host: '127.0.0.1',
    port,
    log,
  });
  stack.use(made);
  return made;
}

function startZtunnel(): ChildProcess {
  writeFileSync(join(directory, 'root-cert.pem'), authority.roots);
  writeFileSync(join(directory, 'token'), 'the token\n');
  const address = `https://127.0.0.1:${controlPlane.port}`;
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../src/cli/main.ts'), 'ztunnel'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      NODE_NAME: 'node-1',
      CLUSTER_ID: 'cluster-1',
      NETWORK: 'flat-network',
      XDS_ADDRESS: address,
      CA_ADDRESS: address,
      ALT_XDS_HOSTNAME: 'istiod.istio-system.svc',
      ALT_CA_HOSTNAME: 'istiod.istio-system.svc',
      XDS_ROOT_CA: join(directory, 'root-cert.pem'),
      CA_ROOT_CA: join(directory, 'root-cert.pem'),
      AUTH_TOKEN: join(directory, 'token'),
      INPOD_UDS: join(directory, 'zds.sock'),
      POD_NAME: 'ztunnel-1',
      POD_NAMESPACE: 'istio-system',
      SERVICE_ACCOUNT: 'ztunnel',
    },
  });
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    rest += text;
    const end = rest.lastIndexOf('\n') + 1;
    lines.push(...parseAccessLog(rest.slice(0, end)));
    rest = rest.slice(end);
    for (const wake of waiting.splice(0)) wake();
  });
  return child;
}

async function nextLine(): Promise<LogLine> {
  for (;;) {
    const line = lines.shift();
    if (line !== undefined) return line;
    await new Promise<void>((resolve) => waiting.push(resolve));
  }
}

/** Asks as a kubelet does, until the answer is the wanted one. */
async function readiness(wanted: string): Promise<void> {
  for (;;) {
    const answer = await fetch('http://127.0.0.1:15021/healthz/ready').then((response) => response.text(), String);
    if (answer === wanted) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function setWorkload(options: {
  readonly name: string;
  readonly address: readonly number[];
  readonly serviceAccount: string;
  readonly policies?: string[];
}): void {
  const { name, address, serviceAccount } = options;
  const uid = `cluster-1//Pod/demo/${name}`;
  const value = {
    uid,
    name,
    namespace: 'demo',
    serviceAccount,
    addresses: [Uint8Array.from(address)],
    network: 'flat-network',
    tunnelProtocol: TunnelProtocol.HBONE,
    node: 'node-1',
    clusterId: 'cluster-1',
    workloadName: name,
    workloadType: WorkloadType.POD,
    canonicalName: name,
    authorizationPolicies: options.policies ?? [],
    services: name === 'hello' ? { 'demo/hello.demo.svc.cluster.local': { ports: [{ servicePort: 80, targetPort: 5000 }] } } : {},
  };
  addresses.set({ name: uid, body: toBinary(AddressSchema, create(AddressSchema, { type: { case: 'workload', value } as never })) });
}

function setService(): void {
  const body = toBinary(
    AddressSchema,
    create(AddressSchema, {
      type: {
        case: 'service',
        value: {
          name: 'hello',
          namespace: 'demo',
          hostname: 'hello.demo.svc.cluster.local',
          addresses: [{ network: 'flat-network', address: Uint8Array.of(10, 255, 10, 7) }],
          ports: [{ servicePort: 80, targetPort: 5000 }],
          canonical: true,
        },
      } as never,
    }),
  );
  addresses.set({ name: 'demo/hello.demo.svc.cluster.local', body });
}

function zdsPod(pod: Pod, name: string, serviceAccount: string): Parameters<ZdsServer['add']>[0] {
  return { uid: `uid-${name}`, name, namespace: 'demo', serviceAccount, netns: pod.namespace };
}

describe('the ztunnel process, between a control plane and a CNI agent', () => {
  test('is not ready before the agent has handed over its pods', async () => {
    setWorkload({ name: 'sleep', address: [10, 11, 0, 2], serviceAccount: 'sleep' });
    setWorkload({ name: 'hello', address: [10, 11, 1, 2], serviceAccount: 'default' });
    setService();
    await readiness('not ready, pending: workload proxy manager\n');
    agent.remember(zdsPod(client, 'sleep', 'sleep'));
    agent.remember(zdsPod(server, 'hello', 'default'));
    agent.listen();
    await readiness('ready\n');
  });

  test('carries a call by service address over mTLS, and logs both sides', async () => {
    const { output, exit } = await curl(client.namespace, 'http://10.255.10.7/');
    assert.deepEqual({ output, exit }, { output: 'Hello version: v2 from 10.11.0.2\n', exit: 0 });
    const both = [await nextLine(), await nextLine()];
    const outbound = both.find(({ fields }) => fields['direction'] === 'outbound');
    const inbound = both.find(({ fields }) => fields['direction'] === 'inbound');
    assert.equal(outbound?.fields['dst.service'], 'hello.demo.svc.cluster.local');
    assert.equal(outbound.fields['dst.hbone_addr'], '10.11.1.2:5000');
    assert.equal(outbound.fields['dst.identity'], 'spiffe://cluster.local/ns/demo/sa/default');
    assert.equal(inbound?.fields['src.identity'], 'spiffe://cluster.local/ns/demo/sa/sleep');
    assert.equal(inbound.fields['src.workload'], 'sleep');
    assert.deepEqual(new Set(tokens), new Set(['Bearer the token']));
  });

  test('answers for the names of its services', async () => {
    for (const name of ['hello.demo.svc.cluster.local', 'hello.demo']) {
      const { output } = await curl(client.namespace, `http://${name}/`);
      assert.equal(output, 'Hello version: v2 from 10.11.0.2\n', name);
      await Promise.all([nextLine(), nextLine()]);
    }
  });

  test('shows its state', async () => {
    const dump = (await (await fetch('http://127.0.0.1:15000/config_dump')).json()) as {
      certificates: { identity: string; state: string }[];
      workloads: { name: string }[];
      workloadState: Record<string, { info: { name: string } }>;
    };
    assert.deepEqual(
      dump.certificates.map(({ identity, state }) => ({ identity, state })),
      [
        { identity: 'spiffe://cluster.local/ns/demo/sa/default', state: 'Available' },
        { identity: 'spiffe://cluster.local/ns/demo/sa/sleep', state: 'Available' },
      ],
    );
    assert.deepEqual(dump.workloads.map(({ name }) => name).sort(), ['hello', 'sleep']);
    assert.deepEqual(Object.keys(dump.workloadState).sort(), ['uid-hello', 'uid-sleep']);
    const metrics = await (await fetch('http://127.0.0.1:15020/metrics')).text();
    assert.match(metrics, /istio_tcp_connections_opened_total\{reporter="source",source_workload="sleep".* 3\n/);
    assert.match(metrics, /workload_manager_active_proxy_count 2\n/);
    assert.ok(metrics.endsWith('# EOF\n'));
  });

  test('applies a policy that the control plane sends', async () => {
    const body = toBinary(
      AuthorizationSchema,
      create(AuthorizationSchema, {
        name: 'deny-all',
        namespace: 'demo',
        scope: Scope.NAMESPACE,
        action: Action.DENY,
        rules: [{ clauses: [{ matches: [{ principals: [{ matchType: { case: 'presence', value: {} } }] }] }] }],
      }),
    );
    policies.set({ name: 'demo/deny-all', body });
    // The push is asynchronous; the call after it has arrived is refused.
    for (;;) {
      const { exit } = await curl(client.namespace, 'http://10.255.10.7/');
      const both = [await nextLine(), await nextLine()];
      if (exit === 0) continue;
      assert.ok(
        both.some(({ fields }) => fields['error'] === 'connection closed due to policy rejection: explicitly denied by: demo/deny-all'),
      );
      assert.ok(both.some(({ fields }) => fields['error'] === 'http status: 401 Unauthorized'));
      break;
    }
    policies.delete('demo/deny-all');
    while ((await curl(client.namespace, 'http://10.255.10.7/')).exit !== 0) await Promise.all([nextLine(), nextLine()]);
    await Promise.all([nextLine(), nextLine()]);
  });

  test('goes on without its control plane, and takes up what has changed when it is back', async () => {
    const { port } = controlPlane;
    await controlPlane[Symbol.asyncDispose]();
    assert.equal((await curl(client.namespace, 'http://10.255.10.7/')).exit, 0);
    await Promise.all([nextLine(), nextLine()]);
    addresses.delete('demo/hello.demo.svc.cluster.local');
    controlPlane = await startControlPlane(port);
    for (;;) {
      const { exit } = await curl(client.namespace, '-m', '1', 'http://10.255.10.7/');
      if (exit !== 0) break;
      await Promise.all([nextLine(), nextLine()]);
    }
    // The address means nothing any more: the call was passed through to where nobody is.
    const line = await nextLine();
    assert.equal(line.fields['dst.addr'], '10.255.10.7:80');
    assert.equal(line.fields['dst.workload'], undefined);
  });

  test('a pod that is taken away is left alone', async () => {
    await agent.delete('uid-hello');
    const { exit } = await curl(client.namespace, 'http://10.11.1.2:5000/');
    assert.notEqual(exit, 0);
    const line = await nextLine();
    assert.equal(line.fields['error'], 'io error: Connection refused (os error 111)');
  });

  test('stops in good order', async () => {
    const exited = once(ztunnel, 'exit') as Promise<[number | null]>;
    assert.equal(await (await fetch('http://127.0.0.1:15000/quitquitquit', { method: 'POST' })).text(), 'shutdown now\n');
    assert.deepEqual(await exited, [0, null]);
  });
});
