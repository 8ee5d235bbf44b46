import { Backoff, describeError, type Logger } from '../core/index.ts';

export interface ReconcilerOptions {
  readonly name: string;
  /** Makes the world right for one key, whatever happened; safe to call again. */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<void>;
  readonly log: Logger;
}

/**
 * A controller's queue: each key is reconciled after it was asked for, one at a time and never the same key twice at
 * once; a failure is tried again with growing waits, and does not keep the other keys waiting. Keys asked for while
 * nobody runs it (another replica leads) are kept, each once.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #due = new Set<string>();
  readonly #retries = new Map<string, { readonly backoff: Backoff; timer: NodeJS.Timeout | undefined }>();
  #wake: (() => void) | undefined;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  enqueue(key: string): void {
    this.#due.add(key);
    this.#wake?.();
  }

  async run(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#wake?.();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const [key] = this.#due;
        if (key === undefined) await this.#idle(signal);
        else await this.#one(key, signal);
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      for (const [key, { timer }] of this.#retries) {
        clearTimeout(timer);
        this.#due.add(key);
      }
      this.#retries.clear();
    }
  }

  async #idle(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#wake = () => resolve(undefined);
    if (signal.aborted || this.#due.size > 0) resolve(undefined);
    await promise;
    this.#wake = undefined;
  }

  async #one(key: string, signal: AbortSignal): Promise<void> {
    this.#due.delete(key);
    const { name, reconcile, log } = this.#options;
    try {
      await reconcile(key, signal);
      clearTimeout(this.#retries.get(key)?.timer);
      this.#retries.delete(key);
    } catch (error) {
      if (signal.aborted) {
        this.#due.add(key);
        return;
      }
      const entry = this.#retries.get(key) ?? { backoff: new Backoff({ initial: 200, max: 30_000 }), timer: undefined };
      this.#retries.set(key, entry);
      const wait = entry.backoff.next();
      log.warn({ controller: name, key, error: describeError(error), retryMs: wait }, 'not reconciled');
      clearTimeout(entry.timer);
      entry.timer = setTimeout(() => this.enqueue(key), wait);
    }
  }
}
