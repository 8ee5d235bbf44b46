import type { Pod } from '../api/kubernetes.ts';
import { annotations } from '../api/names.ts';
import { resources } from '../api/resources.ts';
import { IsthmusError, type Logger } from '../core/index.ts';
import { isConflict, isNotFound, type KubeClient } from '../kube/index.ts';
import type { NetworkNamespace } from '../linux/index.ts';
import type { CniConfig } from './config.ts';
import { isMarkedEnrolled, podAddresses, redirectionOptions } from './enrolment.ts';
import type { HostProbes } from './host-probes.ts';
import type { PodNamespaces } from './pod-namespaces.ts';
import { installRedirection, removeRedirection } from './redirection.ts';
import type { ZdsServer } from './zds-server.ts';

/** A pod that this agent has put into the mesh, or is about to. */
interface EnrolledPod {
  readonly uid: string;
  /** `namespace/name`. */
  readonly key: string;
  readonly netns: NetworkNamespace;
  readonly addresses: readonly string[];
  /** ztunnel stands in for it, the node's probes pass, and the pod says so. */
  complete: boolean;
}

export interface PodEnrollerOptions {
  readonly config: CniConfig;
  readonly client: KubeClient;
  readonly zds: ZdsServer;
  readonly namespaces: PodNamespaces;
  /** undefined: the agent does not share the node's network namespace. */
  readonly probes: HostProbes | undefined;
  readonly log: Logger;
}

/**
 * Puts single pods into the mesh and takes them out. Every step can be repeated. Calls for one pod must not overlap.
 *
 * In: redirection, ztunnel, probes, annotation. Until ztunnel has opened its ports the redirected pod cannot talk, which
 * is wanted: it belongs to the mesh and must not speak outside of it. Out: the other way around, redirection first.
 */
export class PodEnroller {
  readonly #options: PodEnrollerOptions;
  readonly #enrolled = new Map<string, EnrolledPod>();

  constructor(options: PodEnrollerOptions) {
    this.#options = options;
  }

  /** UIDs and addresses of all enrolled pods. */
  get pods(): Iterable<{ readonly uid: string; readonly key: string; readonly addresses: readonly string[] }> {
    return this.#enrolled.values();
  }

  get size(): number {
    return this.#enrolled.size;
  }

  /** Whether nothing is left to be done for a pod. */
  isComplete(uid: string): boolean {
    return this.#enrolled.get(uid)?.complete ?? false;
  }

  isKnown(uid: string): boolean {
    return this.#enrolled.has(uid);
  }

  /**
   * A running pod; its namespace is looked for by its addresses. CNI_POD_NAMESPACE_NOT_FOUND, CNI_REDIRECTION; CNI_NO_ZTUNNEL,
   * CNI_ZTUNNEL_REFUSED and CNI_ZTUNNEL_TIMEOUT, then the pod is marked `pending`.
   */
  async enrolRunning(pod: Pod): Promise<void> {
    const addresses = podAddresses(pod);
    const uid = pod.metadata.uid ?? '';
    let netns: NetworkNamespace;
    try {
      netns = this.#options.namespaces.find(addresses);
    } catch (error) {
      if (pod.metadata.annotations?.[annotations.redirection] === 'enabled') this.#options.zds.keep(uid);
      throw error;
    }
    const entry = await this.#redirect(pod, netns, addresses);
    if (pod.metadata.annotations?.[annotations.redirection] === 'enabled' && !this.#options.zds.connected) {
      // After a restart of this agent: ztunnel serves the pod and learns from the next snapshot that it goes on.
      this.#options.zds.remember(zdsPod(pod, entry));
    } else {
      await this.#handOver(pod, entry, true);
    }
    await this.#finish(pod, entry);
  }

  /** A pod that the runtime is about to start, in the namespace it has made. Fails without leaving anything behind. */
  async enrolStarting(pod: Pod, netns: NetworkNamespace, addresses: readonly string[]): Promise<void> {
    try {
      const entry = await this.#redirect(pod, netns, addresses);
      await this.#handOver(pod, entry, false);
      await this.#finish(pod, entry);
    } catch (error) {
      await this.forget(pod.metadata.uid ?? '');
      throw error;
    }
  }

