import type { Socket } from 'node:net';

import { IsthmusError } from '../core/index.ts';
import { relaySockets, relayTunnel, TunnelPool, type TunnelKey } from '../hbone/index.ts';
import { connectTcp, originalDestination } from '../linux/index.ts';
import { ConnectionRecord } from './connection-record.ts';
import { illegalPorts } from './config.ts';
import { failureText } from './failures.ts';
import { decideOutbound, type OutboundRequest, type SocketTarget } from './outbound-request.ts';
import type { PodContext } from './proxy.ts';
import { baggageOf, forwardedOf, newTraceparent } from './request-headers.ts';
import { formatHostPort, isLoopback, socketAddress } from './state/address.ts';
import { workloadIdentity, type Workload } from './state/model.ts';

/** How long a new connection waits for the control plane to tell about its own pod, milliseconds. */
export const localWorkloadTimeout = 5_000;

/** What the pod's own connections to the outside go through (port 15001). */
export class Outbound implements AsyncDisposable {
  readonly #context: PodContext;
  readonly #pool: TunnelPool;
  readonly #illegalPorts: ReadonlySet<number>;

  constructor(context: PodContext) {
    this.#context = context;
    this.#illegalPorts = illegalPorts(context.config.ports);
    this.#pool = new TunnelPool({
      credentials: async () => context.certificates.get(workloadIdentity(await context.workload())),
      dial: (key, signal) => this.#dial(key, signal),
      maxStreams: context.config.poolMaxStreams,
      idleTimeout: context.config.poolIdleMs,
    });
  }

  /** Proxies a captured connection. Never rejects. */
  async handle(socket: Socket): Promise<void> {
    const start = performance.now();
    const { metrics } = this.#context;
    socket.on('error', () => undefined);
    metrics.socketOpened('source');
    socket.once('close', () => {
      metrics.socketClosed('source');
    });
    const client = { host: socketAddress(socket.remoteAddress), port: socket.remotePort ?? 0 };
    // Gone before it was looked at.
    if (client.host === '') return;
    const target = targetOf(socket);
    const decided = await this.#decide(socket, client, target);
    if (decided === undefined) return;
    const { request, source } = decided;
    const record = this.#record(request, source, client, start);
    using held = new DisposableStack();
    held.use(
      this.#context.connections.list({
        direction: 'outbound',
        pod: this.#context.uid,
        src: formatHostPort(client.host, client.port),
        originalDst: formatHostPort(target.host, target.port),
        actualDst: formatHostPort(request.destination.host, request.destination.port),
        protocol: request.protocol,
      }),
    );
    try {
      if (request.protocol === 'HBONE') await this.#tunnel(socket, client, source, request, record);
      else await this.#passOn(socket, request.destination, record);
      record.finish();
    } catch (error) {
      socket.resetAndDestroy();
      record.finish(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }

  async #decide(
    socket: Socket,
    client: SocketTarget,
    target: SocketTarget,
  ): Promise<{ request: OutboundRequest; source: Workload } | undefined> {
    const { state, config, accessLog } = this.#context;
    try {
      if (this.#illegalPorts.has(target.port) && isLoopback(target.host)) {
        throw new IsthmusError('ZTUNNEL_SELF_CALL', 'attempted recursive call to ourselves');
      }
      const source = await this.#context.workload();
      const request = await decideOutbound({
        state,
        source,
        client: client.host,
        target,
        network: config.network,
        hbonePort: config.ports.hbone,
        random: Math.random,
        resolveHostname: this.#context.resolveHostname,
      });
      return { request, source };
    } catch (error) {
      socket.resetAndDestroy();
      accessLog.failed({
        'src.addr': formatHostPort(client.host, client.port),
        'dst.addr': formatHostPort(target.host, target.port),
        direction: 'outbound',
        error: failureText(error, 'outbound'),
      });
      return undefined;
    }
  }

  #record(request: OutboundRequest, source: Workload, client: SocketTarget, start: number): ConnectionRecord {
    const mutualTls = request.protocol === 'HBONE';
    return new ConnectionRecord(
      {
        direction: 'outbound',
        source: client,
        destination: request.destination,
        hboneAddress: request.protocol === 'HBONE' ? request.authority : undefined,
        mutualTls,
        sourceWorkload: source,
        derivedSource: mutualTls ? { identity: workloadIdentity(source) } : undefined,
        destinationWorkload: request.workload,
        destinationService: request.service,
      },
      this.#context,
      start,
    );
  }

  async #tunnel(
    socket: Socket,
    client: SocketTarget,
    source: Workload,
    request: OutboundRequest & { protocol: 'HBONE' },
    record: ConnectionRecord,
  ): Promise<void> {
    const key: TunnelKey = {
      sourceIdentity: workloadIdentity(source),
      sourceAddress: client.host,
      expectedIdentities: request.expectedIdentities,
      ...request.destination,
    };
    const { stream } = await this.#pool.connect(
      key,
      request.authority,
      [
        ['baggage', baggageOf(source)],
        ['forwarded', forwardedOf(client, request.service?.hostname)],
        ['traceparent', newTraceparent()],
      ],
      this.#context.stopped,
    );
    await relayTunnel(socket, stream, { onForward: record.forwarded, onBackward: record.returned, signal: this.#context.stopped });
  }

  async #passOn(socket: Socket, target: SocketTarget, record: ConnectionRecord): Promise<void> {
    const upstream = await this.#connect(target, this.#context.stopped);
    await relaySockets(socket, upstream, { onForward: record.forwarded, onBackward: record.returned, signal: this.#context.stopped });
  }

  async #dial(key: TunnelKey, signal: AbortSignal): Promise<Socket> {
    try {
      return await this.#connect(key, signal);
    } catch (error) {
      if (!(error instanceof IsthmusError) || error.code !== 'ISTHMUS_TIMEOUT') throw error;
      throw new IsthmusError(
        'HBONE_CONNECT_TIMEOUT',
        `connection timed out, maybe a NetworkPolicy is blocking HBONE port ${key.port}: deadline has elapsed`,
        { cause: error },
      );
    }
  }

  #connect({ host, port }: SocketTarget, signal: AbortSignal): Promise<Socket> {
    const { config, namespace } = this.#context;
    return connectTcp({
      namespace,
      host,
      port,
      allowHalfOpen: true,
      signal,
      ...(config.packetMark === undefined ? {} : { mark: config.packetMark }),
      ...(config.keepAlive === undefined ? {} : { keepAlive: config.keepAlive }),
    });
  }
}

/** Where the connection was going before it was redirected; the listener itself when it was not. */
function targetOf(socket: Socket): SocketTarget {
  const original = originalDestination(socket);
  if (original !== undefined) return { host: socketAddress(original.address), port: original.port };
  return { host: socketAddress(socket.localAddress), port: socket.localPort ?? 0 };
}
