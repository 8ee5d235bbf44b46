import { createHash } from 'node:crypto';

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

/**
 * Writes Kubernetes Events. The same event about the same object counts up instead of becoming another one, as
 * client-go does. A failure is logged and goes no further: an Event is never worth the work it tells of.
 */
export class EventRecorder {
  readonly #client: KubeClient;
  readonly #component: string;
  readonly #log: Logger;

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
    const identity = [this.#component, about.kind, namespace, about.metadata.name, about.metadata.uid ?? '', type, reason, message];
    const hash = createHash('sha256').update(identity.join('\0')).digest('hex').slice(0, 16);
    const name = `${about.metadata.name.slice(0, 230)}.${hash}`;
    const now = `${new Date().toISOString().slice(0, 19)}Z`;
    const old = await this.#client.find(resources.events, { name, namespace });
    if (old !== undefined) {
      const body = { count: (old.count ?? 1) + 1, lastTimestamp: now };
      try {
        await this.#client.patch(resources.events, { name, namespace }, { type: 'merge', body });
        return;
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
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
}
