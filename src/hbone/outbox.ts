import type { Duplex } from 'node:stream';

/** Frames that may wait before streams are asked to hold their data back, bytes. Control frames are never held back. */
const highWaterMark = 256 * 1024;

/**
 * Frames on their way to the socket. What is written in one turn of the event loop leaves in one write, and so in as few
 * TLS records and system calls as possible.
 */
export class Outbox {
  readonly #socket: Duplex;
  readonly #onRoom: () => void;
  #frames: Buffer[] = [];
  #size = 0;
  #scheduled = false;
  #full = false;
  #closing = false;

  /** `onRoom` is called when the outbox was {@link Outbox.full} and is not any more. */
  constructor(socket: Duplex, onRoom: () => void) {
    this.#socket = socket;
    this.#onRoom = onRoom;
    socket.on('drain', () => {
      this.#checkRoom();
    });
  }

  /** Whether data should wait. */
  get full(): boolean {
    return this.#full;
  }

  /** Bytes that neither the socket nor the kernel has taken. */
  get size(): number {
    return this.#size + this.#socket.writableLength;
  }

  push(...frames: readonly Buffer[]): void {
    if (this.#closing) return;
    for (const frame of frames) {
      this.#frames.push(frame);
      this.#size += frame.length;
    }
    if (this.#size >= highWaterMark) this.#full = true;
    if (this.#scheduled) return;
    this.#scheduled = true;
    // After all sockets that are readable now have been read: their data goes along.
    setImmediate(() => {
      this.flush();
    });
  }

  flush(): void {
    this.#scheduled = false;
    if (this.#frames.length === 0 || this.#socket.destroyed) return;
    const frames = this.#frames;
    this.#frames = [];
    this.#size = 0;
    this.#socket.cork();
    for (const frame of frames) this.#socket.write(frame);
    this.#socket.uncork();
    if (this.#socket.writableNeedDrain) this.#full = true;
    else this.#checkRoom();
  }

  /** Sends what is there, then ends the socket's writing side; later frames are dropped. */
  end(): void {
    if (this.#closing) return;
    this.flush();
    this.#closing = true;
    this.#socket.end();
  }

  #checkRoom(): void {
    if (!this.#full || this.#size >= highWaterMark || this.#socket.writableNeedDrain) return;
    this.#full = false;
    this.#onRoom();
  }
}
