import type { Gateway } from '../api/kubernetes.ts';
import type { conditionTypes } from '../api/names.ts';
import { annotations } from '../api/names.ts';
import { resources } from '../api/resources.ts';
import type { Collection } from '../collections/index.ts';
import { describeError, type Logger } from '../core/index.ts';
import { WorkQueue, type KubeClient } from '../kube/index.ts';
import { fieldManager } from './entry-ownership.ts';

/** Ours beside the guide's two: whether all that the peer sends is believed. */
export const resourcesAccepted = 'isthmus.dev/ResourcesAccepted';
/** Ours: whether the services of the peer have a namespace here for their entries to be in. */
export const namespacesReady = 'isthmus.dev/NamespacesReady';

export interface ConditionState {
  readonly type: (typeof conditionTypes)[keyof typeof conditionTypes] | typeof resourcesAccepted | typeof namespacesReady;
  readonly status: 'True' | 'False';
  /** CamelCase, or a code of docs/errors/peering.md. */
  readonly reason: string;
  readonly message: string;
}

/** What a link's Gateway ought to show. */
export interface GatewayState {
  readonly conditions: readonly ConditionState[];
  /** The authorities to be recorded as pinned; empty: leave the annotation alone. */
  readonly pins: readonly string[];
}

type Condition = ConditionState & { readonly observedGeneration?: number; readonly lastTransitionTime: string };

/** Longer messages are cut; the API's own limit is 32 KiB. */
export const maxMessage = 1024;

/**
 * Writes the conditions of istio-remote Gateways, which are ours alone: other controllers write other types on the same objects, and
 * server-side apply keeps them apart.
 */
export class GatewayStatusWriter {
  readonly #gateways: Collection<Gateway>;
  readonly #wanted = new Map<string, GatewayState>();
  readonly #queue: WorkQueue;
  /** Of whoever runs the writer. */
  #client: KubeClient | undefined;

  constructor(options: { readonly gateways: Collection<Gateway>; readonly log: Logger }) {
    this.#gateways = options.gateways;
    this.#queue = new WorkQueue({
      work: (key, signal) => this.#write(key, signal),
      onFailure: (key, error, retryMs) =>
        options.log.warn({ gateway: key, error: describeError(error), retryMs }, 'status of gateway not written'),
      ratePerSecond: 20,
      burst: 50,
    });
  }

  /** Kept until somebody runs the writer: on a replica that does not lead, for when it comes to. */
  set(key: string, state: GatewayState): void {
    this.#wanted.set(key, state);
    this.#queue.add(key);
  }

  forget(key: string): void {
    this.#wanted.delete(key);
  }

  async run(client: KubeClient, signal: AbortSignal): Promise<void> {
    this.#client = client;
    // Another replica may have written something else meanwhile.
    for (const key of this.#wanted.keys()) this.#queue.add(key);
    await this.#queue.run(signal);
  }

  async #write(key: string, signal: AbortSignal): Promise<void> {
    const client = this.#client;
    const gateway = this.#gateways.get(key);
    const wanted = this.#wanted.get(key);
    if (client === undefined || gateway === undefined || wanted === undefined) return;
    const { name, namespace = '', generation } = gateway.metadata;
    const metadata = { name, namespace };
    const current = (gateway.status?.conditions ?? []) as readonly Condition[];
    const conditions = wanted.conditions.map((state): Condition => {
      const message = state.message.slice(0, maxMessage);
      const old = current.find(({ type }) => type === state.type);
      const since = old?.status === state.status ? old.lastTransitionTime : undefined;
      return {
        ...state,
        message,
        ...(generation !== undefined && { observedGeneration: generation }),
        lastTransitionTime: since ?? `${new Date().toISOString().slice(0, 19)}Z`,
      };
    });
    if (!conditions.every((condition) => current.some((old) => isSame(old, condition)))) {
      await client.apply(resources.gateways, { metadata, status: { conditions } }, { subresource: 'status', fieldManager, signal });
    }
    const noted = wanted.pins.join(',');
    if (noted !== '' && gateway.metadata.annotations?.[annotations.peerCaSha256] !== noted) {
      const pinned = { ...metadata, annotations: { [annotations.peerCaSha256]: noted } };
      await client.apply(resources.gateways, { metadata: pinned }, { fieldManager, signal });
    }
  }
}

function isSame(a: Condition, b: Condition): boolean {
  return (
    a.type === b.type &&
    a.status === b.status &&
    a.reason === b.reason &&
    a.message === b.message &&
    a.observedGeneration === b.observedGeneration
  );
}
