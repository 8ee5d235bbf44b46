import { randomInt } from 'node:crypto';
import { once } from 'node:events';

import { describeError, IsthmusError, withTimeout } from '../../core/index.ts';
import { bindUdp, connectTcp, type NetworkNamespace } from '../../linux/index.ts';
import { isAnswerTo, relabelAnswer, type DnsQuery } from './message.ts';
import type { ResolvConf } from './resolv-conf.ts';
import { readMessages, tcpMessage } from './tcp-message.ts';

export interface ForwarderOptions {
  /** The pod's: its network policies and routes count for its names too. */
  readonly namespace: NetworkNamespace;
  /** SO_MARK of the sockets, without which the pod's own redirection would bring the queries back. */
  readonly mark: number | undefined;
  readonly servers: ResolvConf;
  /** Port of the servers; default 53. */
  readonly port?: number;
  /** Until when a client gets an answer, milliseconds; default 4500, a little less than the C library waits. */
  readonly deadlineMs?: number;
}

/** How many queries of one pod may wait for servers at a time. */
const maxInFlight = 512;
/** A server gets at least this long, milliseconds. */
const shortestAttempt = 500;

/**
 * Passes queries on to the servers of resolv.conf as they came, with an identifier and a port of its own, and their
 * answers back. Answers are not cached: the servers and the clients do that, and know better for how long.
 */
export class Forwarder {
  readonly #options: ForwarderOptions;
  #inFlight = 0;

  constructor(options: ForwarderOptions) {
    this.#options = options;
  }

  /**
   * The answer of the first server that gives one. ZTUNNEL_DNS_FORWARD when none does in time, when there is none, or when
   * too many queries wait already.
   */
  async forward(query: DnsQuery, transport: 'udp' | 'tcp', signal: AbortSignal): Promise<Buffer> {
    const { servers, deadlineMs = 4500 } = this.#options;
    const tries = Array<readonly string[]>(servers.attempts).fill(servers.nameservers).flat();
    if (tries.length === 0) throw new IsthmusError('ZTUNNEL_DNS_FORWARD', 'no name servers in /etc/resolv.conf');
    if (this.#inFlight >= maxInFlight)
      throw new IsthmusError('ZTUNNEL_DNS_FORWARD', `${maxInFlight} queries of this pod wait for answers already`);
    this.#inFlight += 1;
    try {
      return await this.#tryAll(query, transport, tries, deadlineMs, signal);
    } finally {
      this.#inFlight -= 1;
    }
  }

  async #tryAll(
    query: DnsQuery,
    transport: 'udp' | 'tcp',
    tries: readonly string[],
    deadlineMs: number,
    signal: AbortSignal,
  ): Promise<Buffer> {
    const end = performance.now() + deadlineMs;
    const each = Math.max(shortestAttempt, deadlineMs / tries.length);
    const failures: unknown[] = [];
    for (const server of tries) {
      const left = end - performance.now();
      if (left <= 0) break;
      try {
        const ask = transport === 'udp' ? this.#overUdp : this.#overTcp;
        const answer = await withTimeout(
          `answer of ${server}`,
          Math.min(each, left),
          (attempt) => ask.call(this, query, server, attempt),
          signal,
        );
        return relabelAnswer(answer, query);
      } catch (error) {
        signal.throwIfAborted();
        failures.push(error);
      }
    }
    throw new IsthmusError('ZTUNNEL_DNS_FORWARD', `no name server answered: ${failures.map(describeError).join(', ')}`);
  }

  async #overUdp(query: DnsQuery, server: string, signal: AbortSignal): Promise<Buffer> {
    const { namespace, mark, port = 53 } = this.#options;
    const socket = bindUdp({ namespace, host: server.includes(':') ? '::' : '0.0.0.0', port: 0, ...(mark === undefined ? {} : { mark }) });
    try {
      // Connected: only this server's packets come in, and its refusal is heard of.
      socket.connect(port, server);
      await once(socket, 'connect', { signal });
      const { bytes, id } = withOwnId(query);
      socket.send(bytes);
      for (;;) {
        const [answer] = (await once(socket, 'message', { signal })) as [Buffer];
        if (isAnswerTo(answer, query, id)) return answer;
      }
    } finally {
      // An error after this concerns nobody.
      socket.on('error', () => undefined).close();
    }
  }

  async #overTcp(query: DnsQuery, server: string, signal: AbortSignal): Promise<Buffer> {
    const { namespace, mark, port = 53 } = this.#options;
    const socket = await connectTcp({ namespace, host: server, port, signal, ...(mark === undefined ? {} : { mark }) });
    const abort = (): void => void socket.destroy();
    signal.addEventListener('abort', abort, { once: true });
    try {
      const { bytes, id } = withOwnId(query);
      socket.write(tcpMessage(bytes));
      for await (const answer of readMessages(socket)) if (isAnswerTo(answer, query, id)) return answer;
      throw new IsthmusError('ZTUNNEL_DNS_FORWARD', `${server} closed the connection`);
    } finally {
      signal.removeEventListener('abort', abort);
      socket.on('error', () => undefined).destroy();
    }
  }
}

/** The query with an identifier that others cannot guess. */
function withOwnId(query: DnsQuery): { readonly bytes: Buffer; readonly id: number } {
  const bytes = Buffer.from(query.bytes);
  const id = randomInt(0x10000);
  bytes.writeUInt16BE(id, 0);
  return { bytes, id };
}
