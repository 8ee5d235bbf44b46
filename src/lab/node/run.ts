import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';

import type { Pod } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { aborted, createLogger, describeError, IsthmusError, type Logger } from '../../core/index.ts';
import { EventRecorder, Informer, type KubeClient } from '../../kube/index.ts';
import { processExit, processStartTime } from '../../linux/index.ts';
import { clusterDomain, kubeletPort, type ClusterPlan } from '../network/plan.ts';
import { serveCniPlugin } from './cni-plugin.ts';
import { containerFiles } from './container-script.ts';
import type { ContainerRecord } from './container.ts';
import { runClusterDns } from './dns.ts';
import { serveKubelet } from './kubelet-server.ts';
import { keepNodeAlive, registerNode } from './node-registration.ts';
import { podLogsFolder, PodWorker, podsFolder, type NodeContext } from './pod-worker.ts';
import { runServiceProxy } from './proxy.ts';
import { ReferencedObjects } from './referenced-objects.ts';
import { removeSandbox } from './sandbox.ts';
import { ServiceAccountTokens } from './service-account-tokens.ts';
import { StaticPods } from './static-pods.ts';
import { machineSize } from './volumes.ts';

export interface NodeOptions {
  readonly plan: ClusterPlan;
  /** As `system:node:<name>`. */
  readonly client: KubeClient;
  /** The cluster's CA and the node's server certificate: files, PEM. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Called once the node is registered and ready, and its services and names work. */
  readonly onReady: () => void;
}

/**
 * What kubelet, kube-proxy and CoreDNS do on a node, until the signal is aborted. Pods stay when it ends, however it does: the
 * next agent takes them up.
 */
export async function runNode({ plan, client, tls, onReady }: NodeOptions, signal: AbortSignal): Promise<void> {
  const log = createLogger('node');
  const machine = machineSize();
  const context: NodeContext = {
    plan,
    client,
    events: new EventRecorder({ client, component: 'kubelet', log }),
    objects: new ReferencedObjects(client, log),
    tokens: new ServiceAccountTokens(client),
    machine,
    log,
  };
  await serveCniPlugin({ plan, log }, signal);
  const staticPods = new StaticPods({ plan, client, log });
  const pods = new Pods(context, staticPods, signal);
  await serveKubelet(
    {
      host: plan.nodeAddress,
      port: kubeletPort,
      ...tls,
      find: (namespace, pod, container) => pods.find(namespace, pod, container) ?? staticPods.find(namespace, pod, container),
      log,
    },
    signal,
  );
  const registration = { plan, client, machine, log };
  const servicesReady = Promise.withResolvers<undefined>();
  const namesReady = Promise.withResolvers<undefined>();
  const registered = registerNode(registration, signal);
  const running = Promise.all([
    pods.run(),
    runServiceProxy({
      client,
      nodeName: plan.nodeName,
      podCidr: plan.podCidr,
      serviceCidr: plan.serviceCidr,
      signal,
      onApplied: () => servicesReady.resolve(undefined),
    }),
    dns(plan, client, signal, () => namesReady.resolve(undefined)),
    registered.then(() => Promise.all([keepNodeAlive(registration, signal), staticPods.run(signal)])),
  ]);
  const ready = Promise.all([registered, servicesReady.promise, namesReady.promise]);
  await Promise.race([ready, running]);
  onReady();
  await running;
}

/** The cluster's DNS server answers on its ClusterIP, which the node has as an address of its own. */
async function dns(plan: ClusterPlan, client: KubeClient, signal: AbortSignal, onListening: () => void): Promise<void> {
  await runClusterDns({ client, address: plan.dnsAddress, port: 53, clusterDomain, signal, onListening });
}

/** The pods of this node, each with its worker. */
class Pods {
  readonly #context: NodeContext;
  readonly #staticPods: StaticPods;
  readonly #signal: AbortSignal;
  /** By uid. */
  readonly #workers = new Map<string, PodWorker>();

  constructor(context: NodeContext, staticPods: StaticPods, signal: AbortSignal) {
    this.#context = context;
    this.#staticPods = staticPods;
    this.#signal = signal;
    mkdirSync(podsFolder, { recursive: true });
  }

