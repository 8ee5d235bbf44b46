import { IsthmusError } from '../core/index.ts';
import { ErrorCode, errorCodeName } from './errors.ts';
import type { HeaderField } from './hpack/dynamic-table.ts';

/** Who uses a tunnel stream. All calls are synchronous; after `closed` there are none. */
export interface StreamUser {
  /** The response's headers (client); a server gets the request's with the stream. */
  headers?(fields: readonly HeaderField[], endStream: boolean): void;
  /** A piece of data, counted in the windows until it is given back by {@link TunnelStream.consumed}. */
  data(chunk: Buffer): void;
  /** The peer sends no more data. */
  end(): void;
  /** {@link TunnelStream.write} returned false before; now there is room. */
  room(): void;
  /** The stream is over: both directions have ended (no error), or it broke. */
  closed(error: Error | undefined): void;
}

/** What a stream needs of its session. */
export interface StreamHost {
  sendHeaders(stream: TunnelStream, fields: readonly HeaderField[], endStream: boolean): void;
  /** Data is queued in the stream, or its end is; the session sends as the windows and the socket allow. */
  wantsToSend(stream: TunnelStream): void;
  sendReset(stream: TunnelStream, code: ErrorCode): void;
  sendWindowUpdate(streamId: number, increment: number): void;
  /** Bytes of the connection's window have been used up. */
  connectionConsumed(size: number): void;
  forget(stream: TunnelStream): void;
}

/**
 * One CONNECT stream: two independent byte streams with flow control.
 *
 * Either direction is open until its END_STREAM; the stream is over when both are, or when it is reset.
 */
export class TunnelStream {
  readonly id: number;
  readonly #host: StreamHost;
  readonly #receiveWindow: number;
  #user: StreamUser | undefined;
  /** Data that arrived before there was a user; bounded by the receive window. */
  #early: Buffer[] = [];
  #earlyEnd = false;
  /** Bytes of the receive window in use, as far as the peer knows. */
  #received = 0;
  /** Bytes that the user has not given back. */
  #unconsumed = 0;
  #unacknowledged = 0;
  #pending: Buffer[] = [];
  #pendingSize = 0;
  #sendWindow: number;
  #localEnding = false;
  #localEnded = false;
  #remoteEnded = false;
  #starved = false;
  #over = false;
  #failure: Error | undefined;
  /** Whether a user has heard that the stream is over. */
  #told = false;
  #onOver: (() => void) | undefined;

  constructor(id: number, host: StreamHost, windows: { readonly send: number; readonly receive: number }) {
    this.id = id;
    this.#host = host;
    this.#sendWindow = windows.send;
    this.#receiveWindow = windows.receive;
  }

  get over(): boolean {
    return this.#over;
  }

  get remoteEnded(): boolean {
    return this.#remoteEnded;
  }

