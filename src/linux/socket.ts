import type { NetworkNamespace } from './namespace.ts';
import { encodeSockaddr, familyOf } from './address.ts';
import {
  AF_INET6,
  IPV6_TRANSPARENT,
  IPV6_V6ONLY,
  IP_BIND_ADDRESS_NO_PORT,
  IP_TRANSPARENT,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SO_MARK,
  SO_REUSEADDR,
  SO_REUSEPORT,
  bind,
  checked,
  close,
  int32,
  setsockopt,
  socket,
} from './libc.ts';

/** What the sockets of this room have in common. */
export interface SocketOptions {
  /** Where the socket is made; default: the namespace of the process. */
  readonly namespace?: NetworkNamespace;
  /** SO_MARK, which routing and nftables rules see on its packets; needs CAP_NET_ADMIN. */
  readonly mark?: number;
  /** IP_TRANSPARENT: addresses that are not the namespace's own may be used; needs CAP_NET_ADMIN. */
  readonly transparent?: boolean;
}

/** A non-blocking socket of the family of `address`, with its options set, made in the namespace and passed to `then` there. */
export function openSocket<T>(type: number, address: string, options: SocketOptions, then: (socket: RawSocket) => T): T {
  const open = (): T => {
    const raw = new RawSocket(type, address);
    try {
      if (options.mark !== undefined) raw.set(SOL_SOCKET, SO_MARK, options.mark, 'SO_MARK');
      if (options.transparent === true) raw.setTransparent();
      return then(raw);
    } catch (error) {
      close(raw.fd);
      throw error;
    }
  };
  return options.namespace === undefined ? open() : options.namespace.runInside(open);
}

/** A descriptor on its way to becoming a socket of Node's. */
export class RawSocket {
  readonly fd: number;
  readonly #ipv6: boolean;
  readonly #what: string;

  constructor(type: number, address: string) {
    const family = familyOf(address);
    this.#ipv6 = family === AF_INET6;
    this.#what = `socket for ${address}`;
    this.fd = checked(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket', this.#what);
  }

  set(level: number, name: number, value: number, text: string): void {
    checked(setsockopt(this.fd, level, name, int32(value), 4), `setsockopt(${text})`, this.#what);
  }

  setTransparent(): void {
    if (this.#ipv6) this.set(SOL_IPV6, IPV6_TRANSPARENT, 1, 'IPV6_TRANSPARENT');
    // A dual-stack socket also carries IPv4, for which it has an option of its own.
    this.set(SOL_IP, IP_TRANSPARENT, 1, 'IP_TRANSPARENT');
  }

  setReuseAddress(): void {
    this.set(SOL_SOCKET, SO_REUSEADDR, 1, 'SO_REUSEADDR');
  }

  setReusePort(): void {
    this.set(SOL_SOCKET, SO_REUSEPORT, 1, 'SO_REUSEPORT');
  }

  /** `::` then takes IPv4 as well. */
  setDualStack(): void {
    if (this.#ipv6) this.set(SOL_IPV6, IPV6_V6ONLY, 0, 'IPV6_V6ONLY');
  }

  /** The port is chosen at connect, by the whole connection, so that ports do not run out. */
  setBindAddressNoPort(): void {
    this.set(SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, 'IP_BIND_ADDRESS_NO_PORT');
  }

  bind(address: string, port: number): void {
    const sockaddr = encodeSockaddr({ address, port });
    const text = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
    checked(bind(this.fd, sockaddr, sockaddr.length), 'bind', text);
  }
}
