import { readdirSync, readFileSync } from 'node:fs';

import { version } from '../api/version.ts';
import { renderFamilies, type MetricFamily } from './exposition.ts';
import type { ResponseFlag } from './failures.ts';

/** Labels of the traffic metrics in upstream's order; a value that is not known reads `unknown`. */
export const trafficLabels = [
  'reporter',
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_service',
  'destination_service_namespace',
  'destination_service_name',
  'destination_workload',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_cluster',
  'request_protocol',
  'response_flags',
  'connection_security_policy',
  'source_region',
  'source_zone',
  'destination_region',
  'destination_zone',
] as const;

export type TrafficLabels = Readonly<Partial<Record<(typeof trafficLabels)[number], string | undefined>>>;

/** The numbers of all connections with equal labels; written by the data path, read at a scrape. */
export interface TrafficSeries {
  opened: number;
  received: number;
  sent: number;
  readonly closed: Map<ResponseFlag, number>;
}

/** Series are bounded: labels come from peers (baggage) and must not fill the memory. Further ones count together. */
const maxSeries = 20_000;

/** What the node proxy counts, with upstream's names. */
export class ZtunnelMetrics {
  readonly #series = new Map<string, { readonly labels: TrafficLabels; readonly series: TrafficSeries }>();
  readonly #openSockets = { source: 0, destination: 0 };
  readonly #xdsMessages = new Map<string, { messages: number; bytes: number }>();
  readonly #xdsTerminations = new Map<string, number>();
  readonly proxies = { active: 0, pending: 0, started: 0, stopped: 0 };
  readonly #extra: (() => readonly MetricFamily[])[] = [];

  /** The series of these labels; a connection looks it up once and counts on it. */
  series(labels: TrafficLabels): TrafficSeries {
    const key = trafficLabels.map((name) => labels[name] ?? '').join('\0');
    let entry = this.#series.get(key);
    if (entry === undefined) {
      if (this.#series.size >= maxSeries) return this.series({ reporter: labels.reporter });
      entry = { labels, series: { opened: 0, received: 0, sent: 0, closed: new Map() } };
      this.#series.set(key, entry);
    }
    return entry.series;
  }

  socketOpened(reporter: 'source' | 'destination'): void {
    this.#openSockets[reporter] += 1;
  }

  socketClosed(reporter: 'source' | 'destination'): void {
    this.#openSockets[reporter] -= 1;
  }

  xdsMessage(typeUrl: string, bytes: number): void {
    const entry = this.#xdsMessages.get(typeUrl) ?? { messages: 0, bytes: 0 };
    entry.messages += 1;
    entry.bytes += bytes;
    this.#xdsMessages.set(typeUrl, entry);
  }

  xdsTerminated(reason: 'ConnectionError' | 'Reconnect' | 'Error' | 'Complete'): void {
    this.#xdsTerminations.set(reason, (this.#xdsTerminations.get(reason) ?? 0) + 1);
  }

  /** Lets another part of the process contribute families to each scrape. */
  register(collect: () => readonly MetricFamily[]): void {
    this.#extra.push(collect);
  }

  /** All metrics as OpenMetrics text. */
  render(): string {
    return renderFamilies([
      ...this.#processFamilies(),
      ...this.#xdsFamilies(),
      ...this.#trafficFamilies(),
      ...this.#extra.flatMap((collect) => collect()),
    ]);
  }

  #processFamilies(): MetricFamily[] {
    const gauge = (name: string, help: string, value: number, labels = {}): MetricFamily => ({
      name,
      help,
      type: 'gauge',
      samples: [{ labels, value }],
    });
    const counter = (name: string, help: string, value: number): MetricFamily => ({
      name,
      help,
      type: 'counter',
      samples: [{ labels: {}, value }],
    });
    return [
      gauge('process_open_fds', 'Number of open file descriptors', readdirSync('/proc/self/fd').length),
      gauge('process_max_fds', 'Maximum number of file descriptors', maxOpenFiles()),
      gauge('istio_build', 'Istio component build info.', 1, { component: 'ztunnel', tag: version }),
      gauge(
        'workload_manager_active_proxy_count',
        'The total number current workloads with active proxies (unstable).',
        this.proxies.active,
      ),
      gauge(
        'workload_manager_pending_proxy_count',
        'The total number current workloads with pending proxies (unstable).',
        this.proxies.pending,
      ),
      counter('workload_manager_proxies_started', 'The total number of proxies that were started (unstable).', this.proxies.started),
      counter('workload_manager_proxies_stopped', 'The total number of proxies that were stopped (unstable).', this.proxies.stopped),
      {
        name: 'istio_tcp_sockets_open',
        help: 'The current number of open TCP sockets (unstable).',
        type: 'gauge',
        samples: Object.entries(this.#openSockets).map(([reporter, value]) => ({ labels: { reporter }, value })),
      },
    ];
  }

  #xdsFamilies(): MetricFamily[] {
    const messages = [...this.#xdsMessages];
    return [
      {
        name: 'istio_xds_connection_terminations',
        help: 'The total number of completed connections to xds server (unstable).',
        type: 'counter',
        samples: [...this.#xdsTerminations].map(([reason, value]) => ({ labels: { reason }, value })),
      },
      {
        name: 'istio_xds_message',
        help: 'Total number of messages received (unstable).',
        type: 'counter',
        samples: messages.map(([url, { messages: value }]) => ({ labels: { url }, value })),
      },
      {
        name: 'istio_xds_message_bytes',
        help: 'Total number of bytes received (unstable).',
        type: 'counter',
        unit: 'bytes',
        samples: messages.map(([url, { bytes: value }]) => ({ labels: { url }, value })),
      },
    ];
  }

  #trafficFamilies(): MetricFamily[] {
    const all = [...this.#series.values()];
    const live = (name: string, help: string, value: (series: TrafficSeries) => number, unit?: string): MetricFamily => ({
      name,
      help,
      type: 'counter',
      ...(unit === undefined ? {} : { unit }),
      samples: all.map(({ labels, series }) => ({ labels: traffic(labels, '-'), value: value(series) })),
    });
    const closed = (name: string, help: string, counts: (flag: ResponseFlag) => boolean): MetricFamily => ({
      name,
      help,
      type: 'counter',
      samples: all.flatMap(({ labels, series }) =>
        [...series.closed].filter(([flag]) => counts(flag)).map(([flag, value]) => ({ labels: traffic(labels, flag), value })),
      ),
    });
    return [
      live('istio_tcp_connections_opened', 'The total number of TCP connections opened.', ({ opened }) => opened),
      closed('istio_tcp_connections_closed', 'The total number of TCP connections closed.', () => true),
      live(
        'istio_tcp_received_bytes',
        'The size of total bytes received during request in case of a TCP connection.',
        ({ received }) => received,
      ),
      live('istio_tcp_sent_bytes', 'The size of total bytes sent during response in case of a TCP connection.', ({ sent }) => sent),
      closed(
        'istio_tcp_connections_failed',
        'The total number of TCP connections that failed to establish (unstable).',
        (flag) => flag !== '-',
      ),
    ];
  }
}

function traffic(labels: TrafficLabels, flag: ResponseFlag): Record<string, string> {
  const full: Record<string, string> = {};
  for (const name of trafficLabels)
    full[name] = name === 'response_flags' ? flag : (labels[name] ?? '') === '' ? 'unknown' : (labels[name] ?? '');
  return full;
}

function maxOpenFiles(): number {
  return Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 0);
}
