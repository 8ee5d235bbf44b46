import { describeError, IsthmusError, type Logger } from '../../core/index.ts';
import type { NetworkNamespace } from '../../linux/index.ts';
import type { PodProxy } from '../proxy.ts';
import type { WorkloadInfo } from '../state/model.ts';
import type { ZdsMessage } from './zds.ts';

/** A pod that the CNI agent has handed over. */
export interface Pod {
  readonly uid: string;
  readonly workloadInfo: WorkloadInfo;
  /** Stays open until the proxy has stopped. */
  readonly namespace: NetworkNamespace;
}

/** Opens the sockets of a pod; what it opened before a failure it closes itself. */
export type StartPodProxy = (pod: Pod) => Promise<PodProxy>;

interface Running {
  readonly pod: Pod;
  readonly proxy: PodProxy;
}

/**
 * The pods of this node that this process proxies, as the CNI agent wants them. States of a pod:
 *
 * - running: its proxy is up;
 * - pending: its proxy could not start (mostly because an older ztunnel still holds its ports) and is tried again.
 *
 * A connection begins with a snapshot: every pod there is, then `snapshot-sent`, on which pods that were not named are
 * stopped. Pods outlive connections. Calls must not overlap.
 */
export class Pods {
  readonly #start: StartPodProxy;
  readonly #log: Logger;
  readonly #running = new Map<string, Running>();
  readonly #pending = new Map<string, Pod>();
  readonly #stopping = new Set<Promise<void>>();
  readonly #named = new Set<string>();
  #snapshotReceived = false;

  constructor(options: { start: StartPodProxy; log: Logger }) {
    this.#start = options.start;
    this.#log = options.log;
  }

  /** A new connection: the next messages are a snapshot. */
  beginSnapshot(): void {
    this.#named.clear();
    for (const pod of this.#pending.values()) pod.namespace[Symbol.dispose]();
    this.#pending.clear();
    this.#snapshotReceived = false;
  }

  /** The snapshot is complete and every pod's proxy is up. */
  get ready(): boolean {
    return this.#snapshotReceived && this.#pending.size === 0;
  }

  get pending(): readonly Pod[] {
    return [...this.#pending.values()];
  }

  get running(): readonly PodProxy[] {
    return [...this.#running.values()].map(({ proxy }) => proxy);
  }

  /** ZTUNNEL_POD_PENDING when a proxy cannot start (it is pending then), ZTUNNEL_ZDS_PROTOCOL when the agent breaks the rules. */
  async handle(message: ZdsMessage): Promise<void> {
    switch (message.kind) {
      case 'add': {
        const { uid, namespace, workloadInfo } = message;
        if (workloadInfo === undefined) {
          namespace[Symbol.dispose]();
          throw new IsthmusError('ZTUNNEL_ZDS_PROTOCOL', 'workload_info is required but not present');
        }
        if (!this.#snapshotReceived) this.#named.add(uid);
        await this.#add({ uid, namespace, workloadInfo });
        return;
      }
      case 'keep':
        if (this.#snapshotReceived) throw new IsthmusError('ZTUNNEL_ZDS_PROTOCOL', 'pod keep received after snapshot');
        this.#named.add(message.uid);
        return;
      case 'delete':
        // Before the end of a snapshot the proxy goes on: the snapshot's end stops what it has not named.
        if (this.#snapshotReceived) this.#stop(message.uid);
        this.#named.delete(message.uid);
        this.#dropPending(message.uid);
        return;
      case 'snapshot-sent':
        if (this.#snapshotReceived) throw new IsthmusError('ZTUNNEL_ZDS_PROTOCOL', 'pod snapshot received already');
        for (const uid of [...this.#running.keys()]) if (!this.#named.has(uid)) this.#stop(uid);
        this.#named.clear();
        this.#snapshotReceived = true;
    }
  }

  /** Tries the pending ones once more. */
  async retryPending(): Promise<void> {
    for (const pod of this.pending) {
      this.#pending.delete(pod.uid);
      try {
        await this.#add(pod);
      } catch (error) {
        this.#log.info({ uid: pod.uid, error: describeError(error) }, 'pod still pending');
      }
    }
  }

  /** Ends all: open connections get `deadlineMs` milliseconds. */
  async drain(deadlineMs: number): Promise<void> {
    for (const pod of this.#pending.values()) pod.namespace[Symbol.dispose]();
    this.#pending.clear();
    const draining = [...this.#running.values()].map(async ({ proxy, pod }) => {
      await proxy.drain(deadlineMs);
      pod.namespace[Symbol.dispose]();
    });
    this.#running.clear();
    await Promise.all([...draining, ...this.#stopping]);
  }

  async #add(pod: Pod): Promise<void> {
    const existing = this.#running.get(pod.uid);
    if (existing !== undefined) {
      if (existing.pod.namespace.equals(pod.namespace)) {
        pod.namespace[Symbol.dispose]();
        this.#dropPending(pod.uid);
        return;
      }
      // The runtime has made the pod's sandbox anew.
      this.#stop(pod.uid);
    }
    try {
      const proxy = await this.#start(pod);
      this.#running.set(pod.uid, { pod, proxy });
      this.#dropPending(pod.uid);
      this.#log.info({ uid: pod.uid, ...pod.workloadInfo }, 'pod proxy started');
    } catch (cause) {
      this.#dropPending(pod.uid);
      this.#pending.set(pod.uid, pod);
      const { namespace, name } = pod.workloadInfo;
      throw new IsthmusError(
        'ZTUNNEL_POD_PENDING',
        `proxy of pod ${namespace}/${name} (${pod.uid}) could not start: ${describeError(cause)}`,
        {
          cause,
        },
      );
    }
  }

  /** In the background: whoever asked does not wait for connections to be gone. */
  #stop(uid: string): void {
    const running = this.#running.get(uid);
    if (running === undefined) return;
    this.#running.delete(uid);
    const stopped = this.#stopped(running);
    this.#stopping.add(stopped);
    void stopped.finally(() => this.#stopping.delete(stopped));
  }

  async #stopped({ pod, proxy }: Running): Promise<void> {
    try {
      await proxy[Symbol.asyncDispose]();
      this.#log.info({ uid: pod.uid, ...pod.workloadInfo }, 'pod proxy stopped');
    } catch (error) {
      this.#log.error({ uid: pod.uid, error: describeError(error) }, 'pod proxy did not stop cleanly');
    } finally {
      pod.namespace[Symbol.dispose]();
    }
  }

  #dropPending(uid: string): void {
    this.#pending.get(uid)?.namespace[Symbol.dispose]();
    this.#pending.delete(uid);
  }
}
