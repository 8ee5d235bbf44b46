import type { KubeObject } from '../api/kubernetes.ts';
import type { ResourceType } from '../api/resources.ts';
import { withTimeout } from '../core/index.ts';
import type { KubeClient } from './client.ts';
import { Informer } from './informer.ts';

export interface WaitOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly type: ResourceType<T>;
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** What is waited for, for the error's text. */
  readonly what: string;
  /** Milliseconds. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Waits by watch until the objects, all together, satisfy `condition`, and resolves with them. Throws ISTHMUS_TIMEOUT.
 */
export async function waitForObjects<T extends KubeObject>(
  options: WaitOptions<T>,
  condition: (objects: readonly T[]) => boolean,
): Promise<readonly T[]> {
  const { client, type, namespace, labelSelector, fieldSelector, what, timeout, signal } = options;
  return await withTimeout(
    what,
    timeout,
    async (both) => {
      const done = new AbortController();
      const informer = new Informer({ client, type, namespace, labelSelector, fieldSelector });
      const { promise, resolve } = Promise.withResolvers<readonly T[]>();
      const check = (): void => {
        if (!informer.hasSynced) return;
        const objects = [...informer.list()];
        if (condition(objects)) resolve(objects);
      };
      informer.onChange(check);
      void informer.synced.then(check);
      const running = informer.run(AbortSignal.any([both, done.signal]));
      try {
        return await Promise.race([promise, running.then(() => promise)]);
      } finally {
        done.abort();
      }
    },
    signal,
  );
}
