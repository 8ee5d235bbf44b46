import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';

import { aborted, describeError, type Logger } from '../../core/index.ts';

export type Transport = 'udp' | 'tcp';

/** Answers one message; undefined when it deserves no answer. */
export type Responder = (message: Buffer, transport: Transport) => Promise<Buffer | undefined>;

/** TCP connections at a time; more are refused. */
const mostConnections = 256;
/** A TCP connection may be silent for so long, milliseconds. */
const idleTimeout = 10_000;

export interface DnsServerOptions {
  readonly address: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly respond: Responder;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly onListening?: (port: number) => void;
}

/** Serves DNS over UDP and TCP on one address until the signal is aborted. Rejects when the port cannot be had. */
export async function serveDns({ address, port, respond, log, signal, onListening }: DnsServerOptions): Promise<void> {
  const tcp = createServer({ noDelay: true }, (socket) => void serveConnection(socket, respond, log));
  const connections = new Set<Socket>();
  tcp.maxConnections = mostConnections;
  tcp.on('connection', (socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
  });
  tcp.listen({ host: address, port });
  await once(tcp, 'listening');
  const bound = (tcp.address() as { readonly port: number }).port;

  // A literal address needs no look-up, which would go through the thread pool.
  const udp = createSocket({ type: 'udp4', reuseAddr: false, lookup: (host, _options, callback) => callback(null, host, 4) });
  udp.on('message', (message, peer) => {
    respond(message, 'udp').then(
      (answer) => {
        if (answer !== undefined && !signal.aborted) udp.send(answer, peer.port, peer.address);
      },
      (error: unknown) => log.error({ error: describeError(error) }, 'a query was not answered'),
    );
  });
  // The event comes before bind returns, as the look-up above does not wait.
  const listening = once(udp, 'listening');
  udp.bind({ address, port: bound });
  await listening;
  // From here on a failure is that of one answer (its receiver is gone), not of the server.
  udp.on('error', (error) => log.debug({ error: error.message }, 'an answer could not be sent'));
  onListening?.(bound);

  await aborted(signal);
  udp.close();
  tcp.close();
  for (const socket of connections) socket.destroy();
}

/** Answers the messages of a connection one after the other, in their order (RFC 7766 allows pipelining). */
async function serveConnection(socket: Socket, respond: Responder, log: Logger): Promise<void> {
  socket.setTimeout(idleTimeout, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  let rest = Buffer.alloc(0);
  try {
    for await (const chunk of socket) {
      rest = Buffer.concat([rest, chunk as Buffer]);
      while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
        const end = 2 + rest.readUInt16BE(0);
        const answer = await respond(rest.subarray(2, end), 'tcp');
        rest = rest.subarray(end);
        if (answer === undefined) {
          socket.destroy();
          return;
        }
        const length = Buffer.alloc(2);
        length.writeUInt16BE(answer.length, 0);
        if (!socket.write(Buffer.concat([length, answer]))) await once(socket, 'drain');
      }
    }
  } catch (error) {
    log.debug({ error: describeError(error) }, 'a DNS connection ended early');
    socket.destroy();
  }
}
