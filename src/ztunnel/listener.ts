import { once } from 'node:events';
import net, { type Server, type Socket } from 'node:net';

import { listenTcp, type KeepAliveOptions, type NetworkNamespace } from '../linux/index.ts';

export interface ListenOptions {
  readonly namespace: NetworkNamespace;
  readonly host: string;
  readonly port: number;
  readonly mark: number | undefined;
  readonly transparent?: boolean;
  readonly reusePort: boolean;
  readonly keepAlive?: KeepAliveOptions | undefined;
  /** Gets sockets that are paused and may be half open. */
  readonly onConnection: (socket: Socket) => void;
}

const backlog = 128;

/** A listening socket in a pod's namespace whose connections are counted until they are gone. */
export class Listener implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(options: ListenOptions): Promise<Listener> {
    const { onConnection, keepAlive, namespace, host, port, mark, transparent, reusePort } = options;
    const server = net.createServer({
      allowHalfOpen: true,
      pauseOnConnect: true,
      noDelay: true,
      ...(keepAlive === undefined ? {} : { keepAlive: true, keepAliveInitialDelay: keepAlive.time * 1000 }),
    });
    const listener = new Listener(server);
    server.on('connection', (socket) => {
      listener.#sockets.add(socket);
      socket.once('close', () => listener.#sockets.delete(socket));
      onConnection(socket);
    });
    const fd = listenTcp({
      namespace,
      host,
      port,
      reusePort,
      backlog,
      ...(mark === undefined ? {} : { mark }),
      ...(transparent === undefined ? {} : { transparent }),
    });
    server.listen({ fd, backlog });
    await once(server, 'listening');
    return listener;
  }

  get port(): number {
    const address = this.#server.address();
    return address === null || typeof address === 'string' ? 0 : address.port;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Stops accepting; open connections go on. */
  close(): void {
    this.#server.close();
  }

  /** Resolves when no connection is left, or after `deadlineMs`. */
  async drained(deadlineMs: number): Promise<void> {
    if (this.#sockets.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(resolve, deadlineMs, undefined);
    for (const socket of this.#sockets) {
      socket.once('close', () => {
        if (this.#sockets.size === 0) resolve(undefined);
      });
    }
    await promise;
    clearTimeout(timer);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.resetAndDestroy();
    return Promise.resolve();
  }
}
