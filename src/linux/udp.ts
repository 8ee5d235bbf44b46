import { createSocket, type Socket } from 'node:dgram';

import { openSocket, type SocketOptions } from './socket.ts';
import { SOCK_DGRAM, close } from './libc.ts';

export interface BindUdpOptions extends SocketOptions {
  /** An IP address of the namespace. To be the target of a redirection of the pod's own packets it has to be a loopback one. */
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** SO_REUSEPORT: see listenTcp. */
  readonly reusePort?: boolean;
}

/** A bound UDP socket in a namespace. Its `listening` event is over when this returns. LINUX_SYSCALL when it cannot be. */
export function bindUdp(options: BindUdpOptions): Socket {
  const fd = openSocket(SOCK_DGRAM, options.host, options, (raw) => {
    if (options.reusePort === true) raw.setReusePort();
    raw.bind(options.host, options.port);
    return raw.fd;
  });
  try {
    const socket = createSocket(options.host.includes(':') ? 'udp6' : 'udp4');
    socket.bind({ fd });
    return socket;
  } catch (error) {
    close(fd);
    throw error;
  }
}
