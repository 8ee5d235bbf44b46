import type { Socket } from 'node:net';

import { IsthmusError } from '../core/index.ts';
import { HboneServer, relaySockets, relayTunnel, type ConnectionEnds, type IncomingConnect } from '../hbone/index.ts';
import { connectTcp, originalDestination, SyscallError } from '../linux/index.ts';
import { illegalPorts } from './config.ts';
import { ConnectionRecord, type DerivedWorkload } from './connection-record.ts';
import type { Admission } from './connections.ts';
import { failureText } from './failures.ts';
import { decideInbound, guessService, type InboundRequest } from './inbound-request.ts';
import type { SocketTarget } from './outbound-request.ts';
import type { PodContext } from './proxy.ts';
import { proxyProtocolHeader } from './proxy-protocol.ts';
import { baggageOf, parseBaggage, parseForwardedHost } from './request-headers.ts';
import { formatHostPort, socketAddress } from './state/address.ts';
import { workloadIdentity, type Workload } from './state/model.ts';

/** What comes from the outside to the pod: HBONE (15008) and redirected plaintext (15006). */
export class Inbound implements AsyncDisposable {
  readonly #context: PodContext;
  readonly #server: HboneServer;
  readonly #illegalPorts: ReadonlySet<number>;

  constructor(context: PodContext) {
    this.#context = context;
    this.#illegalPorts = illegalPorts(context.config.ports);
    this.#server = new HboneServer({
      credentials: async () => context.certificates.get(workloadIdentity(await context.workload())),
      onConnect: (request) => void this.#serve(request),
      onRefused: (error, ends) => {
        this.#logFailed(clientOf(ends), { host: socketAddress(ends.localAddress), port: ends.localPort }, error);
      },
    });
  }

  /** Takes a connection to the HBONE port. */
  handleHbone(socket: Socket): void {
    this.#count(socket);
    this.#server.handle(socket);
  }

  /** Proxies a redirected plaintext connection. Never rejects. */
  async handlePlaintext(socket: Socket): Promise<void> {
    const start = performance.now();
    this.#count(socket);
    socket.on('error', () => undefined);
    const client = { host: socketAddress(socket.remoteAddress), port: socket.remotePort ?? 0 };
    if (client.host === '') return;
    const original = originalDestination(socket);
    const target = original ?? { address: socketAddress(socket.localAddress), port: socket.localPort ?? 0 };
    const destination = { host: socketAddress(target.address), port: target.port };
    let workload: Workload;
    try {
      if (this.#illegalPorts.has(destination.port)) throw new IsthmusError('ZTUNNEL_SELF_CALL', 'attempted recursive call to ourselves');
      workload = await this.#context.workload();
    } catch (error) {
      socket.resetAndDestroy();
      this.#logFailed(client, destination, error);
      return;
    }
    const record = this.#plaintextRecord(client, destination, workload, start);
    try {
      using held = new DisposableStack();
      const admission = held.use(this.#admit(workload, undefined, client, destination));
      held.use(this.#list(client, destination, destination, 'TCP'));
      const upstream = await this.#connectApplication(client, destination, admission.signal);
      const signal = AbortSignal.any([admission.signal, this.#context.stopped]);
      await relaySockets(socket, upstream, { onForward: record.forwarded, onBackward: record.returned, signal });
      record.finish();
    } catch (error) {
      socket.resetAndDestroy();
      record.finish(error);
    }
  }

  /** HBONE connections take no new streams and close after their last. */
  drain(): void {
    this.#server.drain();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }

  #count(socket: Socket): void {
    const { metrics } = this.#context;
    metrics.socketOpened('destination');
    socket.once('close', () => {
      metrics.socketClosed('destination');
    });
  }

  async #serve(request: IncomingConnect): Promise<void> {
    const start = performance.now();
    const client = clientOf(request);
    const local = { host: socketAddress(request.localAddress), port: request.localPort };
    let inbound: InboundRequest;
    let workload: Workload;
    try {
      workload = await this.#context.workload();
      inbound = decideInbound({
        state: this.#context.state,
        authority: request.authority,
        podAddress: local.host,
        workload,
        network: this.#context.config.network,
        illegalPorts: this.#illegalPorts,
      });
    } catch (error) {
      this.#logFailed(client, local, error);
      request.refuse(error instanceof IsthmusError && isBadRequest(error) ? 400 : 503);
      return;
    }
    const record = this.#hboneRecord(request, inbound, workload, { client, local, start });
    try {
      using held = new DisposableStack();
      const admission = held.use(this.#admit(workload, request.peerIdentity, client, inbound.destination));
      held.use(this.#list(client, local, inbound.destination, 'HBONE'));
      const signal = AbortSignal.any([admission.signal, this.#context.stopped]);
      const application = await this.#connectApplication(
        client,
        inbound.destination,
        AbortSignal.any([signal, request.gone]),
        inbound.loopback,
      );
      const stream = request.accept(this.#context.config.baggage ? [['baggage', baggageOf(workload)]] : []);
      if (inbound.proxyProtocol)
        application.write(proxyProtocolHeader({ client, target: inbound.tunnelTarget, identity: request.peerIdentity }));
      await relayTunnel(application, stream, { onForward: record.returned, onBackward: record.forwarded, signal });
      record.finish();
    } catch (error) {
      record.finish(error);
      request.refuse(error instanceof IsthmusError && error.code === 'ZTUNNEL_POLICY_DENIED' ? 401 : 503);
    }
  }

  #admit(destination: Workload, identity: string | undefined, client: SocketTarget, target: SocketTarget): Admission {
    return this.#context.connections.admit({
      destination,
      rbac: { identity, sourceIp: client.host, destinationIp: target.host, destinationPort: target.port },
    });
  }

  #list(client: SocketTarget, original: SocketTarget, actual: SocketTarget, protocol: 'TCP' | 'HBONE'): Disposable {
    return this.#context.connections.list({
      direction: 'inbound',
      pod: this.#context.uid,
      src: formatHostPort(client.host, client.port),
      originalDst: formatHostPort(original.host, original.port),
      actualDst: formatHostPort(actual.host, actual.port),
      protocol,
    });
  }

  /**
   * Connects to the application in the pod, from the client's own address if possible: the application then sees who
   * calls. Where the address cannot be used (no CAP_NET_ADMIN), it sees the pod's.
   */
  async #connectApplication(client: SocketTarget, target: SocketTarget, signal: AbortSignal, loopback = false): Promise<Socket> {
    const { config, namespace } = this.#context;
    const options = {
      namespace,
      host: loopback ? (target.host.includes(':') ? '::1' : '127.0.0.1') : target.host,
      port: target.port,
      allowHalfOpen: true,
      signal,
      ...(config.packetMark === undefined ? {} : { mark: config.packetMark }),
    };
    const keepsAddress =
      config.originalSource !== 'never' && !loopback && client.host !== target.host && sameFamily(client.host, target.host);
    if (!keepsAddress) return connectTcp(options);
    try {
      return await connectTcp({ ...options, sourceAddress: client.host });
    } catch (error) {
      const cannotUse = error instanceof SyscallError && error.syscall !== 'connect';
      if (!cannotUse || config.originalSource === 'always') throw error;
      return connectTcp(options);
    }
  }

  #hboneRecord(
    request: IncomingConnect,
    inbound: InboundRequest,
    workload: Workload,
    ends: { readonly client: SocketTarget; readonly local: SocketTarget; readonly start: number },
  ): ConnectionRecord {
    const { state, config } = this.#context;
    const origin = request.headers.get('x-forwarded-network')?.[0];
    // A client behind a gateway has an address that means something else here: only its baggage says who it is.
    const fromGateway = origin !== undefined && origin.toLowerCase() !== config.network.toLowerCase();
    const baggage: DerivedWorkload = config.baggage ? parseBaggage(request.headers.get('baggage') ?? []) : {};
    return new ConnectionRecord(
      {
        direction: 'inbound',
        source: ends.client,
        destination: ends.local,
        hboneAddress: request.authority,
        mutualTls: true,
        sourceWorkload: fromGateway ? undefined : state.workloads.byAddress(config.network, ends.client.host),
        derivedSource: { ...baggage, identity: request.peerIdentity },
        destinationWorkload: workload,
        destinationService: guessService(
          state,
          workload,
          inbound.destination.port,
          parseForwardedHost(request.headers.get('forwarded')?.[0]),
        ),
      },
      this.#context,
      ends.start,
    );
  }

  #plaintextRecord(client: SocketTarget, destination: SocketTarget, workload: Workload, start: number): ConnectionRecord {
    const { state, config } = this.#context;
    return new ConnectionRecord(
      {
        direction: 'inbound',
        source: client,
        destination,
        mutualTls: false,
        sourceWorkload: state.workloads.byAddress(config.network, client.host),
        destinationWorkload: workload,
        destinationService: guessService(state, workload, destination.port, undefined),
      },
      this.#context,
      start,
    );
  }

  #logFailed(client: SocketTarget, destination: SocketTarget, error: unknown): void {
    this.#context.accessLog.failed({
      'src.addr': formatHostPort(client.host, client.port),
      'dst.addr': formatHostPort(destination.host, destination.port),
      direction: 'inbound',
      error: failureText(error, 'inbound'),
    });
  }
}

function clientOf(ends: ConnectionEnds): SocketTarget {
  return { host: socketAddress(ends.remoteAddress), port: ends.remotePort };
}

function isBadRequest(error: IsthmusError): boolean {
  return error.code === 'ZTUNNEL_DESTINATION_MISMATCH';
}

function sameFamily(a: string, b: string): boolean {
  return a.includes(':') === b.includes(':');
}
