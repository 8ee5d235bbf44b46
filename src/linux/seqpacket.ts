import { chmodSync, rmSync } from 'node:fs';

import { encodeUnixAddress } from './address.ts';
import {
  AF_UNIX,
  EAGAIN,
  EINTR,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  SCM_RIGHTS,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_SEQPACKET,
  SOL_SOCKET,
  accept4,
  addressOf,
  bind,
  checked,
  close,
  connect,
  errno,
  listen,
  poll,
  recvmsg,
  sendmsg,
  socket,
  type PollHandle,
} from './libc.ts';

/**
 * Unix sockets of type SOCK_SEQPACKET: packets keep their borders, arrive in order, and can carry descriptors of open
 * files. Node knows only stream ones, so these are made of system calls and a poll handle of the event loop.
 *
 * Reading is by pull: nothing is taken from the kernel's queue unless someone asks, which is the backpressure.
 */
export interface SeqpacketMessage {
  readonly data: Buffer;
  /** Descriptors that came along. They belong to the receiver, who closes them. */
  readonly descriptors: readonly number[];
  /** The packet or its descriptors were longer than `maxPacket` allows, and what was over is lost. */
  readonly truncated: boolean;
}

export interface SeqpacketOptions {
  /** Longest packet that can be received, bytes; default 65536. */
  readonly maxPacket?: number;
}

export interface ListenSeqpacketOptions extends SeqpacketOptions {
  /** Where the socket is put; a file that is left over there is removed. */
  readonly path: string;
  /** File mode; default 0600. */
  readonly mode?: number;
}

const maxDescriptors = 16;

/** Listens at a path. LINUX_SYSCALL when that cannot be. */
export function listenSeqpacket(options: ListenSeqpacketOptions): SeqpacketListener {
  const { path, mode = 0o600 } = options;
  const fd = openSeqpacket(path);
  try {
    rmSync(path, { force: true });
    const address = encodeUnixAddress(path);
    checked(bind(fd, address, address.length), 'bind', path);
    chmodSync(path, mode);
    checked(listen(fd, 16), 'listen', path);
  } catch (error) {
    close(fd);
    throw error;
  }
  return new SeqpacketListener(fd, options);
}

/** Connects to a listener at a path; that is immediate. LINUX_SYSCALL, for example with `ENOENT`, `ECONNREFUSED` or (its queue is full) `EAGAIN`. */
export function connectSeqpacket(path: string, options: SeqpacketOptions = {}): SeqpacketConnection {
  const fd = openSeqpacket(path);
  try {
    const address = encodeUnixAddress(path);
    checked(connect(fd, address, address.length), 'connect', path);
  } catch (error) {
    close(fd);
    throw error;
  }
  return new SeqpacketConnection(fd, options);
}

