import { randomBytes } from 'node:crypto';

import type { Event, KubeObject } from '../api/kubernetes.ts';
import { resources } from '../api/resources.ts';
import { describeError, type Logger } from '../core/index.ts';
import { isNotFound } from './api-error.ts';
import type { KubeClient } from './client.ts';

export interface EventInput {
  /** The object that the event is about. */
  readonly about: KubeObject;
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, short and machine-readable. */
  readonly reason: string;
  readonly message: string;
}

/** How many different events are remembered, to count them up; as many as client-go does. */
const remembered = 4096;

/**
 * Writes Kubernetes Events. The same event about the same object counts up instead of becoming another one, as
 * client-go does: from memory, since who may write Events may not always read them. A failure is logged and goes no
 * further: an Event is never worth the work it tells of.
 */
export class EventRecorder {
  readonly #client: KubeClient;
  readonly #component: string;
  readonly #log: Logger;
  /** By what makes events the same; the oldest first. */
  readonly #known = new Map<string, { readonly name: string; count: number }>();

  constructor(options: { client: KubeClient; component: string; log: Logger }) {
    this.#client = options.client;
    this.#component = options.component;
    this.#log = options.log;
  }

  async record(input: EventInput): Promise<void> {
    try {
      await this.#write(input);
    } catch (error) {
      this.#log.warn({ reason: input.reason, about: input.about.metadata.name, error: describeError(error) }, 'event not written');
    }
  }

  async #write({ about, type, reason, message }: EventInput): Promise<void> {
    const namespace = about.metadata.namespace ?? 'default';
    const identity = [about.kind, namespace, about.metadata.name, about.metadata.uid ?? '', type, reason, message].join('\0');
    const now = `${new Date().toISOString().slice(0, 19)}Z`;
    const known = this.#known.get(identity);
    if (known !== undefined) {
      known.count++;
      const body = { count: known.count, lastTimestamp: now };
      try {
        await this.#client.patch(resources.events, { name: known.name, namespace }, { type: 'merge', body });
        return;
      } catch (error) {
        // It has expired: this one is the first again.
        if (!isNotFound(error)) throw error;
      }
    }
    const name = `${about.metadata.name.slice(0, 230)}.${randomBytes(8).toString('hex')}`;
    this.#remember(identity, name);
    const event: Event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace },
      involvedObject: {
        apiVersion: about.apiVersion,
        kind: about.kind,
        name: about.metadata.name,
        ...(about.metadata.namespace !== undefined && { namespace: about.metadata.namespace }),
        ...(about.metadata.uid !== undefined && { uid: about.metadata.uid }),
        ...(about.metadata.resourceVersion !== undefined && { resourceVersion: about.metadata.resourceVersion }),
      },
      type,
      reason,
      message,
      count: 1,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component: this.#component },
      reportingComponent: this.#component,
    };
    await this.#client.create(resources.events, event);
  }

  #remember(identity: string, name: string): void {
    this.#known.delete(identity);
    this.#known.set(identity, { name, count: 1 });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= remembered) break;
      this.#known.delete(oldest);
    }
  }
}
