import type { KubeObject } from '../../api/kubernetes.ts';
import { describeError, sleep, type Clock, type Logger } from '../../core/index.ts';
import {
  EventRecorder,
  isAlreadyExists,
  isConflict,
  isNotFound,
  KubeApiError,
  type EventInput,
  type KubeClient,
} from '../../kube/index.ts';
import type { ObjectCaches } from './object-cache.ts';
import { WorkQueue } from './work-queue.ts';

/** What every controller of one process shares. */
export interface ControllerContext {
  readonly client: KubeClient;
  readonly caches: ObjectCaches;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Something that brings the cluster's objects to what they should be, until it is told to stop. */
export interface Controller {
  readonly name: string;
  run(signal: AbortSignal): Promise<void>;
}

/** A controller that works on keys. Its factory tells `queue` when which key needs work. */
export function keyedController(
  context: ControllerContext,
  name: string,
  reconcile: (key: string, signal: AbortSignal) => Promise<void>,
  options: { readonly workers?: number } = {},
): Controller & { readonly queue: WorkQueue } {
  const queue = new WorkQueue({ name, reconcile, log: context.log, expected: isLostRace, ...options });
  return { name, queue, run: (signal) => queue.run(signal) };
}

/** Whether a write failed because the world had moved on: the next look at the cache decides anew. */
export function isLostRace(error: unknown): boolean {
  return isConflict(error) || isNotFound(error) || isAlreadyExists(error) || isNamespaceTerminating(error);
}

/** Whether a create was refused because its namespace is being deleted. */
export function isNamespaceTerminating(error: unknown): boolean {
  return (
    error instanceof KubeApiError &&
    error.status.reason === 'Forbidden' &&
    (error.status.details?.causes ?? []).some((cause) => cause.reason === 'NamespaceTerminating')
  );
}

/** Tells of something on an object; the work goes on meanwhile. */
export type RecordEvent = (about: KubeObject, type: EventInput['type'], reason: string, message: string) => void;

/** Events that wait to be written; of more, the new ones are dropped (client-go's limit). */
const mostWaitingEvents = 1000;

/** Events from this component, one after the other, so that `kubectl describe` shows them in the order of what happened. */
export function eventRecorder(context: ControllerContext, component: string): RecordEvent {
  const recorder = new EventRecorder({ client: context.client, component, log: context.log });
  let last = Promise.resolve();
  let waiting = 0;
  return (about, type, reason, message) => {
    if (waiting >= mostWaitingEvents) {
      context.log.warn({ component, reason, about: about.metadata.name }, 'too many events wait to be written: this one is dropped');
      return;
    }
    waiting++;
    last = last
      .then(() => recorder.record({ about, type, reason, message }))
      .finally(() => {
        waiting--;
      });
  };
}

/** What was thrown, as an error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** A controller that looks at everything once in a while, first after `period` milliseconds. A failed look is logged. */
export function periodicController(
  context: ControllerContext,
  name: string,
  period: number,
  look: (signal: AbortSignal) => Promise<void>,
): Controller {
  return {
    name,
    run: async (signal) => {
      const stopped = (): boolean => signal.aborted;
      while (!stopped()) {
        await sleep(period, signal).catch(() => undefined);
        if (stopped()) return;
        await look(signal).catch((error: unknown) => {
          if (!stopped()) context.log.warn({ controller: name, error: describeError(error) }, 'a look failed');
        });
      }
    },
  };
}

/** The error's own words, as Kubernetes' controllers put them into events. */
export function apiMessage(error: unknown): string {
  if (error instanceof KubeApiError) return error.status.message ?? error.message;
  return error instanceof Error ? error.message : String(error);
}
