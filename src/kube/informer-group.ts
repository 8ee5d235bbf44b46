import type { KubeObject } from '../api/kubernetes.ts';
import { apiVersionOf, type ResourceType } from '../api/resources.ts';
import { describeError, retry, sleep, type Logger } from '../core/index.ts';
import { KubeApiError } from './api-error.ts';
import type { KubeClient } from './client.ts';
import { Informer, type InformerOptions } from './informer.ts';

/** How often one looks for a kind that the API server does not serve, milliseconds. */
const lookAgainMs = 1_000;

/**
 * The informers of one process. A kind that the API server does not serve, since its CRD is not installed, counts as empty, and is followed
 * as soon as it is served. That is seen by discovery, for which nobody needs a permission.
 */
export class InformerGroup {
  /** Resolves when the first lists of all kinds are in; rejects when the group is stopped before. */
  readonly synced: Promise<void>;
  readonly #client: KubeClient;
  readonly #log: Logger;
  readonly #members: { readonly informer: Pick<Informer<KubeObject>, 'run' | 'synced' | 'hasSynced'>; readonly type: ResourceType }[] = [];
  readonly #waitingFor = new Set<string>();
  readonly #outcome = Promise.withResolvers<undefined>();

  constructor(options: { readonly client: KubeClient; readonly log: Logger }) {
    this.#client = options.client;
    this.#log = options.log;
    // Whoever awaits it hears of a failure; nobody has to.
    this.#outcome.promise.catch(() => undefined);
    this.synced = this.#outcome.promise;
    this.synced.catch(() => undefined);
  }

  /** Before {@link run}. */
  add<T extends KubeObject>(type: ResourceType<T>, options: Omit<InformerOptions<T>, 'client' | 'type' | 'log'> = {}): Informer<T> {
    const informer = new Informer({ client: this.#client, type, log: this.#log, ...options });
    this.#members.push({ informer, type });
    return informer;
  }

  /** Plurals of the kinds whose first list is not in yet, and which are served as far as is known. */
  get pending(): string[] {
    return this.#members.flatMap(({ informer, type }) => (informer.hasSynced || this.#waitingFor.has(type.plural) ? [] : [type.plural]));
  }

  /** Keeps all copies until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const running: Promise<void>[] = [];
    const ready = this.#members.map(async ({ informer, type }) => {
      if (await this.#isServedNow(type, signal)) {
        const run = informer.run(signal);
        running.push(run);
        // One that is stopped before its first list never has it.
        await Promise.race([informer.synced, run]);
        if (!informer.hasSynced) signal.throwIfAborted();
      } else running.push(this.#runWhenServed(informer, type, signal));
    });
    Promise.all(ready).then(() => this.#outcome.resolve(undefined), this.#outcome.reject);
    await Promise.allSettled(ready);
    await Promise.all(running);
  }

  /** Waits for a server that does not answer. */
  async #isServedNow(type: ResourceType, signal: AbortSignal): Promise<boolean> {
    return await retry(() => isServed(this.#client, type, signal), {
      initial: 200,
      max: 5_000,
      signal,
      onFailure: (error) => this.#log.warn({ kind: type.kind, error: describeError(error) }, 'API server not ready'),
    });
  }

  async #runWhenServed(informer: Pick<Informer<KubeObject>, 'run'>, type: ResourceType, signal: AbortSignal): Promise<void> {
    this.#log.warn({ kind: type.kind, group: type.group, code: 'KUBE_KIND_MISSING' }, 'kind not served; waiting for its CRD');
    this.#waitingFor.add(type.plural);
    try {
      do await sleep(lookAgainMs, signal);
      while (!(await this.#isServedNow(type, signal)));
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    this.#waitingFor.delete(type.plural);
    await informer.run(signal);
  }
}

async function isServed(client: KubeClient, type: ResourceType, signal: AbortSignal): Promise<boolean> {
  // The kinds of Kubernetes itself are always there.
  if (!type.group.includes('.') || (type.group.endsWith('.k8s.io') && type.group !== 'gateway.networking.k8s.io')) return true;
  try {
    const path = `/apis/${apiVersionOf(type)}`;
    const list = (await client.request({ method: 'GET', path, signal })) as { resources?: readonly { name?: string }[] } | undefined;
    return list?.resources?.some(({ name }) => name === type.plural) ?? false;
  } catch (error) {
    // A group that nobody serves is answered by the web server beneath, without a reason.
    if (error instanceof KubeApiError && error.httpCode === 404) return false;
    throw error;
  }
}
