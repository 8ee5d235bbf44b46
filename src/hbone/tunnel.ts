import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

import { IsthmusError } from '../core/index.ts';
import { parseStatus } from './connect-request.ts';
import { ErrorCode } from './errors.ts';
import type { HeaderField } from './hpack/dynamic-table.ts';
import { Keepalive, type KeepaliveOptions } from './keepalive.ts';
import { Session } from './session.ts';
import { clientSettings, type LocalSettings } from './settings.ts';
import type { TunnelStream } from './stream.ts';

export interface TunnelOptions {
  /** Connected, its handshake done. */
  readonly socket: Duplex;
  readonly settings?: LocalSettings;
  readonly keepalive?: KeepaliveOptions;
  /**
   * Time for a sign of life when a request is made after silence, milliseconds; default 3000. Without one the request is
   * given up and the tunnel gets no new ones until the peer is heard of again; streams that are open are left to the
   * keepalive, since a peer that is only slow must not cost them.
   */
  readonly probeTimeout?: number;
  /** Silence after which a request is accompanied by that probe, milliseconds; default 1000. */
  readonly probeAfter?: number;
  readonly onGoAway?: () => void;
  readonly onClose?: (error: Error | undefined) => void;
}

/** What a peer answered to a CONNECT it has taken. */
export interface Connected {
  readonly stream: TunnelStream;
  readonly headers: readonly HeaderField[];
}

/** The client's end of a HBONE connection, on which any number of CONNECT requests are made. */
export class Tunnel {
  readonly #session: Session;
  readonly #keepalive: Keepalive;
  /** The peer has not given a sign of life in time; it is awaited. */
  #silent = false;
  readonly #probeTimeout: number;
  readonly #probeAfter: number;

  constructor(options: TunnelOptions) {
    this.#probeTimeout = options.probeTimeout ?? 3_000;
    this.#probeAfter = options.probeAfter ?? 1_000;
    this.#session = new Session({
      socket: options.socket,
      role: 'client',
      settings: options.settings ?? clientSettings,
      ...(options.onGoAway === undefined ? {} : { onGoAway: options.onGoAway }),
      onClose: (error) => {
        this.#keepalive.stop();
        options.onClose?.(error);
      },
    });
    this.#keepalive = new Keepalive(this.#session, options.keepalive);
  }

  get usable(): boolean {
    return this.#session.state === 'open' && !this.#silent;
  }

  get openStreams(): number {
    return this.#session.openStreams;
  }

  /** Streams the peer allows at once; undefined while it has not said so. */
  get peerStreamLimit(): number | undefined {
    return this.#session.peer.maxConcurrentStreams;
  }

  /**
   * Asks for a tunnel to `authority`; resolves when the peer has answered 200. Rejects with HBONE_STATUS for any other
   * answer, HBONE_STREAM_RESET, HBONE_CONNECTION_LOST, HBONE_CLOSED, or the signal's reason.
   */
  async connect(authority: string, headers: readonly HeaderField[], signal?: AbortSignal): Promise<Connected> {
    signal?.throwIfAborted();
    const stream = this.#session.open([[':method', 'CONNECT'], [':authority', authority], ...headers]);
    const { promise, resolve, reject } = Promise.withResolvers<Connected>();
    const onAbort = (): void => {
      stream.reset(ErrorCode.CANCEL, signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const probe = Date.now() - this.#session.lastReceived >= this.#probeAfter ? this.#probe(stream) : undefined;
    stream.use({
      headers: (fields) => {
        try {
          const status = parseStatus(fields);
          // Interim answers have no meaning for CONNECT; the real one follows.
          if (status < 200) return;
          if (status !== 200) throw new StatusError(status);
        } catch (error) {
          stream.reset(ErrorCode.CANCEL, error instanceof Error ? error : new Error(String(error)));
          return;
        }
        stream.detach();
        resolve({ stream, headers: fields });
      },
      data: (chunk) => {
        stream.consumed(chunk.length);
      },
      end: () => undefined,
      room: () => undefined,
      closed: (error) => {
        reject(error ?? new IsthmusError('HBONE_STREAM_RESET', 'stream closed without an answer'));
      },
    });
    try {
      return await promise;
    } finally {
      clearTimeout(probe);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #probe(stream: TunnelStream): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#silent = true;
      stream.reset(
        ErrorCode.CANCEL,
        new IsthmusError('HBONE_CONNECTION_LOST', `no sign of life from the peer in ${this.#probeTimeout} ms`),
      );
    }, this.#probeTimeout).unref();
    this.#session.ping(() => {
      clearTimeout(timer);
      this.#silent = false;
    });
    return timer;
  }

  /** Takes no more requests and closes after the last stream. */
  drain(): void {
    this.#session.drain();
  }

  destroy(error?: Error): void {
    this.#session.destroy(error);
  }
}

/** The peer refused a CONNECT. */
export class StatusError extends IsthmusError {
  readonly status: number;

  constructor(status: number) {
    super('HBONE_STATUS', `http status: ${status} ${STATUS_CODES[status] ?? ''}`.trimEnd());
    this.name = 'StatusError';
    this.status = status;
  }
}
