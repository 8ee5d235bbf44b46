import type { IPodStatus } from 'kubernetes-models/v1';

import type { Pod } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { describeError, sleep, type Logger } from '../../core/index.ts';
import { isConflict, isNotFound, type KubeClient } from '../../kube/index.ts';

/**
 * Writes one pod's status to the API server: the newest one, one request at a time, again until it is accepted. Changes that
 * come while a request is under way are one change.
 */
export class StatusWriter {
  readonly #client: KubeClient;
  readonly #log: Logger;
  readonly #compute: () => { readonly pod: Pod; readonly status: IPodStatus };
  readonly #closed = new AbortController();
  #dirty = false;
  #running: Promise<void> | undefined;
  #written = '';

  constructor(client: KubeClient, log: Logger, compute: () => { readonly pod: Pod; readonly status: IPodStatus }) {
    this.#client = client;
    this.#log = log;
    this.#compute = compute;
  }

  /** Something that the status shows has changed. */
  changed(): void {
    if (this.#closed.signal.aborted) return;
    this.#dirty = true;
    this.#running ??= this.#run().finally(() => (this.#running = undefined));
  }

  /** Resolves when the present status is written, or cannot be any more. */
  async flush(): Promise<void> {
    this.changed();
    await this.#running;
  }

  close(): void {
    this.#closed.abort();
  }

  async #run(): Promise<void> {
    const closed = this.#closed.signal;
    // What changes in the same turn of the event loop is one change.
    await new Promise(setImmediate);
    for (let wait = 100; this.#dirty && !closed.aborted;) {
      this.#dirty = false;
      const { pod, status } = this.#compute();
      const text = JSON.stringify(status);
      if (text === this.#written) continue;
      try {
        await this.#write(pod, status);
        this.#written = text;
        wait = 100;
      } catch (error) {
        // Gone, or another pod has the name by now.
        if (isNotFound(error) || isConflict(error)) return;
        this.#dirty = true;
        this.#log.warn({ pod: pod.metadata.name, error: describeError(error), retryMs: wait }, 'pod status not written');
        await sleep(wait, closed).catch(() => undefined);
        wait = Math.min(wait * 2, 5_000);
      }
    }
  }

  async #write(pod: Pod, status: IPodStatus): Promise<void> {
    const { name, namespace, uid } = pod.metadata;
    // The uid makes it fail on another pod of that name; merging by type leaves the conditions of others alone.
    const body = { metadata: { uid }, status };
    await this.#client.patch(
      resources.pods,
      { name, namespace },
      { type: 'strategic', body },
      { subresource: 'status', fieldManager: 'kubelet', signal: this.#closed.signal },
    );
  }
}
