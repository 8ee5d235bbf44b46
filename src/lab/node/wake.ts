import { sleep } from '../../core/index.ts';

/** Something to wait for that may happen again and again. */
export class Wake {
  #next = Promise.withResolvers<undefined>();

  /** Wakes everyone who waits now. */
  raise(): void {
    this.#next.resolve(undefined);
    this.#next = Promise.withResolvers<undefined>();
  }

  /** Resolves when it is raised, after `ms` milliseconds at the latest. Rejects with the signal's reason when it is aborted. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    try {
      await Promise.race([this.#next.promise, sleep(ms, AbortSignal.any([over.signal, signal]))]);
      signal.throwIfAborted();
    } finally {
      over.abort();
    }
  }
}
