import { Socket, type SocketConstructorOpts } from 'node:net';

import { IsthmusError } from '../core/index.ts';
import { SyscallError } from './errors.ts';
import { decodeSockaddr, sockaddrSize, unmapped, type SocketAddress } from './address.ts';
import { openSocket, type SocketOptions } from './socket.ts';
import {
  ENOENT,
  SOCK_STREAM,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_TCP,
  SO_KEEPALIVE,
  SO_ORIGINAL_DST,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
  TCP_USER_TIMEOUT,
  checked,
  errno,
  getsockopt,
  int32,
  listen,
} from './libc.ts';

export interface ListenTcpOptions extends SocketOptions {
  /** The IP address to listen on; `::` takes IPv4 too. */
  readonly host: string;
  /** 0 for any free one (the server's `address()` tells which). */
  readonly port: number;
  /** SO_REUSEPORT: several processes may listen on the port, so that one can replace the other without a gap. */
  readonly reusePort?: boolean;
  /** Connections that may wait for accept; default 128. Node sets its own when it takes over: pass it to `server.listen` too. */
  readonly backlog?: number;
}

/**
 * A listening TCP socket in a namespace, as a descriptor for `server.listen({ fd }, 128)` of a net, tls or http server; the
 * server owns it then. Accepted sockets inherit its mark. LINUX_SYSCALL (`EADDRINUSE`, `EACCES`, …) when it cannot be.
 */
export function listenTcp(options: ListenTcpOptions): number {
  return openSocket(SOCK_STREAM, options.host, options, (raw) => {
    raw.setReuseAddress();
    if (options.reusePort === true) raw.setReusePort();
    raw.setDualStack();
    raw.bind(options.host, options.port);
    checked(listen(raw.fd, options.backlog ?? 128), 'listen', `${options.host} port ${options.port}`);
    return raw.fd;
  });
}

export interface KeepAliveOptions {
  /** Idle time before the first probe, seconds. */
  readonly time: number;
  /** Time between probes, seconds. */
  readonly interval: number;
  /** Unanswered probes after which the connection is dead. */
  readonly retries: number;
}

export interface ConnectTcpOptions extends SocketOptions {
  /** An IP address; names are not resolved. */
  readonly host: string;
  readonly port: number;
  /**
   * The address that the connection comes from, also one that is not the namespace's own (IP_TRANSPARENT, CAP_NET_ADMIN);
   * the port is any. Routes must lead the answers back here.
   */
  readonly sourceAddress?: string;
  /** Milliseconds until the attempt is given up with ISTHMUS_TIMEOUT; default 10000. */
  readonly timeout?: number;
  /** Default: none. */
  readonly keepAlive?: KeepAliveOptions;
  /** TCP_USER_TIMEOUT, milliseconds that sent data may stay unacknowledged; default: the kernel's rules. */
  readonly userTimeout?: number;
  /** Default true: small writes are sent at once. */
  readonly noDelay?: boolean;
  /** Passed to the net.Socket; default false. */
  readonly allowHalfOpen?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Connects from a namespace. The socket is connected and paused: nothing is read until its user does.
 * Errors: {@link SyscallError} (code LINUX_SYSCALL, `errno` for example `ECONNREFUSED`), ISTHMUS_TIMEOUT, the signal's reason.
 */
export async function connectTcp(options: ConnectTcpOptions): Promise<Socket> {
  const { host, port, timeout = 10_000, signal } = options;
  signal?.throwIfAborted();
  const fd = openConnecting(options);
  // Only net.Socket knows about connecting a descriptor that is not connected yet; manualStart keeps it from reading too early.
  const socketOptions: SocketConstructorOpts & { manualStart: true } = {
    fd,
    manualStart: true,
    allowHalfOpen: options.allowHalfOpen ?? false,
  };
  const socket = new Socket(socketOptions);
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const target = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const timer = setTimeout(() => {
    reject(new IsthmusError('ISTHMUS_TIMEOUT', `connect to ${target}: no answer after ${timeout} ms`));
  }, timeout);
  const onError = (error: Error): void => {
    reject(SyscallError.from(error, `connect to ${target}`));
  };
  const onAbort = (): void => {
    reject(signal?.reason instanceof Error ? signal.reason : new Error(`connect to ${target}: aborted`));
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  socket.once('error', onError);
  socket.once('connect', () => {
    resolve(socket);
  });
  socket.pause();
  socket.connect({ host, port });
  try {
    return await promise;
  } catch (error) {
    // The listener stays until the socket is gone: what it says after this is of no use.
    socket.on('error', () => undefined).destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    if (!socket.destroyed) socket.off('error', onError);
  }
}

function openConnecting(options: ConnectTcpOptions): number {
  const { sourceAddress, keepAlive } = options;
  return openSocket(
    SOCK_STREAM,
    options.host,
    { ...options, transparent: sourceAddress !== undefined || options.transparent === true },
    (raw) => {
      if (options.noDelay ?? true) raw.set(SOL_TCP, TCP_NODELAY, 1, 'TCP_NODELAY');
      if (keepAlive !== undefined) {
        raw.set(SOL_SOCKET, SO_KEEPALIVE, 1, 'SO_KEEPALIVE');
        raw.set(SOL_TCP, TCP_KEEPIDLE, keepAlive.time, 'TCP_KEEPIDLE');
        raw.set(SOL_TCP, TCP_KEEPINTVL, keepAlive.interval, 'TCP_KEEPINTVL');
        raw.set(SOL_TCP, TCP_KEEPCNT, keepAlive.retries, 'TCP_KEEPCNT');
      }
      if (options.userTimeout !== undefined) raw.set(SOL_TCP, TCP_USER_TIMEOUT, options.userTimeout, 'TCP_USER_TIMEOUT');
      if (sourceAddress !== undefined) {
        raw.setBindAddressNoPort();
        raw.bind(sourceAddress, 0);
      }
      return raw.fd;
    },
  );
}

/**
 * Where a redirected connection was going before nftables turned it to its listener; undefined when the socket is closed
 * already or the kernel does not track the connection. Call it in the server's `connection` handler.
 *
 * A connection that was not redirected gives the listener's own address: whoever forwards must refuse that, or it loops.
 */
export function originalDestination(socket: Socket): SocketAddress | undefined {
  // Node has no public way to a socket's descriptor; the handle is null once the socket is closed.
  const fd = (socket as unknown as { _handle: { fd?: number } | null })._handle?.fd;
  const local = socket.localAddress;
  if (fd === undefined || fd < 0 || local === undefined) return undefined;
  const level = unmapped(local).includes(':') ? SOL_IPV6 : SOL_IP;
  const address = Buffer.alloc(sockaddrSize);
  const result = getsockopt(fd, level, SO_ORIGINAL_DST, address, int32(sockaddrSize));
  if (result < 0 && errno() === ENOENT) return undefined;
  checked(result, 'getsockopt(SO_ORIGINAL_DST)', `connection from ${socket.remoteAddress ?? 'a closed socket'}`);
  return decodeSockaddr(address);
}
