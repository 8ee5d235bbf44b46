import { Backoff, describeError, sleep, type Logger } from '../core/index.ts';

/** `unchanged`: nothing had to be done, which does not count for the rate. */
export type WorkResult = 'done' | 'unchanged';

export interface WorkQueueOptions {
  /** Brings one key to where it should be; a throw means: later again. What it gives counts when it is a {@link WorkResult}. */
  readonly work: (key: string, signal: AbortSignal) => Promise<unknown>;
  readonly onFailure: (key: string, error: unknown, retryMs: number) => void;
  /** Keys at work at the same time; default 16. */
  readonly concurrency?: number;
  /** Keys begun a second, on average, but for those that turn out to be `unchanged`; default 200. */
  readonly ratePerSecond?: number;
  /** Keys that may be begun at once after a quiet time; default 400. */
  readonly burst?: number;
  /** On whose behalf a key is worked on; default: all are of one group. Always the same for one key. */
  readonly groupOf?: (key: string) => string;
}

/** The waiting keys of one group. */
interface Group {
  readonly urgent: Set<string>;
  readonly others: Set<string>;
}

/**
 * Keys to be worked on. A key that is added while it waits is there once; while it is at work, it comes again afterwards. So the
 * queue is bounded by the number of keys, and no two workers have the same one.
 *
 * Groups take turns, one key each: a group with ten thousand keys delays one with a single key by one key. In a group's turn its urgent keys
 * go first. Keys that are added while nobody runs the queue (another replica leads), or whose work was interrupted, are kept for the next run.
 */
export class WorkQueue {
  readonly #options: Required<WorkQueueOptions>;
  /** In the order of their turns; none is empty. */
  readonly #groups = new Map<string, Group>();
  readonly #atWork = new Set<string>();
  readonly #backoffs = new Map<string, Backoff>();
  /** Failed, and not yet due again. */
  readonly #later = new Set<string>();
  #tokens: number;
  #refilledAt = performance.now();
  #wake: (() => void) | undefined;

  constructor(options: WorkQueueOptions) {
    this.#options = { concurrency: 16, ratePerSecond: 200, burst: 400, groupOf: () => '', ...options };
    this.#tokens = this.#options.burst;
  }

  /** Keys waiting, also to be tried again, or at work; one that is at work and waits to come again counts twice. */
  get size(): number {
    let waiting = 0;
    for (const { urgent, others } of this.#groups.values()) waiting += urgent.size + others.size;
    return waiting + this.#later.size + this.#atWork.size;
  }

  /** The same of one group. */
  sizeOf(name: string): number {
    const group = this.#groups.get(name);
    const others = [...this.#later, ...this.#atWork].filter((key) => this.#options.groupOf(key) === name).length;
    return others + (group === undefined ? 0 : group.urgent.size + group.others.size);
  }

  /** `urgent` keys go before the others of their group: what has to leave must not wait for what may come. */
  add(key: string, { urgent = false }: { readonly urgent?: boolean } = {}): void {
    const name = this.#options.groupOf(key);
    const group = this.#groups.get(name) ?? { urgent: new Set(), others: new Set() };
    this.#groups.set(name, group);
    if (urgent) {
      group.others.delete(key);
      group.urgent.add(key);
    } else if (!group.urgent.has(key)) group.others.add(key);
    this.#wake?.();
  }

  /** Works until the signal is aborted, and returns when nothing is at work any more. */
  async run(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#wake?.();
    signal.addEventListener('abort', onAbort, { once: true });
    while (!signal.aborted) {
      const waitMs = this.#untilToken();
      const key = waitMs === 0 && this.#atWork.size < this.#options.concurrency ? this.#take() : undefined;
      if (key === undefined) {
        await this.#idle(waitMs);
        continue;
      }
      this.#atWork.add(key);
      this.#tokens -= 1;
      void this.#work(key, signal);
    }
    signal.removeEventListener('abort', onAbort);
    while (this.#atWork.size > 0) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  /** The next key of the group whose turn it is. */
  #take(): string | undefined {
    for (const [name, group] of this.#groups) {
      const key = this.#firstIdle(group.urgent) ?? this.#firstIdle(group.others);
      if (key === undefined) continue;
      group.urgent.delete(key);
      group.others.delete(key);
      this.#groups.delete(name);
      if (group.urgent.size + group.others.size > 0) this.#groups.set(name, group);
      return key;
    }
    return undefined;
  }

  #firstIdle(keys: ReadonlySet<string>): string | undefined {
    for (const key of keys) if (!this.#atWork.has(key)) return key;
    return undefined;
  }

  async #work(key: string, signal: AbortSignal): Promise<void> {
    try {
      const result = await this.#options.work(key, signal);
      if (result === 'unchanged') this.#tokens += 1;
      this.#backoffs.delete(key);
    } catch (error) {
      if (signal.aborted) this.add(key);
      else this.#tryLater(key, error, signal);
    } finally {
      this.#atWork.delete(key);
      this.#wake?.();
    }
  }

  #tryLater(key: string, error: unknown, signal: AbortSignal): void {
    const backoff = this.#backoffs.get(key) ?? new Backoff({ initial: 200, max: 30_000 });
    this.#backoffs.set(key, backoff);
    const retryMs = backoff.next();
    this.#options.onFailure(key, error, retryMs);
    this.#later.add(key);
    const again = (): void => {
      this.#later.delete(key);
      this.add(key);
    };
    // When the run ends meanwhile, the key is due in the next one.
    void sleep(retryMs, signal).then(again, again);
  }

  /** Until something happens, or the time is over; 0 for no time. */
  async #idle(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#wake = () => resolve(undefined);
    const timer = ms > 0 ? setTimeout(this.#wake, ms) : undefined;
    await promise;
    clearTimeout(timer);
    this.#wake = undefined;
  }

  /** Milliseconds until a key may be begun; 0: now. */
  #untilToken(): number {
    const { ratePerSecond, burst } = this.#options;
    const now = performance.now();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#refilledAt) / 1000) * ratePerSecond);
    this.#refilledAt = now;
    return this.#tokens >= 1 ? 0 : Math.ceil(((1 - this.#tokens) / ratePerSecond) * 1000);
  }
}

/** For {@link WorkQueueOptions.onFailure}: one warning each. */
export function logFailure(log: Logger, controller: string): WorkQueueOptions['onFailure'] {
  return (key, error, retryMs) => log.warn({ controller, key, error: describeError(error), retryMs }, 'not reconciled');
}
