import type { Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

import { describeError, type Logger } from '../../core/index.ts';
import { bindUdp, listenTcp, type NetworkNamespace } from '../../linux/index.ts';
import type { Forwarder } from './forward.ts';
import { lookupName, meshDomain } from './lookup.ts';
import { encodeAnswer, maxUdpAnswer, parseQuery, rcodes, type AnswerContent, type DnsQuery } from './message.ts';
import type { ServiceResolver } from './resolver.ts';
import { readMessages, tcpMessage } from './tcp-message.ts';

export interface DnsProxyOptions {
  /** The pod's network namespace. */
  readonly namespace: NetworkNamespace;
  /** Default of upstream: 15053. */
  readonly port: number;
  /** SO_MARK of the listening sockets. */
  readonly mark: number | undefined;
  /** See listenTcp. */
  readonly reusePort: boolean;
  readonly resolver: ServiceResolver;
  readonly forwarder: Forwarder;
  /** For example `cluster.local`. */
  readonly clusterDomain: string;
  /** Whether AAAA is answered and ::1 listened on. */
  readonly ipv6: boolean;
  readonly log: Logger;
}

/** Seconds that a client may remember an answer, upstream's. */
const ttl = 30;
/** Seconds that a client may remember that a global service does not exist: it may be exported any moment. */
const negativeTtl = 5;

const tcpIdleMs = 5_000;
const maxTcpConnections = 128;
/** Queries of one TCP connection that are worked on at a time; more wait unread. */
const maxPipelined = 16;
const maxTcpAnswer = 0xffff;

/**
 * Answers what a pod asks on port 53: names of the mesh itself, everything else by asking the name servers of this
 * process's own resolv.conf. It listens on loopback addresses only, to which the pod's redirection leads.
 * Rejects with LINUX_SYSCALL when a port is taken.
 */
export async function startDnsProxy(options: DnsProxyOptions): Promise<AsyncDisposable> {
  const proxy = new DnsProxy(options);
  try {
    for (const host of options.ipv6 && options.namespace.hasIpv6() ? ['127.0.0.1', '::1'] : ['127.0.0.1']) await proxy.listen(host);
  } catch (error) {
    await proxy[Symbol.asyncDispose]();
    throw error;
  }
  return proxy;
}

class DnsProxy implements AsyncDisposable {
  readonly #options: DnsProxyOptions;
  readonly #udp: UdpSocket[] = [];
  readonly #tcp: Server[] = [];
  readonly #connections = new Set<Socket>();
  readonly #stop = new AbortController();

  constructor(options: DnsProxyOptions) {
    this.#options = options;
  }

  async listen(host: string): Promise<void> {
    const { namespace, port, mark, reusePort } = this.#options;
    const address = { namespace, host, port, reusePort, ...(mark === undefined ? {} : { mark }) };
    const udp = bindUdp(address);
    this.#udp.push(udp);
    udp.on('error', (error) => this.#options.log.warn({ error: describeError(error) }, 'DNS socket'));
    udp.on('message', (bytes, client) => {
      void this.#answer(bytes, 'udp').then((answer) => {
        // The client may be gone, and the proxy stopped meanwhile.
        if (answer !== undefined && !this.#stop.signal.aborted) udp.send(answer, client.port, client.address, () => undefined);
      });
    });
    const tcp = createServer((socket) => void this.#serve(socket));
    tcp.maxConnections = maxTcpConnections;
    tcp.listen({ fd: listenTcp(address), backlog: 128 });
    await once(tcp, 'listening');
    this.#tcp.push(tcp);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort(new Error('the DNS proxy is stopped'));
    for (const socket of this.#udp) socket.close();
    for (const socket of this.#connections) socket.destroy();
    await Promise.all(this.#tcp.map((server) => new Promise((resolve) => server.close(resolve))));
  }

  async #serve(socket: Socket): Promise<void> {
    this.#connections.add(socket);
    socket.once('close', () => this.#connections.delete(socket));
    socket.on('error', () => undefined);
    socket.setTimeout(tcpIdleMs, () => socket.destroy());
    const pending = new Set<Promise<void>>();
    try {
      for await (const bytes of readMessages(socket)) {
        const answered = this.#answer(bytes, 'tcp').then((answer) => {
          if (answer !== undefined && socket.writable) socket.write(tcpMessage(answer));
        });
        pending.add(answered);
        void answered.finally(() => pending.delete(answered));
        if (pending.size >= maxPipelined) await Promise.race(pending);
      }
      await Promise.all(pending);
      socket.end();
    } catch {
      // The client broke the connection off: there is nobody to tell.
      socket.destroy();
    }
  }

  /** Never rejects; undefined when there is nothing to say. */
  async #answer(bytes: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    const query = parseQuery(bytes);
    if ('malformed' in query) return query.answer;
    const encode = (content: AnswerContent): Buffer =>
      encodeAnswer(query, content, transport === 'udp' ? maxUdpAnswer(query) : maxTcpAnswer);
    const failure = (): Buffer => encode({ rcode: rcodes.serverFailure, authoritative: false });
    let client: Awaited<ReturnType<ServiceResolver['client']>>;
    try {
      client = await this.#options.resolver.client();
    } catch (error) {
      this.#record(query, undefined, `unknown source (${describeError(error)})`, 0);
      return failure();
    }
    const known = this.#known(query, client);
    if (known !== undefined) {
      this.#record(query, client, known.result, known.content.addresses?.length ?? 0);
      return encode(known.content);
    }
    try {
      const answer = await this.#options.forwarder.forward(query, transport, this.#stop.signal);
      this.#record(query, client, 'forwarded', answer.readUInt16BE(6));
      return answer;
    } catch (error) {
      this.#record(query, client, `forwarding failed (${describeError(error)})`, 0);
      return failure();
    }
  }

  /** What the mesh itself says to a query; undefined when it has to be forwarded. */
  #known(
    query: DnsQuery,
    client: { readonly namespace: string; readonly network: string },
  ): { content: AnswerContent; result: string } | undefined {
    if (!query.isInternet || query.name === '') return undefined;
    const { resolver, clusterDomain, ipv6 } = this.#options;
    const asksAddress = query.type === 'A' || query.type === 'AAAA';
    const found = lookupName(query.name, query.type === 'AAAA' ? 'AAAA' : 'A', { resolver, client, clusterDomain, ipv6 });
    switch (found.kind) {
      case 'found':
        if (asksAddress) {
          const { addresses, canonicalName } = found;
          const result = addresses.length === 0 ? 'no records' : 'success';
          return {
            content: { rcode: rcodes.success, authoritative: true, ttl, addresses, ...(addresses.length > 0 && { canonicalName }) },
            result,
          };
        }
        // Only the mesh knows the names of its domain: another server would deny that they exist, whatever the type.
        if (!`.${query.name}.`.includes(`.${meshDomain}.`)) return undefined;
        return { content: { rcode: rcodes.success, authoritative: true, ttl, authority: meshDomain }, result: 'no records' };
      case 'nonexistent':
        return {
          content: { rcode: rcodes.nameError, authoritative: true, ttl: negativeTtl, authority: meshDomain },
          result: 'nonexistent',
        };
      case 'unknown':
        return undefined;
    }
  }

  #record(
    query: DnsQuery,
    client: { readonly name?: string; readonly namespace: string } | undefined,
    result: string,
    endpoints: number,
  ): void {
    const fields = {
      'src.workload': client?.name ?? 'unknown',
      'src.namespace': client?.namespace ?? 'unknown',
      query: query.type,
      domain: `${query.name}.`,
      result,
      endpoints,
    };
    this.#options.log.debug(fields, 'DNS query');
  }
}
