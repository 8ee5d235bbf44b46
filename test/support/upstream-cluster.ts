import { mkdir } from 'node:fs/promises';
import path from 'node:path';

import type { Pod } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import type { AuthorityMaterial } from '../../src/pki/index.ts';
import { startCluster, type TestCluster } from '../istiod/cluster.ts';
import { installWithHelm, makeNamespace } from './helm-installed-istio.ts';
import { PeeringProcess } from './peering-process.ts';
import { UpstreamIstiod } from './upstream-istiod.ts';

export interface UpstreamClusterOptions {
  readonly name: string;
  readonly serviceCidr: string;
  /** Of its pods; its only node has it. */
  readonly podRange: string;
  readonly region: string;
  readonly zone: string;
  readonly authority: AuthorityMaterial;
}

/**
 * A real API server with what Istio's charts put into it, an unmodified istiod and `isthmus peering`. There is no kubelet: pods are as the
 * test says they are.
 */
export class UpstreamCluster implements AsyncDisposable {
  readonly cluster: TestCluster;
  readonly peering: PeeringProcess;
  istiod: UpstreamIstiod;
  readonly #startIstiod: (env: NodeJS.ProcessEnv) => Promise<UpstreamIstiod>;

  private constructor(
    cluster: TestCluster,
    istiod: UpstreamIstiod,
    peering: PeeringProcess,
    startIstiod: (env: NodeJS.ProcessEnv) => Promise<UpstreamIstiod>,
  ) {
    this.cluster = cluster;
    this.istiod = istiod;
    this.peering = peering;
    this.#startIstiod = startIstiod;
  }

  static async start({ name, serviceCidr, podRange, region, zone, authority }: UpstreamClusterOptions): Promise<UpstreamCluster> {
    await using started = new AsyncDisposableStack();
    const network = 'flat-network';
    const cluster = started.use(await startCluster({ name, serviceCidr, kind: 'real', crds: false }));
    const { client, kubeconfig, stateDir } = cluster;
    await installWithHelm(client, {
      clusterId: name,
      network,
      authority,
      podRange,
      env: { PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES: 'false' },
    });
    const where = { 'topology.kubernetes.io/region': region, 'topology.kubernetes.io/zone': zone };
    await client.patch(resources.nodes, { name: 'node-1' }, { type: 'merge', body: { metadata: { labels: where } } });
    await makeNamespace(client, 'istio-eastwest');
    await makeNamespace(client, 'demo', { 'istio.io/dataplane-mode': 'ambient' });
    const startIstiod = (env: NodeJS.ProcessEnv): Promise<UpstreamIstiod> =>
      UpstreamIstiod.start({ clusterId: name, kubeconfig, directory: path.join(stateDir, 'istiod'), authority, env });
    const istiod = started.use(await startIstiod({}));
    const directory = path.join(stateDir, 'peering');
    await mkdir(directory);
    const peering = started.use(
      await PeeringProcess.start({
        client,
        clusterId: name,
        network,
        directory,
        caAddress: istiod.caAddress,
        caName: 'istiod.istio-system.svc',
        roots: authority.roots,
      }),
    );
    started.move();
    return new UpstreamCluster(cluster, istiod, peering, startIstiod);
  }

  /** Another istiod in its place, with other environment variables. Its certificate service is at another port. */
  async restartIstiod(env: NodeJS.ProcessEnv): Promise<void> {
    await this.istiod[Symbol.asyncDispose]();
    this.istiod = await this.#startIstiod(env);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.peering[Symbol.asyncDispose]();
    await this.istiod[Symbol.asyncDispose]();
    await this.cluster[Symbol.asyncDispose]();
  }

  /** A ready pod that ztunnel has captured. `ports` are those of its container, by name. */
  async createPod(options: {
    readonly name: string;
    readonly ip: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly serviceAccount: string;
    readonly ports?: Readonly<Record<string, number>>;
  }): Promise<Pod> {
    const { name, ip, labels, serviceAccount, ports = {} } = options;
    const { client } = this.cluster;
    const ref = { name, namespace: 'demo' };
    await client.apply(resources.serviceAccounts, { metadata: { name: serviceAccount, namespace: 'demo' } }, { fieldManager: 'test' });
    await client.create(resources.pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...ref, labels, annotations: { 'ambient.istio.io/redirection': 'enabled' } },
      spec: {
        nodeName: 'node-1',
        serviceAccountName: serviceAccount,
        containers: [
          { name: 'app', image: 'app', ports: Object.entries(ports).map(([port, containerPort]) => ({ name: port, containerPort })) },
        ],
      },
    });
    const status = { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions: [{ type: 'Ready', status: 'True' }] };
    return await client.patch(resources.pods, ref, { type: 'merge', body: { status } }, { subresource: 'status' });
  }
}