  /** Sets who uses the stream from now on; what has arrived before is passed on at once. */
  use(user: StreamUser): void {
    this.#user = user;
    const early = this.#early;
    this.#early = [];
    for (const chunk of early) if (!this.#over) user.data(chunk);
    if (this.#earlyEnd && !this.#over) user.end();
    if (this.#over && !this.#told) user.closed(this.#failure);
  }

  /** Gathers what arrives, up to the window, until somebody uses the stream again. `onOver` hears when it ends meanwhile. */
  detach(onOver?: () => void): void {
    this.#user = undefined;
    this.#onOver = onOver;
  }

  sendHeaders(fields: readonly HeaderField[], endStream: boolean): void {
    if (this.#over || this.#localEnding) return;
    if (endStream) this.#localEnding = this.#localEnded = true;
    this.#host.sendHeaders(this, fields, endStream);
    this.#finishIfDone();
  }

  /**
   * Sends `chunk`, which belongs to the stream from now on. False: it or a part of it waits for window or socket; write
   * more only after `room`.
   */
  write(chunk: Buffer): boolean {
    if (this.#over || this.#localEnding) return true;
    if (chunk.length > 0) {
      this.#pending.push(chunk);
      this.#pendingSize += chunk.length;
      this.#host.wantsToSend(this);
    }
    if (this.#pendingSize === 0) return true;
    this.#starved = true;
    return false;
  }

  /** Half-closes: END_STREAM after all data. */
  end(): void {
    if (this.#over || this.#localEnding) return;
    this.#localEnding = true;
    this.#host.wantsToSend(this);
  }

  /** Ends both directions at once; the user is told by `closed`, without an error unless one is given. */
  reset(code: ErrorCode, error?: Error): void {
    if (this.#over) return;
    this.#host.sendReset(this, code);
    this.fail(error);
  }

  /** The user has dealt with `size` bytes of data: the peer may send as many again. */
  consumed(size: number): void {
    if (this.#over) return;
    this.#unconsumed -= size;
    this.#host.connectionConsumed(size);
    if (this.#remoteEnded) return;
    this.#unacknowledged += size;
    // In big steps: a quarter of the window never leaves the peer waiting, and costs a frame per MiB.
    if (this.#unacknowledged < this.#receiveWindow / 4) return;
    this.#received -= this.#unacknowledged;
    this.#host.sendWindowUpdate(this.id, this.#unacknowledged);
    this.#unacknowledged = 0;
  }

  // What follows is for the session.

  /** Bytes that may be sent now, as far as this stream is concerned. */
  get sendable(): number {
    return Math.min(this.#sendWindow, this.#pendingSize);
  }

  /** Whether only END_STREAM is left to send. */
  get onlyEndLeft(): boolean {
    return this.#localEnding && !this.#localEnded && this.#pendingSize === 0;
  }

  /** Takes up to `max` bytes for one DATA frame. */
  take(max: number): { readonly chunks: readonly Buffer[]; readonly size: number } {
    const chunks: Buffer[] = [];
    const wanted = Math.min(max, this.sendable);
    let size = 0;
    while (size < wanted) {
      const chunk = this.#pending[0];
      if (chunk === undefined) break;
      const room = wanted - size;
      if (chunk.length <= room) {
        this.#pending.shift();
        chunks.push(chunk);
        size += chunk.length;
      } else {
        chunks.push(chunk.subarray(0, room));
        this.#pending[0] = chunk.subarray(room);
        size += room;
      }
    }
    this.#pendingSize -= size;
    this.#sendWindow -= size;
    return { chunks, size };
  }

  /** END_STREAM is on its way. */
  localEnd(): void {
    this.#localEnded = true;
    this.#finishIfDone();
  }

  /** Tells the user that there is room again, if it was told that there was none. */
  wake(): void {
    if (!this.#starved || this.#pendingSize > 0 || this.#over) return;
    this.#starved = false;
    this.#user?.room();
  }

  /** False: the window would be larger than the protocol allows. */
  widenSendWindow(increment: number): boolean {
    this.#sendWindow += increment;
    return this.#sendWindow <= 0x7fff_ffff;
  }

  receiveHeaders(fields: readonly HeaderField[], endStream: boolean): void {
    if (endStream) this.#remoteEnded = true;
    this.#user?.headers?.(fields, endStream);
    if (endStream) this.#receivedEnd();
  }

  /** False: the peer sent more than its window. */
  receiveData(chunk: Buffer, flowControlled: number, endStream: boolean): boolean {
    this.#received += flowControlled;
    this.#unconsumed += flowControlled;
    if (this.#received > this.#receiveWindow) return false;
    const padding = flowControlled - chunk.length;
    if (endStream) this.#remoteEnded = true;
    if (padding > 0) this.consumed(padding);
    if (chunk.length > 0) {
      if (this.#user === undefined) this.#early.push(chunk);
      else this.#user.data(chunk);
    }
    if (endStream) this.#receivedEnd();
    return true;
  }

  receiveReset(code: number): void {
    // A peer that is done resets with NO_ERROR or CANCEL: for a byte stream that is its end, as upstream reads it.
    const isEnd = code === ErrorCode.NO_ERROR || code === ErrorCode.CANCEL;
    this.fail(isEnd ? undefined : new IsthmusError('HBONE_STREAM_RESET', `stream reset by the peer: ${errorCodeName(code)}`));
  }

  /** Ends the stream here without telling the peer. */
  fail(error: Error | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#failure = error;
    this.#pending = [];
    this.#pendingSize = 0;
    this.#early = [];
    this.#host.connectionConsumed(this.#unconsumed);
    this.#host.forget(this);
    if (this.#user === undefined) {
      this.#onOver?.();
      return;
    }
    this.#told = true;
    this.#user.closed(error);
  }

  #receivedEnd(): void {
    if (this.#user === undefined) this.#earlyEnd = true;
    else if (!this.#over) this.#user.end();
    this.#finishIfDone();
  }

  #finishIfDone(): void {
    if (this.#localEnded && this.#remoteEnded) this.fail(undefined);
  }
}
