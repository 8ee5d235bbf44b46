import { Backoff, sleep } from '../core/index.ts';

export interface WorkQueueOptions {
  /** Brings one key to where it should be; a throw means: later again. */
  readonly work: (key: string, signal: AbortSignal) => Promise<void>;
  readonly onFailure: (key: string, error: unknown, retryMs: number) => void;
  /** Keys at work at the same time; default 16. */
  readonly concurrency?: number;
  /** Keys begun a second, on average; default 200. */
  readonly ratePerSecond?: number;
  /** Keys that may be begun at once after a quiet time; default 400. */
  readonly burst?: number;
}

/**
 * Keys to be worked on. A key that is added while it waits is there once; while it is at work, it comes again afterwards. So the
 * queue is bounded by the number of keys, and no two workers have the same one.
 */
export class WorkQueue {
  readonly #options: Required<WorkQueueOptions>;
  readonly #waiting = new Set<string>();
  readonly #urgent = new Set<string>();
  readonly #atWork = new Set<string>();
  readonly #backoffs = new Map<string, Backoff>();
  #tokens: number;
  #refilledAt = performance.now();
  #wake: (() => void) | undefined;

  constructor(options: WorkQueueOptions) {
    this.#options = { concurrency: 16, ratePerSecond: 200, burst: 400, ...options };
    this.#tokens = this.#options.burst;
  }

  /** Keys waiting or at work. */
  get size(): number {
    return this.#urgent.size + this.#waiting.size + this.#atWork.size;
  }

  /** `urgent` keys go before the others: what has to leave must not wait for what may come. */
  add(key: string, { urgent = false }: { readonly urgent?: boolean } = {}): void {
    if (urgent) {
      this.#waiting.delete(key);
      this.#urgent.add(key);
    } else if (!this.#urgent.has(key)) this.#waiting.add(key);
    this.#wake?.();
  }

  /** Works until the signal is aborted, and returns when nothing is at work any more. */
  async run(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#wake?.();
    signal.addEventListener('abort', onAbort, { once: true });
    while (!signal.aborted) {
      const key = this.#atWork.size < this.#options.concurrency ? this.#next() : undefined;
      if (key === undefined) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        this.#wake = undefined;
        continue;
      }
      this.#urgent.delete(key);
      this.#waiting.delete(key);
      this.#atWork.add(key);
      void this.#work(key, signal);
      await this.#takeToken(signal);
    }
    signal.removeEventListener('abort', onAbort);
    while (this.#atWork.size > 0) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  #next(): string | undefined {
    for (const key of this.#urgent) if (!this.#atWork.has(key)) return key;
    for (const key of this.#waiting) if (!this.#atWork.has(key)) return key;
    return undefined;
  }

  async #work(key: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.work(key, signal);
      this.#backoffs.delete(key);
    } catch (error) {
      if (!signal.aborted) this.#later(key, error, signal);
    } finally {
      this.#atWork.delete(key);
      this.#wake?.();
    }
  }

  #later(key: string, error: unknown, signal: AbortSignal): void {
    const backoff = this.#backoffs.get(key) ?? new Backoff({ initial: 200, max: 30_000 });
    this.#backoffs.set(key, backoff);
    const retryMs = backoff.next();
    this.#options.onFailure(key, error, retryMs);
    void sleep(retryMs, signal).then(
      () => this.add(key),
      () => undefined,
    );
  }

  async #takeToken(signal: AbortSignal): Promise<void> {
    const { ratePerSecond, burst } = this.#options;
    const now = performance.now();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#refilledAt) / 1000) * ratePerSecond);
    this.#refilledAt = now;
    this.#tokens -= 1;
    if (this.#tokens < 0) await sleep((-this.#tokens / ratePerSecond) * 1000, signal).catch(() => undefined);
  }
}
