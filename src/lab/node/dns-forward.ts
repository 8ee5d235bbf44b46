import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';

import { withTimeout } from '../../core/index.ts';
import type { Transport } from './dns-server.ts';

/** Another name server. */
export interface Upstream {
  readonly address: string;
  readonly port: number;
}

/** One try over UDP lasts so long, milliseconds; two are made. */
const udpTimeout = 2_000;
const tcpTimeout = 4_000;

/** Asks another server the same, over the transport that the client uses, and returns its answer as it is. */
export async function forward(query: Buffer, transport: Transport, upstream: Upstream, signal: AbortSignal): Promise<Buffer> {
  if (transport === 'tcp') return await withTimeout('a DNS query upstream', tcpTimeout, (both) => overTcp(query, upstream, both), signal);
  const attempt = (): Promise<Buffer> => withTimeout('a DNS query upstream', udpTimeout, (both) => overUdp(query, upstream, both), signal);
  try {
    return await attempt();
  } catch {
    signal.throwIfAborted();
    return await attempt();
  }
}

async function overUdp(query: Buffer, { address, port }: Upstream, signal: AbortSignal): Promise<Buffer> {
  const socket = createSocket('udp4');
  try {
    // A connected socket takes packets from this server alone.
    socket.connect(port, address);
    await once(socket, 'connect', { signal });
    socket.send(query);
    for (;;) {
      const [answer] = (await once(socket, 'message', { signal })) as [Buffer];
      if (answer.length >= 12 && answer.readUInt16BE(0) === query.readUInt16BE(0)) return answer;
    }
  } finally {
    socket.close();
  }
}

async function overTcp(query: Buffer, { address, port }: Upstream, signal: AbortSignal): Promise<Buffer> {
  const socket = connect({ host: address, port, signal });
  try {
    await once(socket, 'connect', { signal });
    const length = Buffer.alloc(2);
    length.writeUInt16BE(query.length, 0);
    socket.write(Buffer.concat([length, query]));
    let received = Buffer.alloc(0);
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk as Buffer]);
      if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0))
        return received.subarray(2, 2 + received.readUInt16BE(0));
    }
    throw new Error('the server closed the connection without an answer');
  } finally {
    socket.destroy();
  }
}
