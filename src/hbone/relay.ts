import type { Socket } from 'node:net';

import { ErrorCode } from './errors.ts';
import type { TunnelStream } from './stream.ts';

export interface RelayOptions {
  /** Bytes that were read from the first socket, live. */
  readonly onForward?: (size: number) => void;
  /** Bytes that were read from the other end, live. */
  readonly onBackward?: (size: number) => void;
  /** Ends both sides at once when aborted; the relay then rejects with its reason. */
  readonly signal?: AbortSignal;
}

/**
 * Copies between a TCP socket (made with `allowHalfOpen`) and a tunnel stream until both directions have ended. Each
 * direction has its own end and its own backpressure: what one side does not take is not read from the other.
 *
 * A reset of the socket counts as the end of its data, as upstream counts it. Rejects when the stream breaks or the signal
 * is aborted; the socket is then reset, so that its application does not take a broken transfer for a complete one.
 */
export function relayTunnel(socket: Socket, stream: TunnelStream, options: RelayOptions = {}): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const { onForward, onBackward, signal } = options;
  /** Bytes the socket has not taken yet, and so not given back to the stream's window. */
  let waiting = 0;
  let streamOver = false;
  let failure: Error | undefined;
  let settled = false;

  const settle = (): void => {
    if (settled || !streamOver || !socket.destroyed) return;
    settled = true;
    signal?.removeEventListener('abort', onAbort);
    if (failure === undefined) resolve(undefined);
    else reject(failure);
  };
  const onAbort = (): void => {
    stream.reset(ErrorCode.CANCEL, signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
  };

  socket.on('data', (chunk: Buffer) => {
    onForward?.(chunk.length);
    if (!stream.write(chunk)) socket.pause();
  });
  socket.on('end', () => {
    stream.end();
  });
  socket.on('drain', () => {
    const taken = waiting;
    waiting = 0;
    stream.consumed(taken);
  });
  // A reset is followed by `close`, which deals with it.
  socket.on('error', () => undefined);
  socket.once('close', () => {
    if (!streamOver) {
      stream.end();
      if (!stream.remoteEnded) stream.reset(ErrorCode.CANCEL);
    }
    // The stream may still have data to send that waits for its window: it settles when that is through.
    settle();
  });

  stream.use({
    data: (chunk) => {
      onBackward?.(chunk.length);
      if (socket.write(chunk)) stream.consumed(chunk.length);
      else waiting += chunk.length;
    },
    end: () => {
      socket.end();
    },
    room: () => {
      socket.resume();
    },
    closed: (error) => {
      streamOver = true;
      failure = error;
      if (error !== undefined) socket.resetAndDestroy();
      // Both directions have ended: what is left to write is written, and what still comes in has no reader.
      else socket.destroySoon();
      settle();
    },
  });
  if (signal?.aborted === true) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  if (!socket.destroyed) socket.resume();
  else settle();
  return promise;
}

/**
 * Copies between two TCP sockets (both made with `allowHalfOpen`) until both directions have ended, like
 * {@link relayTunnel}. Rejects with what broke a connection, other than a reset.
 */
export function relaySockets(first: Socket, second: Socket, options: RelayOptions = {}): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const { onForward, onBackward, signal } = options;
  let failure: Error | undefined;
  let settled = false;

  const settle = (): void => {
    if (settled || !first.destroyed || !second.destroyed) return;
    settled = true;
    signal?.removeEventListener('abort', onAbort);
    if (failure === undefined) resolve(undefined);
    else reject(failure);
  };
  const onAbort = (): void => {
    failure ??= signal?.reason instanceof Error ? signal.reason : new Error('aborted');
    first.resetAndDestroy();
    second.resetAndDestroy();
  };
  const copy = (from: Socket, to: Socket, count: ((size: number) => void) | undefined): void => {
    from.on('data', (chunk: Buffer) => {
      count?.(chunk.length);
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => {
      from.resume();
    });
    from.on('end', () => {
      to.end();
    });
    from.on('error', (error: NodeJS.ErrnoException) => {
      if (!endsLikeEof.has(error.code ?? '')) failure ??= error;
    });
    from.once('close', () => {
      // The other side gets what was read before, and then has nobody to talk to.
      to.destroySoon();
      settle();
    });
  };

  copy(first, second, onForward);
  copy(second, first, onBackward);
  if (signal?.aborted === true) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  for (const socket of [first, second]) if (!socket.destroyed) socket.resume();
  if (first.destroyed) second.destroySoon();
  if (second.destroyed) first.destroySoon();
  settle();
  return promise;
}

/** Errors after which a connection is simply over, as upstream takes them. */
const endsLikeEof: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ENOTCONN']);
