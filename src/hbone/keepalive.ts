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

  stop(): void {
    clearTimeout(this.#timer);
  }

  #wait(): void {
    this.#timer = setTimeout(() => {
      this.#ping();
    }, this.#interval).unref();
  }

  #ping(): void {
    if (this.#session.state === 'closed') return;
    this.#session.ping(() => {
      clearTimeout(this.#timer);
      this.#wait();
    });
    this.#timer = setTimeout(() => {
      this.#session.destroy(new IsthmusError('HBONE_CONNECTION_LOST', `the peer has not answered a ping in ${this.#timeout} ms`));
    }, this.#timeout).unref();
  }
}
