import { collectDefaultMetrics, Gauge, type Registry } from 'prom-client';

import { version } from '../../api/version.ts';
import type { CertificateSource } from './certificate.ts';

/** What the process says of itself, beside the metrics of peering. */
export function processMetrics(options: {
  readonly registry: Registry;
  readonly clusterId: string;
  readonly connections: () => number;
  readonly certificate: CertificateSource;
}): void {
  const { registry, clusterId, connections, certificate } = options;
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({ name: 'isthmus_build_info', help: 'Version of Isthmus; always 1.', labelNames: ['version', 'cluster'], registers }).set(
    { version, cluster: clusterId },
    1,
  );
  new Gauge({
    name: 'isthmus_peering_clients',
    help: 'Peers that are connected to this replica to read what the cluster exports.',
    registers,
    collect() {
      this.set(connections());
    },
  });
  new Gauge({
    name: 'isthmus_peering_certificate_expiry_timestamp_seconds',
    help: 'When the certificate of this process expires, seconds since 1970.',
    registers,
    collect() {
      if (certificate.expiresAt !== undefined) this.set(certificate.expiresAt / 1000);
    },
  });
}
