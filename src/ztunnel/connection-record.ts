import type { AccessLog } from './access-log.ts';
import { failureText, responseFlag } from './failures.ts';
import type { TrafficLabels, TrafficSeries, ZtunnelMetrics } from './metrics.ts';
import { formatHostPort } from './state/address.ts';
import { workloadIdentity, type Service, type Workload } from './state/model.ts';

/** What is known of a peer from its certificate and its baggage alone. */
export interface DerivedWorkload {
  readonly identity?: string | undefined;
  readonly clusterId?: string | undefined;
  readonly namespace?: string | undefined;
  readonly workloadName?: string | undefined;
  readonly canonicalName?: string | undefined;
  readonly canonicalRevision?: string | undefined;
  readonly region?: string | undefined;
  readonly zone?: string | undefined;
}

export interface ConnectionDescription {
  readonly direction: 'inbound' | 'outbound';
  readonly source: { readonly host: string; readonly port: number };
  /** The next hop at layer 4. */
  readonly destination: { readonly host: string; readonly port: number };
  /** The authority of the CONNECT. */
  readonly hboneAddress?: string | undefined;
  readonly mutualTls: boolean;
  readonly sourceWorkload?: Workload | undefined;
  readonly derivedSource?: DerivedWorkload | undefined;
  readonly destinationWorkload?: Workload | undefined;
  readonly destinationService?: Service | undefined;
}

/** One proxied connection in the access log and the metrics, from its opening to its end. */
export class ConnectionRecord {
  readonly #description: ConnectionDescription;
  readonly #accessLog: AccessLog;
  readonly #labels: TrafficLabels;
  readonly #series: TrafficSeries;
  readonly #start: number;
  /** From the client's side to the server's, and back. */
  #forward = 0;
  #backward = 0;
  #over = false;

  constructor(
    description: ConnectionDescription,
    shared: { readonly accessLog: AccessLog; readonly metrics: ZtunnelMetrics },
    /** performance.now() when the connection was accepted. */
    start: number,
  ) {
    this.#description = description;
    this.#accessLog = shared.accessLog;
    this.#start = start;
    this.#labels = labelsOf(description);
    this.#series = shared.metrics.series(this.#labels);
    this.#series.opened += 1;
  }

  /** Bytes from the client towards the server. */
  readonly forwarded = (size: number): void => {
    this.#forward += size;
    this.#series.received += size;
  };

  /** Bytes from the server towards the client. */
  readonly returned = (size: number): void => {
    this.#backward += size;
    this.#series.sent += size;
  };

  /** The connection is over, with what broke it if anything did. Only the first call counts. */
  finish(error?: unknown): void {
    if (this.#over) return;
    this.#over = true;
    const flag = error === undefined ? '-' : responseFlag(error);
    this.#series.closed.set(flag, (this.#series.closed.get(flag) ?? 0) + 1);
    const {
      direction,
      source,
      destination,
      hboneAddress,
      mutualTls,
      sourceWorkload,
      derivedSource,
      destinationWorkload,
      destinationService,
    } = this.#description;
    const labels = this.#labels;
    const outbound = direction === 'outbound';
    this.#accessLog.complete({
      'src.addr': formatHostPort(source.host, source.port),
      'src.workload': known(sourceWorkload?.name ?? derivedSource?.canonicalName),
      'src.namespace': known(labels.source_workload_namespace),
      'src.identity': mutualTls ? known(labels.source_principal) : undefined,
      'src.cluster': known(labels.source_cluster),
      'dst.addr': formatHostPort(destination.host, destination.port),
      'dst.hbone_addr': hboneAddress,
      'dst.service': destinationService?.hostname,
      'dst.workload': known(destinationWorkload?.name),
      'dst.namespace': known(labels.destination_workload_namespace),
      'dst.identity': mutualTls ? known(labels.destination_principal) : undefined,
      'dst.cluster': known(labels.destination_cluster),
      direction,
      // Seen from this workload: a server sends what goes back to its client.
      bytes_sent: outbound ? this.#forward : this.#backward,
      bytes_recv: outbound ? this.#backward : this.#forward,
      duration: `${Math.floor(performance.now() - this.#start)}ms`,
      error: error === undefined ? undefined : failureText(error, direction),
    });
  }
}

function known(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

/** Labels as upstream fills them: the control plane's word about the source wins over what its baggage says. */
function labelsOf(connection: ConnectionDescription): TrafficLabels {
  const { sourceWorkload: source, derivedSource: derived, destinationWorkload: destination, destinationService: service } = connection;
  return {
    reporter: connection.direction === 'outbound' ? 'source' : 'destination',
    source_workload: source?.workloadName ?? derived?.workloadName,
    source_canonical_service: source?.canonicalName ?? derived?.canonicalName,
    source_canonical_revision: source?.canonicalRevision ?? derived?.canonicalRevision,
    source_workload_namespace: source?.namespace ?? derived?.namespace,
    // Never from the control plane: only what the peer has proved.
    source_principal: derived?.identity,
    source_app: source?.canonicalName ?? derived?.workloadName,
    source_version: source?.canonicalRevision ?? derived?.canonicalRevision,
    source_cluster: source?.clusterId ?? derived?.clusterId,
    destination_service: service?.hostname,
    destination_service_namespace: service?.namespace,
    destination_service_name: service?.name,
    destination_workload: destination?.workloadName,
    destination_canonical_service: destination?.canonicalName,
    destination_canonical_revision: destination?.canonicalRevision,
    destination_workload_namespace: destination?.namespace,
    destination_principal: destination === undefined ? undefined : workloadIdentity(destination),
    destination_app: destination?.canonicalName,
    destination_version: destination?.canonicalRevision,
    destination_cluster: destination?.clusterId,
    request_protocol: 'tcp',
    connection_security_policy: connection.mutualTls ? 'mutual_tls' : 'unknown',
    source_region: source?.locality.region ?? derived?.region,
    source_zone: source?.locality.zone ?? derived?.zone,
    destination_region: destination?.locality.region,
    destination_zone: destination?.locality.zone,
  };
}
