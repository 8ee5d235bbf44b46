import path from 'node:path';
import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { once } from 'node:events';
import { createServer } from 'node:http';

import type { Namespace, Pod } from '../api/kubernetes.ts';
import { labels } from '../api/names.ts';
import { resources } from '../api/resources.ts';
import { aborted, describeError, IsthmusError, type Logger } from '../core/index.ts';
import { EventRecorder, Informer, KubeApiError, type KubeClient } from '../kube/index.ts';
import { NetworkNamespace } from '../linux/index.ts';
import type { CniConfig } from './config.ts';
import { enrolmentOf, isMarkedEnrolled, podAddresses } from './enrolment.ts';
import { HostProbes } from './host-probes.ts';
import { KeyedWork } from './keyed-work.ts';
import { PodEnroller } from './pod-enroller.ts';
import { PodNamespaces } from './pod-namespaces.ts';
import { installPlugin, keepChained, unchainPlugin, uninstallPlugin } from './plugin/install.ts';
import { listenForPlugin, type PluginAdd } from './plugin/server.ts';
import { ZdsServer } from './zds-server.ts';

export interface CniAgentOptions {
  readonly config: CniConfig;
  readonly client: KubeClient;
  readonly log: Logger;
}

/** An Event is written when this many attempts in a row have failed: most failures are over by the next one. */
const attemptsUntilEvent = 3;

/**
 * The node agent: keeps the pods of its node in the mesh or out of it, as their labels say, until the signal is aborted.
 * Then the node is left as it is for the agent's successor, unless its DaemonSet is being deleted: then everything is
 * taken back.
 */
export async function runCniAgent({ config, client, log }: CniAgentOptions, signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  const forward = (): void => stop.abort(signal.reason);
  signal.addEventListener('abort', forward, { once: true });
  const probes = hostProbes(config, log);
  const agent = new Agent({ config, client, log, probes });
  const ready = { chained: false, synced: false };
  const health = createServer((request, response) => {
    const good = request.url === '/healthz' || (request.url === '/readyz' && ready.chained && ready.synced);
    response
      .writeHead(good ? 200 : request.url === '/readyz' ? 503 : 404, { 'content-type': 'text/plain' })
      .end(good ? 'ok\n' : 'not ready\n');
  });
  health.listen(config.healthPort);
  await once(health, 'listening');
  try {
    await agent.start(stop.signal);
    const plugin = await listenForPlugin({ runDir: config.runDir, onAdd: (pod) => agent.addStarting(pod), ready: () => ready.synced, log });
    installPlugin(config);
    keepChained(config, { log, onState: (chained) => (ready.chained = chained), signal: stop.signal });
    ready.synced = true;
    log.info({ node: config.nodeName, pods: agent.enrolled }, 'node agent is ready');
    await aborted(signal);
    ready.synced = false;
    plugin.closeAllConnections();
    plugin.close();
    await agent.stop();
    if (await isUninstalled(config, client, log)) {
      log.info('the agent is being uninstalled: the node is put back as it was');
      unchainPlugin(config);
      uninstallPlugin(config);
      await agent.withdrawAll();
      await probes?.uninstall();
    }
  } finally {
    signal.removeEventListener('abort', forward);
    stop.abort();
    health.closeAllConnections();
    health.close();
    agent.close();
  }
}

/** Only in the node's own network namespace, which the agent's pod shares with `hostNetwork: true`. */
function hostProbes(config: CniConfig, log: Logger): HostProbes | undefined {
  const own = Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address));
  if (config.hostIp !== undefined && own.includes(config.hostIp)) return new HostProbes(NetworkNamespace.current(), config.probeAddresses);
  log.warn(
    { hostIp: config.hostIp },
    "the agent does not share the node's network (hostNetwork, HOST_IP): the kubelet's probes reach pods of the mesh as plaintext, which STRICT mutual TLS refuses",
  );
  return undefined;
}

/**
 * Whether the agent's DaemonSet is gone or going. An API server that does not answer says nothing, and then the node stays
 * as it is. When it does not know the agent (401) or has taken its permissions away (403), only an uninstall can have done that.
 */
async function isUninstalled({ pod }: CniConfig, client: KubeClient, log: Logger): Promise<boolean> {
  if (pod === undefined) return false;
  try {
    const daemonSet = await client.get(resources.daemonSets, { name: pod.name.replace(/-[^-]+$/, ''), namespace: pod.namespace });
    return daemonSet.metadata.deletionTimestamp !== undefined;
  } catch (error) {
    if (error instanceof KubeApiError && [401, 403, 404].includes(error.httpCode)) return true;
    log.warn({ error: describeError(error) }, 'cannot tell whether the agent is being uninstalled');
    return false;
  }
}

class Agent {
  readonly #config: CniConfig;
  readonly #client: KubeClient;
  readonly #log: Logger;
  readonly #pods: Informer<Pod>;
  readonly #namespaces: Informer<Namespace>;
  readonly #zds: ZdsServer;
  readonly #enroller: PodEnroller;
  readonly #probes: HostProbes | undefined;
  readonly #events: EventRecorder;
  readonly #work: KeyedWork;

