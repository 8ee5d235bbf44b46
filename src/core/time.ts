import { setTimeout as delay } from 'node:timers/promises';

import { IsthmusError } from './errors.ts';

/** Wall time in milliseconds since 1970; injected where a test has to hold it. */
export interface Clock {
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** Waits `ms` milliseconds; rejects with the signal's reason when it is aborted. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  try {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

export interface BackoffOptions {
  /** First wait, milliseconds. */
  readonly initial: number;
  /** Longest wait, milliseconds. */
  readonly max: number;
  /** Growth per attempt; default 2. */
  readonly factor?: number;
  /** Share of the wait that is random, 0 to 1; default 0.2, which means ±20 %. */
  readonly jitter?: number;
  /** Default Math.random. */
  readonly random?: () => number;
}

/** Waits that grow from one failure to the next and start anew after {@link Backoff.reset}. */
export class Backoff {
  readonly #options: Required<BackoffOptions>;
  #base: number;

  constructor(options: BackoffOptions) {
    this.#options = { factor: 2, jitter: 0.2, random: Math.random, ...options };
    this.#base = options.initial;
  }

  /** The next wait in milliseconds. */
  next(): number {
    const { factor, jitter, max, random } = this.#options;
    const base = this.#base;
    this.#base = Math.min(max, base * factor);
    return Math.max(0, Math.round(base * (1 + jitter * (2 * random() - 1))));
  }

  reset(): void {
    this.#base = this.#options.initial;
  }
}

/**
 * Runs `attempt` again and again, with growing waits, until it succeeds or `signal` is aborted.
 * `onFailure` hears of each failure; when it throws, retrying ends with what it threw.
 */
export async function retry<T>(
  attempt: () => Promise<T>,
  options: BackoffOptions & { signal: AbortSignal; onFailure?: (error: unknown, waitMs: number) => void },
): Promise<T> {
  const backoff = new Backoff(options);
  for (;;) {
    options.signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      options.signal.throwIfAborted();
      const wait = backoff.next();
      options.onFailure?.(error, wait);
      await sleep(wait, options.signal);
    }
  }
}

/**
 * Rejects with ISTHMUS_TIMEOUT when `work` takes longer than `ms` milliseconds. The signal given to `work` is aborted then,
 * and when `signal` is.
 */
export async function withTimeout<T>(
  what: string,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const timeout = new AbortController();
  const both = signal === undefined ? timeout.signal : AbortSignal.any([signal, timeout.signal]);
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const error = new IsthmusError('ISTHMUS_TIMEOUT', `${what}: not done after ${String(ms)} ms`);
    timeout.abort(error);
    reject(error);
  }, ms);
  try {
    return await Promise.race([work(both), expired]);
  } finally {
    clearTimeout(timer);
  }
}
