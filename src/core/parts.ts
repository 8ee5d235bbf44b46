import { describeError } from './errors.ts';
import type { Logger } from './log.ts';

/**
 * The parts of a process that none of them can do without: when one fails, `failure` rejects. Disposing it stops all,
 * and waits until they have ended.
 */
export class Parts implements AsyncDisposable {
  /** Aborted when the process is to stop, and when the parts are disposed of. */
  readonly signal: AbortSignal;
  /** Never resolves. */
  readonly failure: Promise<never>;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[] = [];
  readonly #log: Logger;
  readonly #fail: (error: unknown) => void;

  constructor(signal: AbortSignal, log: Logger) {
    this.signal = AbortSignal.any([signal, this.#stop.signal]);
    this.#log = log;
    const { promise, reject } = Promise.withResolvers<never>();
    // Whoever waits for it hears of it; a failure before anyone waits is kept until then.
    promise.catch(() => undefined);
    this.failure = promise;
    this.#fail = reject;
  }

  start(part: string, run: (signal: AbortSignal) => Promise<void>): void {
    const running = run(this.signal).catch((error: unknown) => {
      if (this.signal.aborted) return;
      this.#log.error({ part, error: describeError(error) }, 'part failed');
      this.#fail(error);
    });
    this.#running.push(running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }
}
