import type { Socket } from 'node:net';

import { IsthmusError } from '../core/index.ts';
import type { HeaderField } from './hpack/dynamic-table.ts';
import type { KeepaliveOptions } from './keepalive.ts';
import { connectTls, type TlsCredentials } from './tls.ts';
import { Tunnel, type Connected } from './tunnel.ts';

/**
 * Connections with equal keys may carry each other's streams. The client's address belongs to the key because the server
 * takes the address of the tunnel's TCP peer for the client's.
 */
export interface TunnelKey {
  /** SPIFFE identity of the workload that sends. */
  readonly sourceIdentity: string;
  readonly sourceAddress: string;
  /** The peer has to prove one of these. */
  readonly expectedIdentities: readonly string[];
  readonly host: string;
  readonly port: number;
}

export interface TunnelPoolOptions {
  /** Opens the TCP connection to a key's host and port. */
  readonly dial: (key: TunnelKey, signal: AbortSignal) => Promise<Socket>;
  readonly credentials: () => Promise<TlsCredentials>;
  /** Streams on one connection, unless the peer allows fewer; default 100 (upstream's POOL_MAX_STREAMS_PER_CONNECTION). */
  readonly maxStreams?: number;
  /** A connection without streams is closed after this many milliseconds; default five minutes. */
  readonly idleTimeout?: number;
  readonly keepalive?: KeepaliveOptions;
}

/** The HBONE connections of one workload. */
export class TunnelPool implements AsyncDisposable {
  readonly #options: TunnelPoolOptions;
  readonly #maxStreams: number;
  readonly #idleTimeout: number;
  readonly #slots = new Map<string, Slot>();
  readonly #closed = new AbortController();

  constructor(options: TunnelPoolOptions) {
    this.#options = options;
    this.#maxStreams = options.maxStreams ?? 100;
    this.#idleTimeout = options.idleTimeout ?? 5 * 60_000;
  }

  /** Open connections, for tests and dumps. */
  get size(): number {
    let size = 0;
    for (const slot of this.#slots.values()) size += slot.tunnels.size;
    return size;
  }

  /**
   * A stream to `authority` through a connection of that key, new or existing. Errors are those of dial, of the handshake
   * and of {@link Tunnel.connect}.
   *
   * One request is tried again, once: when it was sent on a connection from the pool that turned out to be dead, or was
   * refused by GOAWAY. No byte of the application has been sent by then.
   */
  async connect(key: TunnelKey, authority: string, headers: readonly HeaderField[], signal?: AbortSignal): Promise<Connected> {
    const both = signal === undefined ? this.#closed.signal : AbortSignal.any([signal, this.#closed.signal]);
    const request = (tunnel: Tunnel): Promise<Connected> => tunnel.connect(authority, headers, both);
    const first = await this.#begin(key, both, request);
    try {
      return await first.answer;
    } catch (error) {
      if (!first.reused || both.aborted || !(error instanceof IsthmusError) || !isStale(error)) throw error;
    }
    return (await this.#begin(key, both, request)).answer;
  }

  [Symbol.asyncDispose](): Promise<void> {
    const error = new IsthmusError('HBONE_CLOSED', 'pool draining');
    this.#closed.abort(error);
    for (const slot of this.#slots.values()) for (const tunnel of slot.tunnels) tunnel.destroy(error);
    return Promise.resolve();
  }

  /**
   * Makes a request on a tunnel with room for it. The choice and the request are one step, without a turn of the event
   * loop in between: many callers that wait for the same new tunnel would all find it empty otherwise.
   */
  async #begin(
    key: TunnelKey,
    signal: AbortSignal,
    request: (tunnel: Tunnel) => Promise<Connected>,
  ): Promise<{ readonly answer: Promise<Connected>; readonly reused: boolean }> {
    const name = JSON.stringify([key.sourceIdentity, key.sourceAddress, key.expectedIdentities, key.host, key.port]);
    for (let waited = false; ; waited = true) {
      signal.throwIfAborted();
      const slot = this.#slot(name);
      const free = this.#findFree(slot);
      // A tunnel that was being made when this call began is as fresh as one of its own.
      if (free !== undefined) return { answer: request(free), reused: !waited };
      slot.opening ??= this.#open(key, name, slot).finally(() => {
        slot.opening = undefined;
        this.#forgetIfEmpty(name, slot);
      });
      // Whoever waits for the same connection shares its failure, rather than to run into the same timeout one by one.
      await slot.opening;
    }
  }

  #slot(name: string): Slot {
    let slot = this.#slots.get(name);
    if (slot === undefined) this.#slots.set(name, (slot = { tunnels: new Set(), opening: undefined }));
    return slot;
  }

  #findFree(slot: Slot): Tunnel | undefined {
    for (const tunnel of slot.tunnels) {
      if (tunnel.usable && tunnel.openStreams < Math.min(this.#maxStreams, tunnel.peerStreamLimit ?? this.#maxStreams)) return tunnel;
    }
    return undefined;
  }

  async #open(key: TunnelKey, name: string, slot: Slot): Promise<void> {
    const signal = this.#closed.signal;
    const credentials = await this.#options.credentials();
    const socket = await this.#options.dial(key, signal);
    const tls = await connectTls({ socket, credentials, expectedIdentities: key.expectedIdentities });
    const tunnel: Tunnel = new Tunnel({
      socket: tls,
      ...(this.#options.keepalive === undefined ? {} : { keepalive: this.#options.keepalive }),
      onClose: () => {
        clearInterval(idle);
        slot.tunnels.delete(tunnel);
        this.#forgetIfEmpty(name, slot);
      },
    });
    let quietSince = Date.now();
    const idle = setInterval(() => {
      if (tunnel.openStreams > 0) quietSince = Date.now();
      else if (Date.now() - quietSince >= this.#idleTimeout) tunnel.drain();
    }, this.#idleTimeout / 4).unref();
    if (signal.aborted) tunnel.destroy(signal.reason as Error);
    else slot.tunnels.add(tunnel);
  }

  #forgetIfEmpty(name: string, slot: Slot): void {
    if (slot.tunnels.size === 0 && slot.opening === undefined && this.#slots.get(name) === slot) this.#slots.delete(name);
  }
}

interface Slot {
  readonly tunnels: Set<Tunnel>;
  /** The connection that is being made; there is one at a time for a key. */
  opening: Promise<void> | undefined;
}

function isStale(error: IsthmusError): boolean {
  return error.code === 'HBONE_CONNECTION_LOST' || error.code === 'HBONE_CLOSED';
}
