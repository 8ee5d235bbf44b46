import { spawn, type ChildProcess } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';

import { resources } from '../../src/api/resources.ts';
import { IsthmusError, retry } from '../../src/core/index.ts';
import { KubeClient } from '../../src/kube/index.ts';
import { clusterPkiFiles, ensureClusterPki, type ClusterPki } from '../../src/lab/apiserver/index.ts';
import type { ApiServer, ApiServerOptions, AuditedRequest } from './api-server.ts';

/** Where envtest looks for them, too: a directory with `etcd` and `kube-apiserver`. */
const assets = process.env['KUBEBUILDER_ASSETS'];

/** Why a test against a real API server cannot run, or false: for the option `skip` of a test. */
export const withoutAssets: string | false =
  assets === undefined || assets === ''
    ? 'KUBEBUILDER_ASSETS is not set'
    : ['etcd', 'kube-apiserver'].every((name) => existsSync(path.join(assets, name)))
      ? false
      : `KUBEBUILDER_ASSETS: no etcd and kube-apiserver in ${assets}`;

const issuer = 'https://kubernetes.default.svc.cluster.local';
/** Two cores are shared by several of them. */
const startTimeout = 90_000;

/**
 * A real etcd and kube-apiserver on loopback, as envtest runs them, but with RBAC, ServiceAccount admission and tokens as in a cluster.
 * There is no controller: nobody makes default ServiceAccounts, finalizes namespaces or collects garbage.
 */
export class RealApiServer implements ApiServer {
  readonly stateDir: string;
  readonly port: number;
  readonly pki: ClusterPki;
  readonly client: KubeClient;
  readonly #serviceCidr: string;
  #etcd: { readonly process: Daemon; readonly url: string } | undefined;
  #apiServer: Daemon | undefined;
  /** When it was starting, milliseconds since 1970. */
  readonly #starts: { readonly from: number; readonly until: number }[] = [];

  private constructor(options: { stateDir: string; port: number; pki: ClusterPki; serviceCidr: string }) {
    this.stateDir = options.stateDir;
    this.port = options.port;
    this.pki = options.pki;
    this.#serviceCidr = options.serviceCidr;
    this.client = KubeClient.fromKubeconfig({ path: this.kubeconfig });
  }

