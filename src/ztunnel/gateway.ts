import type { Socket } from 'node:net';

import { describeError, type Logger } from '../core/index.ts';
import { relaySockets } from '../hbone/index.ts';
import { NetworkNamespace } from '../linux/index.ts';
import { connect } from './dial.ts';
import type { MetricFamily } from './exposition.ts';
import { openMetricsContentType, renderFamilies } from './exposition.ts';
import { judgeBuffersByHeap } from './garbage.ts';
import { HttpEndpoints } from './http-endpoints.ts';
import { Listener } from './listener.ts';
import { Readiness } from './readiness.ts';
import { formatHostPort, socketAddress } from './state/address.ts';

export interface GatewayOptions {
  /** Where the control port leads: `host:port`, resolved anew for each connection. */
  readonly peeringAddress: { readonly host: string; readonly port: number };
  readonly ports: GatewayPorts;
  /** `::` or `0.0.0.0`. */
  readonly host: string;
  readonly log: Logger;
  readonly drainDeadlineMs: number;
}

/** Default 15012, 15008, 15021, 15020; 0 for any free one. */
export interface GatewayPorts {
  readonly control: number;
  readonly hbone: number;
  readonly readiness: number;
  readonly stats: number;
}

export interface Gateway extends AsyncDisposable {
  /** The ports that are open. */
  readonly ports: GatewayPorts;
  /** Stops accepting, gives open connections the deadline, then stops. */
  drain(): Promise<void>;
}

interface PortCounters {
  opened: number;
  open: number;
  failed: number;
  refused: number;
  received: number;
  sent: number;
}

/**
 * The east-west gateway: what one cluster shows to others. It passes the control port on to the peering service without
 * looking into it (TLS stays between the two control planes). On a flat network no traffic of workloads comes here, and
 * what comes to its HBONE port is refused (ZTUNNEL_GATEWAY_HBONE in the log) and counted.
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  judgeBuffersByHeap();
  const { host, log, ports } = options;
  const stop = new AbortController();
  const counters = { control: newCounters(), hbone: newCounters() };
  const namespace = NetworkNamespace.current();
  const shared = { namespace, host, mark: undefined, reusePort: false };
  await using opened = new AsyncDisposableStack();
  const control = opened.use(
    await Listener.open({
      ...shared,
      port: ports.control,
      keepAlive: { time: 60, interval: 30, retries: 3 },
      onConnection: (socket) => void passOn(socket, options, counters.control, stop.signal),
    }),
  );
  const hbone = opened.use(
    await Listener.open({
      ...shared,
      port: ports.hbone,
      onConnection: (socket) => {
        refuse(socket, counters.hbone, log);
      },
    }),
  );
  const readiness = new Readiness([]);
  const probe = opened.use(await readiness.listen({ host, port: ports.readiness }));
  const stats = opened.use(
    await HttpEndpoints.listen({
      host,
      port: ports.stats,
      paths: {
        '/metrics': { method: 'GET', handle: () => ({ type: openMetricsContentType, body: renderFamilies(families(counters)) }) },
        '/stats/prometheus': { method: 'GET', handle: () => ({ type: openMetricsContentType, body: renderFamilies(families(counters)) }) },
      },
    }),
  );
  const running = opened.move();
  const open = { control: control.port, hbone: hbone.port, readiness: probe.port, stats: stats.port };
  log.info({ ports: open, peering: formatHostPort(options.peeringAddress.host, options.peeringAddress.port) }, 'gateway is listening');
  const dispose = async (): Promise<void> => {
    stop.abort(new Error('the gateway stops'));
    await running.disposeAsync();
  };
  return {
    ports: open,
    drain: async () => {
      readiness.set('draining', false);
      control.close();
      hbone.close();
      await control.drained(options.drainDeadlineMs);
      await dispose();
    },
    [Symbol.asyncDispose]: dispose,
  };
}

async function passOn(socket: Socket, { peeringAddress, log }: GatewayOptions, counters: PortCounters, signal: AbortSignal): Promise<void> {
  const client = formatHostPort(socketAddress(socket.remoteAddress), socket.remotePort ?? 0);
  counters.opened += 1;
  counters.open += 1;
  socket.on('error', () => undefined);
  try {
    const upstream = await connect({ ...peeringAddress, signal });
    await relaySockets(socket, upstream, {
      onForward: (size) => {
        counters.received += size;
      },
      onBackward: (size) => {
        counters.sent += size;
      },
      signal,
    });
  } catch (error) {
    socket.resetAndDestroy();
    if (signal.aborted) return;
    counters.failed += 1;
    log.warn(
      { client, peering: formatHostPort(peeringAddress.host, peeringAddress.port), error: describeError(error) },
      'control connection failed',
    );
  } finally {
    counters.open -= 1;
  }
}

function refuse(socket: Socket, counters: PortCounters, log: Logger): void {
  counters.opened += 1;
  counters.refused += 1;
  const client = formatHostPort(socketAddress(socket.remoteAddress), socket.remotePort ?? 0);
  socket.on('error', () => undefined).resetAndDestroy();
  log.warn({ client, code: 'ZTUNNEL_GATEWAY_HBONE' }, 'HBONE refused: this gateway carries no traffic of other networks');
}

function newCounters(): PortCounters {
  return { opened: 0, open: 0, failed: 0, refused: 0, received: 0, sent: 0 };
}

function families(counters: Readonly<Record<'control' | 'hbone', PortCounters>>): MetricFamily[] {
  const family = (name: string, help: string, type: 'counter' | 'gauge', value: (of: PortCounters) => number): MetricFamily => ({
    name,
    help,
    type,
    samples: Object.entries(counters).map(([port, of]) => ({ labels: { port }, value: value(of) })),
  });
  return [
    family('isthmus_gateway_connections_opened', 'Connections that came to a port of the gateway.', 'counter', ({ opened }) => opened),
    family('isthmus_gateway_connections_open', 'Connections that are open.', 'gauge', ({ open }) => open),
    family('isthmus_gateway_connections_failed', 'Connections that could not be passed on or broke.', 'counter', ({ failed }) => failed),
    family('isthmus_gateway_connections_refused', 'Connections that the gateway does not carry.', 'counter', ({ refused }) => refused),
    family('isthmus_gateway_received_bytes', 'Bytes received from clients.', 'counter', ({ received }) => received),
    family('isthmus_gateway_sent_bytes', 'Bytes sent to clients.', 'counter', ({ sent }) => sent),
  ];
}