function openSeqpacket(path: string): number {
  return checked(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket', path);
}

export class SeqpacketListener implements Disposable {
  readonly #waiter: Waiter;
  readonly #options: ListenSeqpacketOptions;

  constructor(fd: number, options: ListenSeqpacketOptions) {
    this.#waiter = new Waiter(fd);
    this.#options = options;
  }

  /** The next connection; undefined once the listener is closed. */
  async accept(): Promise<SeqpacketConnection | undefined> {
    for (;;) {
      if (this.#waiter.closed) return undefined;
      const fd = accept4(this.#waiter.fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) return new SeqpacketConnection(fd, this.#options);
      if (!mayTryAgain()) checked(fd, 'accept4', this.#options.path);
      await this.#waiter.readable();
    }
  }

  /** Stops listening and removes the socket's file. */
  close(): void {
    if (this.#waiter.closed) return;
    this.#waiter.close();
    rmSync(this.#options.path, { force: true });
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** One connection. At most one `receive` and one `send` are under way at a time: further calls wait for their turn. */
export class SeqpacketConnection implements Disposable {
  readonly #waiter: Waiter;
  readonly #incoming: MessageBuffer;
  #receiving: Promise<unknown> = Promise.resolve();
  #sending: Promise<unknown> = Promise.resolve();

  constructor(fd: number, options: SeqpacketOptions) {
    this.#waiter = new Waiter(fd);
    this.#incoming = new MessageBuffer(Buffer.alloc(options.maxPacket ?? 65536), Buffer.alloc(controlSize(maxDescriptors)));
  }

  get closed(): boolean {
    return this.#waiter.closed;
  }

  /** The next packet; undefined when the other side has closed or this side does. LINUX_SYSCALL when the connection broke. */
  receive(): Promise<SeqpacketMessage | undefined> {
    const turn = this.#receiving.then(() => this.#receiveNow());
    this.#receiving = turn.catch(() => undefined);
    return turn;
  }

  /**
   * Sends one packet, with copies of descriptors (which stay open here); resolves when the kernel has taken it.
   * LINUX_SYSCALL, for example with `EPIPE` when the other side is gone.
   */
  send(data: Uint8Array, descriptors: readonly number[] = []): Promise<void> {
    const turn = this.#sending.then(() => this.#sendNow(data, descriptors));
    this.#sending = turn.catch(() => undefined);
    return turn;
  }

  /** Ends it at once; a receive under way gets undefined. */
  close(): void {
    this.#waiter.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #receiveNow(): Promise<SeqpacketMessage | undefined> {
    for (;;) {
      if (this.#waiter.closed) return undefined;
      const length = recvmsg(this.#waiter.fd, this.#incoming.prepare(), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (length >= 0) {
        const message = this.#incoming.message(Number(length));
        // An empty packet cannot be told from the end of the connection; no protocol over these sockets sends one.
        if (message.data.length === 0 && message.descriptors.length === 0) return undefined;
        return message;
      }
      if (!mayTryAgain()) checked(length, 'recvmsg', 'unix connection');
      await this.#waiter.readable();
    }
  }

  async #sendNow(data: Uint8Array, descriptors: readonly number[]): Promise<void> {
    const control = Buffer.alloc(descriptors.length === 0 ? 0 : controlSize(descriptors.length));
    if (descriptors.length > 0) {
      control.writeBigUInt64LE(BigInt(16 + 4 * descriptors.length), 0);
      control.writeInt32LE(SOL_SOCKET, 8);
      control.writeInt32LE(SCM_RIGHTS, 12);
      descriptors.forEach((descriptor, index) => control.writeInt32LE(descriptor, 16 + 4 * index));
    }
    const outgoing = new MessageBuffer(Buffer.from(data.buffer, data.byteOffset, data.byteLength), control);
    for (;;) {
      // A closed waiter's descriptor is -1, for which the kernel says EBADF.
      const result = sendmsg(this.#waiter.fd, outgoing.prepare(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (result >= 0) return;
      if (!mayTryAgain()) checked(result, 'sendmsg', 'unix connection');
      await this.#waiter.writable();
    }
  }
}

function mayTryAgain(): boolean {
  const number = errno();
  return number === EAGAIN || number === EINTR;
}

/** CMSG_SPACE: a header of 16 bytes, then the descriptors, to a multiple of 8. */
function controlSize(descriptors: number): number {
  return (16 + 4 * descriptors + 7) & ~7;
}

/** struct msghdr of a 64-bit Linux, with one buffer for data and one for control messages. */
class MessageBuffer {
  readonly #data: Buffer;
  readonly #control: Buffer;
  readonly #vector = Buffer.alloc(16);
  readonly #header = Buffer.alloc(56);

  constructor(data: Buffer, control: Buffer) {
    this.#data = data;
    this.#control = control;
    if (data.length > 0) this.#vector.writeBigUInt64LE(addressOf(data), 0);
    this.#vector.writeBigUInt64LE(BigInt(data.length), 8);
    this.#header.writeBigUInt64LE(addressOf(this.#vector), 16);
    this.#header.writeBigUInt64LE(1n, 24);
    if (control.length > 0) this.#header.writeBigUInt64LE(addressOf(control), 32);
  }

  /** The header with the fields reset that the kernel overwrites. */
  prepare(): Buffer {
    this.#header.writeBigUInt64LE(BigInt(this.#control.length), 40);
    this.#header.writeInt32LE(0, 48);
    return this.#header;
  }

  /** What the kernel has put into the buffers. */
  message(length: number): SeqpacketMessage {
    const flags = this.#header.readInt32LE(48);
    return {
      data: Buffer.from(this.#data.subarray(0, length)),
      descriptors: this.#descriptors(),
      truncated: (flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0,
    };
  }

  #descriptors(): number[] {
    const found: number[] = [];
    const end = Number(this.#header.readBigUInt64LE(40));
    for (let offset = 0; offset + 16 <= end;) {
      const length = Number(this.#control.readBigUInt64LE(offset));
      if (this.#control.readInt32LE(offset + 8) === SOL_SOCKET && this.#control.readInt32LE(offset + 12) === SCM_RIGHTS) {
        for (let at = offset + 16; at + 4 <= offset + length; at += 4) found.push(this.#control.readInt32LE(at));
      }
      offset += Math.max(16, (length + 7) & ~7);
    }
    return found;
  }
}

/** Waits for a descriptor to become readable or writable. It polls only while someone waits. */
class Waiter {
  fd: number;
  readonly #poll: PollHandle;
  #readable: PromiseWithResolvers<void> | undefined;
  #writable: PromiseWithResolvers<void> | undefined;

  constructor(fd: number) {
    this.fd = fd;
    this.#poll = poll(fd, {}, () => undefined);
    this.#poll.stop();
  }

  get closed(): boolean {
    return this.fd < 0;
  }

  readable(): Promise<void> {
    this.#readable ??= Promise.withResolvers();
    this.#arm();
    return this.#readable.promise;
  }

  writable(): Promise<void> {
    this.#writable ??= Promise.withResolvers();
    this.#arm();
    return this.#writable.promise;
  }

  close(): void {
    if (this.closed) return;
    this.#poll.stop();
    this.#poll.close();
    close(this.fd);
    this.fd = -1;
    this.#readable?.resolve();
    this.#writable?.resolve();
  }

  #arm(): void {
    if (this.closed) return;
    const wanted = { readable: this.#readable !== undefined, writable: this.#writable !== undefined };
    this.#poll.stop();
    if (!wanted.readable && !wanted.writable) return;
    // koffi's types leave out the first argument. Its callback runs outside Node's scopes (no microtasks, exceptions are
    // swallowed), so the work goes on in an immediate.
    const onEvents = (): void => {
      if (this.closed) return;
      this.#poll.stop();
      setImmediate(() => {
        const [readable, writable] = [this.#readable, this.#writable];
        this.#readable = this.#writable = undefined;
        readable?.resolve();
        writable?.resolve();
      });
    };
    this.#poll.start(wanted, onEvents);
  }
}
