import { Counter, Gauge, type Registry } from 'prom-client';

/** What peering counts. */
export interface PeeringMetrics {
  /** 1 while the stream from a peer is up. */
  readonly connected: Gauge<'peer'>;
  /** Services and workloads that are imported from a peer. */
  readonly imported: Gauge<'peer' | 'kind'>;
  /** What was refused, by code. */
  readonly refused: Counter<'peer' | 'code'>;
  /** Entries written: created, updated, deleted, error. */
  readonly writes: Counter<'kind' | 'result'>;
}

export function createPeeringMetrics(registry: Registry): PeeringMetrics {
  const registers = [registry];
  return {
    connected: new Gauge({
      name: 'isthmus_peering_connected',
      help: 'Whether the stream from a peer is up.',
      labelNames: ['peer'],
      registers,
    }),
    imported: new Gauge({
      name: 'isthmus_peering_imported',
      help: 'Services and workloads imported from a peer.',
      labelNames: ['peer', 'kind'],
      registers,
    }),
    refused: new Counter({
      name: 'isthmus_peering_refused_total',
      help: 'What peers said and was not believed.',
      labelNames: ['peer', 'code'],
      registers,
    }),
    writes: new Counter({ name: 'isthmus_peering_writes_total', help: 'Writes of entries.', labelNames: ['kind', 'result'], registers }),
  };
}
