import { IsthmusError } from '../core/index.ts';
import type { Session } from './session.ts';

export interface KeepaliveOptions {
  /** Milliseconds from one answer to the next PING, and before the first; default 10000, as upstream. */
  readonly interval?: number;
  /** Milliseconds in which a PING has to be answered; default 20000, as upstream. */
  readonly timeout?: number;
}

/**
 * Finds out that a tunnel's peer is gone without a word: a session whose PING is not answered in time is ended with
 * HBONE_CONNECTION_LOST. Stops by itself when the session is closed.
 */
export class Keepalive {
  readonly #session: Session;
  readonly #interval: number;
  readonly #timeout: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(session: Session, options: KeepaliveOptions = {}) {
    this.#session = session;
    this.#interval = options.interval ?? 10_000;
    this.#timeout = options.timeout ?? 20_000;
    this.#wait();
  }

  /** Asks the peer at once, with `timeout` milliseconds for its answer (at most the usual ones). */
  probe(timeout: number): void {
    this.#ping(Math.min(timeout, this.#timeout));
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #wait(): void {
    this.#timer = setTimeout(() => {
      this.#ping(this.#timeout);
    }, this.#interval).unref();
  }

  #ping(timeout: number): void {
    if (this.#session.state === 'closed') return;
    const sent = this.#session.ping(() => {
      clearTimeout(this.#timer);
      this.#wait();
    });
    // Another one is on its way, and its own time is running.
    if (!sent) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#session.destroy(new IsthmusError('HBONE_CONNECTION_LOST', `the peer has not answered a ping in ${timeout} ms`));
    }, timeout).unref();
  }
}
