import { Counter, Gauge, type Registry } from 'prom-client';

/** What peering counts as it happens. */
export interface PeeringMetrics {
  /** What was refused, by code. */
  readonly refused: Counter<'peer' | 'code'>;
  /** Entries written: created, updated, deleted, error. Those that are not one peer's own, such as ServiceEntries, have the peer ''. */
  readonly writes: Counter<'peer' | 'kind' | 'result'>;
  /** Connections to a peer after its first. */
  readonly reconnects: Counter<'peer'>;
}

/** What is to be seen of one peer at a moment. Times are milliseconds since 1970. */
export interface PeerObservation {
  /** Its cluster id, as far as it is known; else the name of its Gateway. */
  readonly peer: string;
  readonly isConnected: boolean;
  /** When the peer was last heard of: by a message, or by its answer to a ping. Undefined: never. */
  readonly lastHeardAt: number | undefined;
  /** While it is not in sync: since when something may have changed that is not known. Undefined: it is in sync. */
  readonly unknownSince: number | undefined;
  readonly services: number;
  readonly workloads: number;
}

/** What is to be seen of peering at a moment. */
export interface PeeringObservation {
  readonly peers: readonly PeerObservation[];
  readonly exported: { readonly services: number; readonly workloads: number };
  /** Undefined: another replica writes. */
  readonly writing:
    | {
        /** Entries that wait to be written; undefined: those that are not one peer's own. */
        readonly pendingOf: (peer: string | undefined) => number;
        /** When the oldest change that is not written yet was made. */
        readonly oldestChange: (peer: string) => number | undefined;
      }
    | undefined;
}

export function createPeeringMetrics(registry: Registry): PeeringMetrics {
  const registers = [registry];
  return {
    refused: new Counter({
      name: 'isthmus_peering_refused_total',
      help: 'What peers said and was not believed.',
      labelNames: ['peer', 'code'],
      registers,
    }),
    writes: new Counter({
      name: 'isthmus_peering_writes_total',
      help: 'Writes of entries.',
      labelNames: ['peer', 'kind', 'result'],
      registers,
    }),
    reconnects: new Counter({
      name: 'isthmus_peering_reconnects_total',
      help: 'Connections to a peer after its first.',
      labelNames: ['peer'],
      registers,
    }),
  };
}

/** Shows what `observe` sees whenever the metrics are read: a peer that is gone has no series. */
export function showPeering(registry: Registry, observe: () => PeeringObservation): void {
  const gauge = <Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    show: (set: (labels: Partial<Record<Label, string>>, value: number) => void) => void,
  ): void => {
    new Gauge({
      name: `isthmus_peering_${name}`,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        show((labels, value) => this.set(labels, value));
      },
    });
  };
  const secondsSince = (time: number): number => Math.max(0, Date.now() - time) / 1000;

  gauge('leading', 'Whether this replica writes.', [], (set) => set({}, observe().writing === undefined ? 0 : 1));
  gauge('exported', 'Services and workloads that this cluster tells its peers.', ['kind'], (set) => {
    const { services, workloads } = observe().exported;
    set({ kind: 'service' }, services);
    set({ kind: 'workload' }, workloads);
  });
  gauge('connected', 'Whether the stream from a peer is up.', ['peer'], (set) => {
    for (const { peer, isConnected } of observe().peers) set({ peer }, isConnected ? 1 : 0);
  });
  gauge('imported', 'Services and workloads imported from a peer.', ['peer', 'kind'], (set) => {
    for (const { peer, services, workloads } of observe().peers) {
      set({ peer, kind: 'service' }, services);
      set({ peer, kind: 'workload' }, workloads);
    }
  });
  gauge('last_message_seconds', 'Time since a peer was heard of, by a message or the answer to a ping.', ['peer'], (set) => {
    for (const { peer, lastHeardAt } of observe().peers) if (lastHeardAt !== undefined) set({ peer }, secondsSince(lastHeardAt));
  });
  gauge(
    'behind_seconds',
    'Age of the oldest change of a peer that is not written; while it is away, time since it was in sync.',
    ['peer'],
    (set) => {
      const { peers, writing } = observe();
      for (const { peer, unknownSince } of peers) {
        const since = [unknownSince, writing?.oldestChange(peer)].filter((time) => time !== undefined);
        set({ peer }, since.length === 0 ? 0 : secondsSince(Math.min(...since)));
      }
    },
  );
  gauge(
    'queue_length',
    "Entries that wait to be written, of a peer or ('') of no single one; of the replica that writes.",
    ['peer'],
    (set) => {
      const { peers, writing } = observe();
      if (writing === undefined) return;
      set({ peer: '' }, writing.pendingOf(undefined));
      for (const { peer } of peers) set({ peer }, writing.pendingOf(peer));
    },
  );
}
