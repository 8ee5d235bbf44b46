import { aborted, Backoff, describeError, type Logger } from '../../core/index.ts';

export interface WorkQueueOptions {
  readonly name: string;
  /** Brings the object of this key to what it should be. It is run again, later, when it throws. */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<void>;
  readonly log: Logger;
  /** Keys worked on at the same time; default 4. */
  readonly workers?: number;
  /** Whether a failure is part of normal life (a lost race for a write, for example) and not worth a warning. */
  readonly expected?: (error: unknown) => boolean;
}

/** Waits after failures of one key: 10 ms, doubling to 30 s. */
const failureBackoff = { initial: 10, max: 30_000 };

/**
 * A level-triggered queue of keys, as client-go's rate limiting workqueue: a key that is added many times is worked on
 * once, never twice at the same time, and again if it was added while it was worked on.
 */
export class WorkQueue {
  readonly #options: Required<WorkQueueOptions>;
  readonly #waiting = new Set<string>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #dirty = new Set<string>();
  readonly #timers = new Map<string, { readonly due: number; readonly timer: NodeJS.Timeout }>();
  readonly #backoffs = new Map<string, Backoff>();
  #signal: AbortSignal | undefined;

  constructor(options: WorkQueueOptions) {
    this.#options = { workers: 4, expected: () => false, ...options };
  }

  add(key: string): void {
    if (this.#running.has(key)) this.#dirty.add(key);
    else this.#waiting.add(key);
    this.#startWork();
  }

  /** Adds the key in `ms` milliseconds; of several such wishes the earliest counts. */
  addAfter(key: string, ms: number): void {
    // What still runs after the end may ask for more: a timer would keep the process for as long as it is.
    if (this.#signal?.aborted === true) return;
    const due = Date.now() + ms;
    const known = this.#timers.get(key);
    if (known !== undefined) {
      if (known.due <= due) return;
      clearTimeout(known.timer);
    }
    const timer = setTimeout(
      () => {
        this.#timers.delete(key);
        this.add(key);
      },
      Math.min(ms, 2 ** 31 - 1),
    );
    this.#timers.set(key, { due, timer });
  }

  /** Works until the signal is aborted, and then until what was begun has ended. Keys may be added before. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    this.#startWork();
    await aborted(signal);
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    await Promise.all(this.#running.values());
  }

  #startWork(): void {
    const signal = this.#signal;
    if (signal === undefined || signal.aborted) return;
    for (const key of this.#waiting) {
      if (this.#running.size >= this.#options.workers) return;
      this.#waiting.delete(key);
      this.#running.set(key, this.#work(key, signal));
    }
  }

  async #work(key: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.reconcile(key, signal);
      this.#backoffs.delete(key);
    } catch (error) {
      if (!signal.aborted) this.#retryLater(key, error);
    }
    this.#running.delete(key);
    if (this.#dirty.delete(key)) this.#waiting.add(key);
    this.#startWork();
  }

  #retryLater(key: string, error: unknown): void {
    const backoff = this.#backoffs.get(key) ?? new Backoff(failureBackoff);
    this.#backoffs.set(key, backoff);
    const wait = backoff.next();
    const level = this.#options.expected(error) ? 'debug' : 'warn';
    this.#options.log[level]({ controller: this.#options.name, key, error: describeError(error), retryInMs: wait }, 'reconcile failed');
    this.addAfter(key, wait);
  }
}
