import { Backoff } from '../core/index.ts';

export interface KeyedWorkOptions {
  /** Brings the thing behind a key into its wanted state; called again after it has failed. */
  readonly work: (key: string) => Promise<void>;
  /** Hears of each failure; `attempt` counts from 1 since the last success. */
  readonly onFailure: (key: string, error: unknown, attempt: number) => void;
  /** How many keys are worked on at a time; default 4. */
  readonly concurrency?: number;
}

/**
 * Work on many things, each under a key: never twice at a time for one key, again with growing waits (100 ms to 5 s) after
 * a failure, and asked for any number of times while it waits, done once.
 */
export class KeyedWork implements Disposable {
  readonly #options: KeyedWorkOptions;
  readonly #chains = new Map<string, Promise<void>>();
  readonly #asked = new Map<string, Promise<void>>();
  readonly #retries = new Map<string, { readonly backoff: Backoff; attempt: number; timer: NodeJS.Timeout | undefined }>();
  readonly #waitingForSlot: (() => void)[] = [];
  #slots: number;
  #stopped = false;

  constructor(options: KeyedWorkOptions) {
    this.#options = options;
    this.#slots = options.concurrency ?? 4;
  }

  /** Asks for the work of a key. Resolves after the next attempt, whatever came of it. */
  schedule(key: string): Promise<void> {
    const asked = this.#asked.get(key);
    if (asked !== undefined) return asked;
    clearTimeout(this.#retries.get(key)?.timer);
    const done = this.exclusive(key, async () => {
      this.#asked.delete(key);
      if (!this.#stopped) await this.#withSlot(() => this.#attempt(key));
    });
    this.#asked.set(key, done);
    return done;
  }

  /** Other work on a key, while nothing else is under way for it. */
  async exclusive<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#chains.get(key) ?? Promise.resolve();
    const result = before.then(work);
    const settled = result.then(
      () => undefined,
      () => undefined,
    );
    this.#chains.set(key, settled);
    void settled.then(() => {
      if (this.#chains.get(key) === settled) this.#chains.delete(key);
    });
    return await result;
  }

  /** No attempt begins from now on; resolves when those under way are over. */
  async stop(): Promise<void> {
    this[Symbol.dispose]();
    await Promise.all(this.#chains.values());
  }

  [Symbol.dispose](): void {
    this.#stopped = true;
    for (const { timer } of this.#retries.values()) clearTimeout(timer);
  }

  async #attempt(key: string): Promise<void> {
    try {
      await this.#options.work(key);
      this.#retries.delete(key);
    } catch (error) {
      const retry = this.#retries.get(key) ?? { backoff: new Backoff({ initial: 100, max: 5_000 }), attempt: 0, timer: undefined };
      this.#retries.set(key, retry);
      retry.attempt += 1;
      this.#options.onFailure(key, error, retry.attempt);
      if (this.#stopped) return;
      retry.timer = setTimeout(() => void this.schedule(key), retry.backoff.next());
    }
  }

  async #withSlot(work: () => Promise<void>): Promise<void> {
    if (this.#slots === 0) {
      const { promise, resolve } = Promise.withResolvers<undefined>();
      this.#waitingForSlot.push(() => resolve(undefined));
      await promise;
    } else {
      this.#slots -= 1;
    }
    try {
      await work();
    } finally {
      const next = this.#waitingForSlot.shift();
      if (next === undefined) this.#slots += 1;
      else next();
    }
  }
}