  static async start(options: ApiServerOptions): Promise<RealApiServer> {
    const { stateDir, name, serviceCidr } = options;
    const port = options.port ?? (await freePort());
    const pki = await ensureClusterPki({ stateDir, clusterName: name, nodeName: 'node-1', addresses: ['127.0.0.1'], port });
    // Go's parser of verification keys takes no PKCS #8.
    const signingKey = await readFile(pki.files.serviceAccountKey, 'utf8');
    await writeFile(publicKeyFile(stateDir), createPublicKey(signingKey).export({ type: 'spki', format: 'pem' }));
    await writeFile(auditPolicyFile(stateDir), JSON.stringify(auditPolicy));
    const server = new RealApiServer({ stateDir, port, pki, serviceCidr });
    try {
      await server.start();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  get kubeconfig(): string {
    return this.pki.files.adminKubeconfig;
  }

  /** Starts what does not run, on the same state and port; resolves when requests are answered. */
  async start(): Promise<void> {
    const from = Date.now();
    this.#etcd ??= await this.#startEtcd();
    this.#apiServer ??= await this.#startApiServer(this.#etcd.url);
    const daemons = [this.#etcd.process, this.#apiServer];
    const signal = AbortSignal.timeout(startTimeout);
    // The API server makes this namespace itself, a moment after it says that it is ready.
    const ready = async (): Promise<void> => {
      (await this.client.transport.open({ method: 'GET', path: '/readyz', accept: '*/*', signal })).resume();
      await this.client.get(resources.namespaces, { name: 'default' }, signal);
    };
    await Promise.race([retry(ready, { initial: 50, max: 200, signal }), ...daemons.map((daemon) => daemon.ended)]);
    this.#starts.push({ from, until: Date.now() });
  }

  /** Kills the API server, keeping etcd and its state. */
  async stop(): Promise<void> {
    await this.#apiServer?.kill();
    this.#apiServer = undefined;
  }

  async audited(): Promise<readonly AuditedRequest[]> {
    const lines = (await readFile(auditLogFile(this.stateDir), 'utf8')).split('\n');
    // The last line may be half-written.
    const requests = lines.slice(0, -1).map((line) => JSON.parse(line) as AuditedRequest);
    // Until it has read them, it denies what Roles allow.
    return requests.filter(({ requestReceivedTimestamp = '' }) => {
      const at = Date.parse(requestReceivedTimestamp);
      return !this.#starts.some(({ from, until }) => at >= from && at <= until);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.stop();
    await this.#etcd?.process.kill();
    this.#etcd = undefined;
    await rm(this.stateDir, { recursive: true, force: true });
  }

  async #startEtcd(): Promise<{ process: Daemon; url: string }> {
    const url = `http://127.0.0.1:${await freePort()}`;
    const process = await Daemon.start('etcd', this.stateDir, [
      `--data-dir=${path.join(this.stateDir, 'etcd')}`,
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      // Nobody joins; the default would be one port for all clusters.
      '--listen-peer-urls=http://127.0.0.1:0',
      // Everything goes with the test.
      '--unsafe-no-fsync',
      '--log-level=warn',
    ]);
    return { process, url };
  }

  async #startApiServer(etcd: string): Promise<Daemon> {
    const files = clusterPkiFiles(this.stateDir);
    return await Daemon.start('kube-apiserver', this.stateDir, [
      `--etcd-servers=${etcd}`,
      '--bind-address=127.0.0.1',
      '--advertise-address=127.0.0.1',
      `--secure-port=${this.port}`,
      `--service-cluster-ip-range=${this.#serviceCidr}`,
      // A loopback address may not be an endpoint of the Service `kubernetes`.
      '--endpoint-reconciler-type=none',
      `--tls-cert-file=${files.apiserver}`,
      `--tls-private-key-file=${files.apiserverKey}`,
      `--client-ca-file=${files.ca}`,
      `--service-account-issuer=${issuer}`,
      `--service-account-signing-key-file=${files.serviceAccountKey}`,
      `--service-account-key-file=${publicKeyFile(this.stateDir)}`,
      '--authorization-mode=Node,RBAC',
      '--allow-privileged=true',
      `--audit-policy-file=${auditPolicyFile(this.stateDir)}`,
      `--audit-log-path=${auditLogFile(this.stateDir)}`,
    ]);
  }
}

const publicKeyFile = (stateDir: string): string => path.join(stateDir, 'pki', 'sa.pub');
const auditPolicyFile = (stateDir: string): string => path.join(stateDir, 'audit-policy.json');
const auditLogFile = (stateDir: string): string => path.join(stateDir, 'audit.log');

/** Who did what, without bodies; not what the API server asks itself. */
const auditPolicy = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived', 'ResponseStarted'],
  rules: [{ level: 'None', users: ['system:apiserver'] }, { level: 'Metadata' }],
};

/** A program of the assets, with its output in a file that is shown when it ends by itself. */
export class Daemon {
  /** Rejects when it ends without having been killed. */
  readonly ended: Promise<never>;
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  #killed = false;

  private constructor(name: string, child: ChildProcess, log: string) {
    this.#child = child;
    this.#closed = once(child, 'exit');
    this.ended = this.#closed.then(async () => {
      if (this.#killed) return await new Promise<never>(() => undefined);
      throw new IsthmusError('ISTHMUS_INTERNAL', `${name} has ended: ${(await readFile(log, 'utf8')).slice(-2000)}`);
    });
    this.ended.catch(() => undefined);
  }

  /** Runs `binary` (a path, or a name in the assets) until it is killed; its output goes to `<name>.log` in `directory`. */
  static async start(
    binary: string,
    directory: string,
    args: readonly string[],
    options: { readonly name?: string; readonly env?: NodeJS.ProcessEnv } = {},
  ): Promise<Daemon> {
    const name = options.name ?? path.basename(binary);
    await mkdir(directory, { recursive: true });
    const log = path.join(directory, `${name}.log`);
    await using file = await open(log, 'a');
    const program = binary.includes('/') ? binary : path.join(assets ?? '', binary);
    const child = spawn(program, args, {
      cwd: directory,
      stdio: ['ignore', file.fd, file.fd],
      env: { PATH: process.env['PATH'], HOME: directory, ...options.env },
    });
    const daemon = new Daemon(name, child, log);
    await once(child, 'spawn');
    // A test that fails before it has disposed of everything ends none the less.
    child.unref();
    return daemon;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** With `SIGKILL` unless told otherwise; resolves when it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#killed = true;
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.ref();
    this.#child.kill(signal);
    await this.#closed;
  }
}

/** A port of loopback that was free a moment ago: these programs cannot say which one they took. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