  /** A pod that is there but does not belong to the mesh (any more): plain traffic again. CNI_REDIRECTION. */
  async withdraw(pod: Pod): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    const entry = this.#enrolled.get(uid);
    const netns = entry?.netns ?? this.#findIfThere(podAddresses(pod));
    try {
      await this.#options.probes?.delete(uid);
      if (netns !== undefined) await removeRedirection(netns);
      await this.#options.zds.delete(uid);
    } finally {
      if (entry === undefined) netns?.[Symbol.dispose]();
    }
    this.#drop(uid);
    if (isMarkedEnrolled(pod)) await this.#annotate(pod, null);
    this.#options.log.info({ pod: keyOf(pod), uid }, 'pod taken out of the mesh');
  }

  /** A pod that is gone, and its namespace with it. */
  async forget(uid: string): Promise<void> {
    await this.#options.probes?.delete(uid);
    await this.#options.zds.delete(uid);
    this.#drop(uid);
  }

  /** Incarnations of a pod other than `uid`, which are gone. */
  async forgetOthers(key: string, uid: string | undefined): Promise<void> {
    for (const entry of [...this.#enrolled.values()]) if (entry.key === key && entry.uid !== uid) await this.forget(entry.uid);
  }

  /** Takes the namespace over. */
  async #redirect(pod: Pod, netns: NetworkNamespace, addresses: readonly string[]): Promise<EnrolledPod> {
    const uid = pod.metadata.uid ?? '';
    const before = this.#enrolled.get(uid);
    if (before?.netns.equals(netns) === true) {
      netns[Symbol.dispose]();
      return before;
    }
    try {
      await installRedirection(netns, redirectionOptions(pod, this.#options.config));
    } catch (error) {
      netns[Symbol.dispose]();
      throw error;
    }
    const entry: EnrolledPod = { uid, key: keyOf(pod), netns, addresses, complete: false };
    this.#enrolled.set(uid, entry);
    // Only now: the runtime has made the pod's sandbox anew, and ztunnel gets the new namespace with the same UID.
    before?.netns[Symbol.dispose]();
    return entry;
  }

  async #handOver(pod: Pod, entry: EnrolledPod, markPending: boolean): Promise<void> {
    try {
      await this.#options.zds.add(zdsPod(pod, entry));
    } catch (error) {
      if (markPending && !isMarkedEnrolled(pod)) await this.#annotate(pod, 'pending');
      throw error;
    }
  }

  async #finish(pod: Pod, entry: EnrolledPod): Promise<void> {
    await this.#options.probes?.add(entry.uid, entry.addresses);
    if (pod.metadata.annotations?.[annotations.redirection] !== 'enabled') await this.#annotate(pod, 'enabled');
    entry.complete = true;
    this.#options.log.info(
      { pod: entry.key, uid: entry.uid, addresses: entry.addresses, netns: entry.netns.name },
      'pod put into the mesh',
    );
  }

  #findIfThere(addresses: readonly string[]): NetworkNamespace | undefined {
    if (addresses.length === 0) return undefined;
    try {
      return this.#options.namespaces.find(addresses);
    } catch (error) {
      if (error instanceof IsthmusError && error.code === 'CNI_POD_NAMESPACE_NOT_FOUND') return undefined;
      throw error;
    }
  }

  #drop(uid: string): void {
    this.#enrolled.get(uid)?.netns[Symbol.dispose]();
    this.#enrolled.delete(uid);
  }

  /** Through the status, as upstream: writing pods themselves is a greater right. A pod that is gone needs no mark. */
  async #annotate(pod: Pod, value: 'enabled' | 'pending' | null): Promise<void> {
    const { name, namespace, uid } = pod.metadata;
    const body = { metadata: { uid, annotations: { [annotations.redirection]: value } } };
    try {
      await this.#options.client.patch(
        resources.pods,
        { name, namespace },
        { type: 'merge', body },
        { subresource: 'status', fieldManager: 'istio-cni' },
      );
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }
}

function keyOf(pod: Pod): string {
  return `${pod.metadata.namespace ?? ''}/${pod.metadata.name}`;
}

function zdsPod(pod: Pod, { uid, netns }: EnrolledPod): Parameters<ZdsServer['add']>[0] {
  const { name, namespace = '' } = pod.metadata;
  return { uid, name, namespace, serviceAccount: pod.spec?.serviceAccountName ?? 'default', netns };
}