  constructor(options: CniAgentOptions & { readonly probes: HostProbes | undefined }) {
    const { config, client, log, probes } = options;
    this.#config = config;
    this.#client = client;
    this.#log = log;
    this.#probes = probes;
    this.#pods = new Informer({ client, type: resources.pods, fieldSelector: `spec.nodeName=${config.nodeName}`, log });
    this.#namespaces = new Informer({ client, type: resources.namespaces, log });
    this.#events = new EventRecorder({ client, component: 'istio-cni', log });
    this.#work = new KeyedWork({
      work: (key) => this.#reconcile(key),
      onFailure: (key, error, attempt) => this.#failed(key, error, attempt),
    });
    this.#zds = new ZdsServer({ path: config.ztunnelSocket, log, onConnected: () => this.#retryIncomplete() });
    this.#enroller = new PodEnroller({ config, client, log, probes, zds: this.#zds, namespaces: new PodNamespaces(config.netnsDir) });
  }

  get enrolled(): number {
    return this.#enroller.size;
  }

  /** Resolves when the pods of the node are known, have had their first turn, and ztunnel may ask for them. */
  async start(signal: AbortSignal): Promise<void> {
    for (const informer of [this.#namespaces, this.#pods]) {
      void informer.run(signal);
      await Promise.race([informer.synced, aborted(signal)]);
      signal.throwIfAborted();
    }
    await this.#probes?.install([]);
    await Promise.all([...this.#pods.list()].map((pod) => this.#work.schedule(keyOf(pod))));
    this.#zds.listen();
    this.#pods.onChange((changes) => {
      for (const { key } of changes) void this.#work.schedule(key);
    });
    this.#namespaces.onChange((changes) => {
      for (const { key, object, old } of changes) if (modeOf(object) !== modeOf(old)) this.#scheduleNamespace(key);
    });
  }

  /** A pod that the runtime starts now. Resolves when it is in the mesh or does not belong there. */
  async addStarting(call: PluginAdd): Promise<void> {
    const key = `${call.namespace}/${call.name}`;
    await this.#work.exclusive(key, async () => {
      const pod = await this.#podOf(call);
      const enrolment = enrolmentOf(pod, this.#namespaces.get(call.namespace), this.#config.excludeNamespaces);
      if (!enrolment.enrolled) {
        this.#log.debug({ pod: key, reason: enrolment.reason }, 'pod starts outside of the mesh');
        return;
      }
      await this.#enroller.forgetOthers(key, pod.metadata.uid);
      await this.#enroller.enrolStarting(pod, this.#openNamed(call.netns), call.addresses);
    });
  }

  /** Nothing is begun any more; resolves when what is under way is over. */
  async stop(): Promise<void> {
    await this.#work.stop();
  }

  async withdrawAll(): Promise<void> {
    for (const { uid, key } of [...this.#enroller.pods]) {
      const pod = this.#pods.get(key);
      try {
        if (pod?.metadata.uid === uid) await this.#enroller.withdraw(pod);
      } catch (error) {
        this.#log.warn({ pod: key, error: describeError(error) }, 'pod not taken out of the mesh');
      }
    }
  }

  close(): void {
    this.#work[Symbol.dispose]();
    this.#zds.close();
  }

  async #reconcile(key: string): Promise<void> {
    const pod = this.#pods.get(key);
    await this.#enroller.forgetOthers(key, pod?.metadata.uid);
    if (pod === undefined) return;
    const uid = pod.metadata.uid ?? '';
    const enrolment = enrolmentOf(pod, this.#namespaces.get(pod.metadata.namespace ?? ''), this.#config.excludeNamespaces);
    if (enrolment.enrolled) {
      // Without an address it has not started: the plugin will ask for it.
      if (this.#enroller.isComplete(uid) || podAddresses(pod).length === 0) return;
      await this.#enroller.enrolRunning(pod);
    } else if (this.#enroller.isKnown(uid) || isMarkedEnrolled(pod)) {
      await this.#enroller.withdraw(pod);
    }
  }

  #failed(key: string, error: unknown, attempt: number): void {
    this.#log.warn({ pod: key, attempt, error: describeError(error) }, 'pod does not have the place it should have, trying again');
    const pod = this.#pods.get(key);
    if (attempt !== attemptsUntilEvent || pod === undefined) return;
    void this.#events.record({ about: pod, type: 'Warning', reason: 'AmbientEnrolmentFailed', message: describeError(error) });
  }

  /** ztunnel has come: what waited for it need not wait for its next attempt. */
  #retryIncomplete(): void {
    for (const { uid, key } of this.#enroller.pods) if (!this.#enroller.isComplete(uid)) void this.#work.schedule(key);
  }

  #scheduleNamespace(namespace: string): void {
    for (const pod of this.#pods.list()) if (pod.metadata.namespace === namespace) void this.#work.schedule(keyOf(pod));
  }

  /** From the API server when the watch is behind: a pod's sandbox may be made before the watch has told of the pod. */
  async #podOf({ namespace, name, uid }: PluginAdd): Promise<Pod> {
    const known = this.#pods.get(`${namespace}/${name}`);
    if (known !== undefined && uid !== undefined && known.metadata.uid === uid) return known;
    const pod = await this.#client.get(resources.pods, { namespace, name });
    if (uid !== undefined && pod.metadata.uid !== uid) {
      throw new IsthmusError('CNI_PLUGIN_REQUEST', `pod ${namespace}/${name} has UID ${pod.metadata.uid ?? ''} by now, not ${uid}`);
    }
    return pod;
  }

  /** The path is the node's; the agent may see the folder elsewhere. */
  #openNamed(netns: string): NetworkNamespace {
    const mounted = path.join(this.#config.netnsDir, path.basename(netns));
    return NetworkNamespace.open(existsSync(mounted) ? mounted : netns);
  }
}

const keyOf = (pod: Pod): string => `${pod.metadata.namespace ?? ''}/${pod.metadata.name}`;
const modeOf = (namespace: Namespace | undefined): string | undefined => namespace?.metadata.labels?.[labels.dataplaneMode];
