import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { peeringManifests, peeringName } from '../../src/cli/install/peering.ts';
import { applyObjects } from '../../src/cli/apply.ts';
import { retry } from '../../src/core/index.ts';
import type { KubeClient } from '../../src/kube/index.ts';
import { Daemon, freePort } from './real-api-server.ts';
import { tokenOf } from './service-account.ts';

/** Of the process, and what its requests stand under in the audit log. */
export const peeringAccount = { namespace: 'istio-system', name: peeringName };

const executable = path.join(import.meta.dirname, '../../bin/isthmus');

export interface PeeringProcessOptions {
  /** Of an administrator. */
  readonly client: KubeClient;
  readonly clusterId: string;
  readonly network: string;
  /** Its files and its log go here. */
  readonly directory: string;
  /** `host:port` of Istio's certificate service, and another name that its certificate has. */
  readonly caAddress: string;
  readonly caName: string;
  /** PEM. */
  readonly roots: string;
}

/**
 * `bin/isthmus peering` as in its pod: with the ServiceAccount of the manifests, what they permit and nothing else, and the account's token
 * for Istio. Started again it takes the same port.
 */
export class PeeringProcess implements AsyncDisposable {
  readonly #options: PeeringProcessOptions;
  readonly #ports: { readonly peering: number; readonly monitoring: number; readonly readiness: number };
  #process: Daemon | undefined;
  #starts = 0;

  private constructor(options: PeeringProcessOptions, ports: { peering: number; monitoring: number; readiness: number }) {
    this.#options = options;
    this.#ports = ports;
  }

  static async start(options: PeeringProcessOptions): Promise<PeeringProcess> {
    const { client, clusterId } = options;
    const manifests = peeringManifests({
      namespace: peeringAccount.namespace,
      clusterId,
      trustDomain: 'cluster.local',
      image: 'isthmus:test',
    });
    await applyObjects(
      client,
      manifests.filter(({ kind }) => kind === 'ServiceAccount' || kind.includes('Role')),
    );
    const peering = new PeeringProcess(options, {
      peering: await freePort(),
      monitoring: await freePort(),
      readiness: await freePort(),
    });
    await peering.start();
    return peering;
  }

  /** Where peers connect. */
  get port(): number {
    return this.#ports.peering;
  }

  /** In the Lease, while this start of it leads. */
  get identity(): string {
    return `${peeringName}-${this.#starts}`;
  }

  /** What it has of memory now, and the most that it had; MiB. */
  async memory(): Promise<{ readonly now: number; readonly most: number }> {
    const status = await readFile(`/proc/${this.#process?.pid ?? 0}/status`, 'utf8');
    const of = (field: string): number => Math.round(Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024);
    return { now: of('VmRSS'), most: of('VmHWM') };
  }

  /** Resolves when it is ready. */
  async start(): Promise<void> {
    const { clusterId, network, directory, caAddress, caName, roots } = this.#options;
    this.#starts++;
    await this.#writeFiles(roots);
    const at = (port: number): string => `127.0.0.1:${port}`;
    const { peering, monitoring, readiness } = this.#ports;
    const flags = {
      kubeconfig: this.#file('kubeconfig'),
      'cluster-id': clusterId,
      network,
      listen: at(peering),
      monitoring: at(monitoring),
      readiness: at(readiness),
    };
    const args = ['peering', ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`)];
    const daemon = await Daemon.start(executable, directory, args, {
      name: peeringName,
      env: {
        TRUST_DOMAIN: 'cluster.local',
        CA_ADDRESS: caAddress,
        ALT_CA_HOSTNAME: caName,
        CA_ROOT_CA: this.#file('root.pem'),
        AUTH_TOKEN: this.#file('token'),
        POD_NAME: this.identity,
        POD_NAMESPACE: peeringAccount.namespace,
        ISTHMUS_IMAGE: 'isthmus:test',
        TERMINATION_DRAIN_DURATION_SECONDS: '0',
      },
    });
    this.#process = daemon;
    const signal = AbortSignal.timeout(60_000);
    const ready = async (): Promise<void> => {
      const answer = await fetch(`http://${at(readiness)}/readyz`, { signal });
      if (!answer.ok) throw new Error(await answer.text());
    };
    await Promise.race([retry(ready, { initial: 50, max: 200, signal }), daemon.ended]);
  }

  /** As the kubelet does. */
  async stop(): Promise<void> {
    await this.#process?.kill('SIGTERM');
    this.#process = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.kill();
  }

  async #writeFiles(roots: string): Promise<void> {
    const { client } = this.#options;
    const { server, ca = '' } = client.transport.config;
    const kubeconfig = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u', namespace: peeringAccount.namespace } }],
      clusters: [{ name: 'c', cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
      users: [{ name: 'u', user: { token: await tokenOf(client, peeringAccount) } }],
    };
    await writeFile(this.#file('kubeconfig'), JSON.stringify(kubeconfig), { mode: 0o600 });
    await writeFile(this.#file('token'), await tokenOf(client, peeringAccount, 'istio-ca'), { mode: 0o600 });
    await writeFile(this.#file('root.pem'), roots);
  }

  #file(name: string): string {
    return path.join(this.#options.directory, name);
  }
}