  async run(): Promise<void> {
    const { client, plan, log } = this.#context;
    const informer = new Informer({ client, type: resources.pods, fieldSelector: `spec.nodeName=${plan.nodeName}`, log });
    void informer.synced.then(() => this.#removeOrphans(new Set([...informer.list()].map((pod) => pod.metadata.uid ?? ''))));
    informer.onChange((changes) => {
      for (const change of changes) {
        if (change.old !== undefined && change.old.metadata.uid !== change.object?.metadata.uid) this.#deleted(change.old);
        if (change.object !== undefined) this.#seen(change.object);
      }
    });
    await informer.run(this.#signal);
    await aborted(this.#signal);
    await Promise.all([...this.#workers.values()].map((worker) => worker.done));
  }

  find(namespace: string, name: string, container: string) {
    for (const worker of this.#workers.values()) {
      const { metadata } = worker.pod;
      if (metadata.namespace !== namespace || metadata.name !== name) continue;
      const runtime = worker.container(container);
      if (runtime === undefined) return undefined;
      return {
        record: runtime.running?.record,
        hasLog: runtime.hasLog.bind(runtime),
        logs: runtime.logs.bind(runtime),
      };
    }
    return undefined;
  }

  #seen(pod: Pod): void {
    if (this.#staticPods.isMirror(pod)) return;
    const uid = pod.metadata.uid ?? '';
    const known = this.#workers.get(uid);
    if (known !== undefined) {
      known.update(pod);
      return;
    }
    const { phase } = pod.status ?? {};
    const over = phase === 'Succeeded' || phase === 'Failed';
    // A pod that had ended before we began is only waited for to be deleted.
    if (over && pod.metadata.deletionTimestamp === undefined && !existsSync(path.join(podsFolder, uid))) return;
    const worker = new PodWorker(pod, this.#context, this.#signal);
    this.#workers.set(uid, worker);
    void worker.done
      .catch((error: unknown) => this.#context.log.error({ pod: pod.metadata.name, error: describeError(error) }, 'pod worker failed'))
      .finally(() => this.#workers.delete(uid));
  }

  #deleted(pod: Pod): void {
    if (this.#staticPods.isMirror(pod)) this.#staticPods.restore();
    this.#workers.get(pod.metadata.uid ?? '')?.terminate(0);
  }

  /** Pods that were deleted while no agent ran. */
  #removeOrphans(known: ReadonlySet<string>): void {
    for (const uid of readdirSync(podsFolder)) {
      if (!known.has(uid)) void removeOrphan(path.join(podsFolder, uid), this.#context.log);
    }
  }
}

async function removeOrphan(folder: string, log: Logger): Promise<void> {
  try {
    const containers = path.join(folder, 'containers');
    for (const name of existsSync(containers) ? readdirSync(containers) : []) {
      for (const attempt of readdirSync(path.join(containers, name))) {
        const { state } = containerFiles(path.join(containers, name, attempt));
        if (!existsSync(state)) continue;
        const { pid, shim, shimStart } = JSON.parse(readFileSync(state, 'utf8')) as ContainerRecord;
        await killShimmed(pid, shim, shimStart);
      }
    }
    await removeSandbox(path.join(folder, 'sandbox.json'));
  } catch (error) {
    log.warn({ folder, error: describeError(error) }, 'orphaned pod not removed cleanly');
  }
  rmSync(folder, { recursive: true, force: true });
  for (const name of existsSync(podLogsFolder) ? readdirSync(podLogsFolder) : []) {
    if (name.endsWith(`_${path.basename(folder)}`)) rmSync(path.join(podLogsFolder, name), { recursive: true, force: true });
  }
}

/** The shim as well, which waits for an agent to take the exit code. */
async function killShimmed(pid: number, shim: number, shimStart: string): Promise<void> {
  if (processStartTime(shim) !== shimStart) return;
  for (const each of [pid, shim]) {
    try {
      process.kill(each, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH')
        throw new IsthmusError('LINUX_SYSCALL', `process ${each} not killed`, { cause: error });
    }
  }
  await processExit(shim, shimStart);
}
