import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';

import { retry } from '../../src/core/index.ts';
import { writeAuthority, type AuthorityMaterial } from '../../src/pki/index.ts';
import { Daemon, freePort } from './real-api-server.ts';

const binary = process.env['ISTIOD_BIN'] ?? '';

/** Why a test against upstream's istiod (the program pilot-discovery) cannot run, or false: for the option `skip` of a test. */
export const withoutIstiod: string | false =
  binary === '' ? 'ISTIOD_BIN is not set' : existsSync(binary) ? false : `ISTIOD_BIN: there is no ${binary}`;

export interface UpstreamIstiodOptions {
  readonly clusterId: string;
  readonly kubeconfig: string;
  /** Its files, authority and log go here. */
  readonly directory: string;
  readonly authority: AuthorityMaterial;
  readonly env?: NodeJS.ProcessEnv;
}

/** An unmodified istiod in ambient mode, outside of the cluster that it serves, on ports of loopback. */
export class UpstreamIstiod implements AsyncDisposable {
  /** Delta ADS without TLS. */
  readonly plaintextUrl: string;
  /** `host:port` of its certificate service. */
  readonly caAddress: string;
  readonly #process: Daemon;
  readonly #monitoring: string;

  private constructor(process: Daemon, ports: { plaintext: number; tls: number; monitoring: number }) {
    this.#process = process;
    this.plaintextUrl = `http://127.0.0.1:${ports.plaintext}`;
    this.caAddress = `127.0.0.1:${ports.tls}`;
    this.#monitoring = `http://127.0.0.1:${ports.monitoring}`;
  }

  static async start({ clusterId, kubeconfig, directory, authority, env = {} }: UpstreamIstiodOptions): Promise<UpstreamIstiod> {
    const cacerts = path.join(directory, 'cacerts');
    await writeAuthority(cacerts, authority);
    const mesh = path.join(directory, 'mesh.yaml');
    await writeFile(mesh, 'rootNamespace: istio-system\ntrustDomain: cluster.local\n');
    const [plaintext, tls, monitoring, http, https] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    const at = (port: number): string => `127.0.0.1:${port}`;
    const args = [
      'discovery',
      `--kubeconfig=${kubeconfig}`,
      `--clusterID=${clusterId}`,
      `--meshConfig=${mesh}`,
      `--grpcAddr=${at(plaintext)}`,
      `--secureGRPCAddr=${at(tls)}`,
      `--monitoringAddr=${at(monitoring)}`,
      `--httpAddr=${at(http)}`,
      `--httpsAddr=${at(https)}`,
      '--ctrlz_port=0',
      // Its own limit is for clusters; a test waits for every write.
      '--kubernetesApiQPS=500',
      '--kubernetesApiBurst=1000',
    ];
    const daemon = await Daemon.start(binary, directory, args, {
      name: 'istiod',
      env: {
        CLUSTER_ID: clusterId,
        POD_NAME: 'istiod-0',
        POD_NAMESPACE: 'istio-system',
        SERVICE_ACCOUNT: 'istiod',
        REVISION: 'default',
        ROOT_CA_DIR: cacerts,
        PILOT_ENABLE_AMBIENT: 'true',
        CA_TRUSTED_NODE_ACCOUNTS: 'istio-system/ztunnel',
        PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES: 'false',
        INJECTION_WEBHOOK_CONFIG_NAME: '',
        VALIDATION_WEBHOOK_CONFIG_NAME: '',
        ...env,
      },
    });
    const istiod = new UpstreamIstiod(daemon, { plaintext, tls, monitoring });
    const signal = AbortSignal.timeout(60_000);
    const ready = async (): Promise<void> => {
      const { status } = await fetch(`http://127.0.0.1:${http}/ready`, { signal });
      if (status !== 200) throw new Error(`not ready: ${status}`);
    };
    try {
      await Promise.race([retry(ready, { initial: 50, max: 200, signal }), daemon.ended]);
    } catch (error) {
      await daemon.kill();
      throw error;
    }
    return istiod;
  }

  /** What it derived for proxies of nodes. */
  async ambientz(): Promise<Ambientz> {
    const response = await fetch(`${this.#monitoring}/debug/ambientz`);
    if (!response.ok) throw new Error(`/debug/ambientz: ${response.status} ${await response.text()}`);
    return (await response.json()) as Ambientz;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill();
  }
}

export interface Ambientz {
  readonly workloads: readonly AmbientWorkload[];
  readonly services: readonly { readonly namespace: string; readonly hostname: string; readonly addresses?: readonly unknown[] }[];
}

export interface AmbientWorkload {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly addresses?: readonly string[];
  readonly serviceAccount?: string;
  readonly trustDomain?: string;
  readonly network?: string;
  readonly clusterId?: string;
  readonly tunnelProtocol?: string;
  readonly status?: string;
  readonly capacity?: number | { readonly value: number };
  readonly services?: Readonly<
    Record<string, { readonly ports?: readonly { readonly servicePort: number; readonly targetPort: number }[] }>
  >;
}
