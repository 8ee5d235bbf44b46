import type { X509Certificate } from 'node:crypto';
import type { Duplex } from 'node:stream';

import { create, toBinary } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { Registry } from 'prom-client';

import { ClusterSchema, FederatedServiceSchema } from '../api/gen/isthmus/peering_pb.js';
import { WorkloadSchema } from '../api/gen/istio/workload_pb.js';
import type { Gateway, Namespace, Node, Pod, Service, ServiceEntry, WorkloadEntry } from '../api/kubernetes.ts';
import { typeUrls } from '../api/names.ts';
import type { Collection, Graph } from '../collections/index.ts';
import type { Logger } from '../core/index.ts';
import { EventRecorder, type KubeClient, type Lead } from '../kube/index.ts';
import { issuerOf, publicKeySha256 } from '../pki/index.ts';
import { ResourceTable } from '../xds/index.ts';
import { deriveEntries, type DesiredEntries } from './desired-entries.ts';
import { serviceEntryName } from './entry-names.ts';
import { EntryWriter } from './entry-writer.ts';
import { deriveExports, type Exports } from './exports.ts';
import { GatewayStatusWriter } from './gateway-status.ts';
import { Importer } from './importer.ts';
import { createPeeringMetrics, showPeering, type PeeringMetrics, type PeeringObservation } from './metrics.ts';
import type { PeeringOptions } from './options.ts';
import { readPeerGateway } from './peer-gateway.ts';
import { peeringIdentity } from './peer-identity.ts';
import type { PeeringCredentials } from './peer-link.ts';
import { tellFindings } from './tell-findings.ts';

/** The objects that peering reads, by `<namespace>/<name>`, or by name where there is no namespace. */
export interface PeeringInputs {
  readonly namespaces: Collection<Namespace>;
  readonly nodes: Collection<Node>;
  readonly pods: Collection<Pod>;
  readonly services: Collection<Service>;
  readonly gateways: Collection<Gateway>;
  readonly serviceEntries: Collection<ServiceEntry>;
  readonly workloadEntries: Collection<WorkloadEntry>;
}

export interface PeeringConfig extends PeeringOptions {
  readonly client: KubeClient;
  readonly graph: Graph;
  readonly inputs: PeeringInputs;
  /** Resolves when the inputs hold what the API server had at the start. Before, nobody is told anything, and nothing is written. */
  readonly synced: Promise<unknown>;
  /** This process's certificate with a peering identity (`sa/istiod` or `sa/isthmus-peering`), asked for at each connection. */
  readonly credentials: () => PeeringCredentials | Promise<PeeringCredentials>;
  /**
   * The authority that signs {@link credentials}, hex SHA-256 of its public key. Peers that pinned one are told of its successor while a
   * connection that the old one signed is up; without this, a renewed authority has to be pinned by hand.
   */
  readonly authority?: { readonly fingerprint: () => string; readonly onChange: (handler: () => void) => () => void };
  /** How long a peer's entries are kept while it cannot be reached, milliseconds; default one hour. */
  readonly leaseMs?: number;
  /** Serve only peers that this cluster links to itself; default false: each Gateway is one direction. */
  readonly linkedPeersOnly?: boolean;
  /** Writes of entries a second, and at once after a quiet time; default 200 and 400. */
  readonly writeRate?: { readonly perSecond: number; readonly burst: number };
  /**
   * Runs what only one replica may do (writing) while it leads; default: always. With several replicas, pass one that uses a Lease.
   */
  readonly lead?: (run: Lead, signal: AbortSignal) => Promise<void>;
  /** Default: a registry of its own, which nobody reads. */
  readonly registry?: Registry;
  /** Opens connections to peers; default: ordinary ones. */
  readonly connect?: (signal: AbortSignal) => Promise<Duplex>;
  readonly log: Logger;
}

const defaultLeaseMs = 3_600_000;

/**
 * Peering of this cluster with others: what it exports, as tables for a delta xDS server, and what it imports, as entries in its own
 * API server. Make it before the graph's inputs are filled, serve {@link Peering.tables}, then {@link Peering.run}.
 */
export class Peering {
  /** For the XdsServer, in this order. */
  readonly tables: readonly ResourceTable[];
  readonly exports: Exports;
  readonly desired: DesiredEntries;
  readonly metrics: PeeringMetrics;
  readonly #config: PeeringConfig;
  readonly #importer: Importer;
  readonly #cluster = new ResourceTable({ typeUrl: typeUrls.peerCluster });
  readonly #services = new ResourceTable({ typeUrl: typeUrls.federatedService });
  readonly #workloads = new ResourceTable({ typeUrl: typeUrls.workload });
  readonly #status: GatewayStatusWriter;
  /** While this replica leads. */
  #writer: EntryWriter | undefined;
  #isServing = false;
  #authorities: readonly string[] = [];

  constructor(config: PeeringConfig) {
    this.#config = config;
    const { inputs, log } = config;
    this.#status = new GatewayStatusWriter({ gateways: inputs.gateways, log });
    this.tables = [this.#cluster, this.#services, this.#workloads];
    const { registry = new Registry() } = config;
    this.metrics = createPeeringMetrics(registry);
    showPeering(registry, () => this.#observe());
    this.exports = deriveExports(config.graph, config.inputs, config);
    this.#importer = new Importer(config.graph);
    this.desired = deriveEntries(config.graph, this.exports, this.#importer.peers, config);
  }

  #observe(): PeeringObservation {
    return {
      peers: this.#importer.observe(),
      exported: { services: this.exports.services.size, workloads: this.exports.workloads.size },
      writing: this.#writer,
    };
  }

  /** Whether a type is one of {@link tables}: to be given to peers only. */
  serves(typeUrl: string): boolean {
    return this.tables.some((table) => table.typeUrl === typeUrl);
  }

  /**
   * Whether the holder of a client certificate (already verified to chain to our roots) may have the tables: `true`, or why not.
   * Throws `Unavailable` before the tables are filled: an empty answer would be believed.
   */
  authorize(certificate: X509Certificate | undefined): true | string {
    const { rootNamespace, trustDomain, inputs, linkedPeersOnly } = this.#config;
    if (!this.#isServing) throw new ConnectError('peering is not ready', Code.Unavailable);
    const identity = certificate === undefined ? undefined : peeringIdentity(certificate, rootNamespace);
    const refusal = 'PEERING_CALLER: only the control plane of a peer may have this, by its client certificate';
    if (identity === undefined) return refusal;
    const linked = [...inputs.gateways.values()].flatMap((gateway) => readPeerGateway(gateway) ?? []);
    const isKnown = identity.trustDomain === trustDomain || linked.some((gateway) => gateway.trustDomain === identity.trustDomain);
    if (!isKnown) return `PEERING_CALLER: the trust domain ${identity.trustDomain} is not known here`;
    const issuer = certificate === undefined ? undefined : issuerOf(certificate);
    const signer = issuer === undefined ? undefined : publicKeySha256(issuer);
    if (linkedPeersOnly === true && !linked.some(({ pins }) => signer !== undefined && pins.includes(signer))) {
      return 'PEERING_CALLER: this cluster is not linked to yours';
    }
    return true;
  }

  /** Until the signal is aborted. Entries stay as they are then. */
  async run(signal: AbortSignal): Promise<void> {
    const { synced, lead, client } = this.#config;
    await synced;
    if (signal.aborted) return;
    const stop = this.#serve();
    try {
      const leading = lead === undefined ? this.#write(signal, client) : lead((until, leading) => this.#write(until, leading), signal);
      await Promise.all([this.#import(signal), leading]);
    } finally {
      stop();
    }
  }

  /** Keeps the tables as the exports are. */
  #serve(): () => void {
    const { authority } = this.#config;
    const stops = [
      this.exports.site.subscribe(() => this.#announce()),
      authority?.onChange(() => this.#announce()) ?? (() => undefined),
      follow(this.exports.services, this.#services, (service) => toBinary(FederatedServiceSchema, service)),
      follow(this.exports.workloads, this.#workloads, (workload) => toBinary(WorkloadSchema, workload)),
    ];
    this.#isServing = true;
    return () => {
      this.#isServing = false;
      for (const stop of stops) stop();
    };
  }

  /** Says who we are. An authority that was in use since the start stays announced: another replica may use it still. */
  #announce(): void {
    const { clusterId, trustDomain, rootNamespace, authority } = this.#config;
    const site = this.exports.site.get(rootNamespace);
    if (site === undefined) return;
    if (authority !== undefined) this.#authorities = [...new Set([authority.fingerprint(), ...this.#authorities])].slice(0, 4);
    const message = create(ClusterSchema, {
      clusterId,
      network: site.network,
      trustDomain,
      podRanges: [...site.podRanges],
      protocolVersion: 1,
      now: timestampNow(),
      caSha256: [...this.#authorities],
    });
    this.#cluster.set({ name: clusterId, body: toBinary(ClusterSchema, message) });
  }

  /** Follows the peers, and writes nothing: every replica does, so that whoever comes to lead knows them. */
  async #import(signal: AbortSignal): Promise<void> {
    const { inputs, credentials, leaseMs = defaultLeaseMs, connect, log } = this.#config;
    await this.#importer.run(
      {
        site: this.#config,
        gateways: inputs.gateways,
        ownSite: this.exports.site,
        desired: this.desired,
        credentials,
        leaseMs,
        onStatus: (key, state) => this.#status.set(key, state),
        onGone: (key) => this.#status.forget(key),
        onKnown: () => this.#writer?.reviewAll(),
        metrics: this.metrics,
        connect,
        log,
      },
      signal,
    );
  }

  /** What only one replica may do, by the client that it is given. */
  async #write(signal: AbortSignal, client: KubeClient): Promise<void> {
    const { inputs, log } = this.#config;
    const events = new EventRecorder({ client, component: 'isthmus-peering', log });
    const writer = new EntryWriter({
      client,
      desired: this.desired,
      actual: inputs,
      isKnown: (peer) => this.#importer.isKnown(peer),
      rate: this.#config.writeRate,
      changedAt: (peer) => this.#importer.changedAt(peer) ?? Date.now(),
      events,
      metrics: this.metrics,
      log,
    });
    this.#writer = writer;
    this.#importer.takeOver(events);
    const stop = this.#tellServices(events);
    const stopFindings = tellFindings({ desired: this.desired, inputs, events, metrics: this.metrics, log });
    try {
      await Promise.all([writer.run(signal), this.#status.run(client, signal)]);
    } finally {
      stop();
      stopFindings();
      this.#importer.standDown();
      this.#writer = undefined;
    }
  }

  /** Events on Services that are not exported, or about which clusters disagree. */
  #tellServices(events: EventRecorder): () => void {
    const { inputs, log, rootNamespace } = this.#config;
    const stops = [
      this.exports.refusals.subscribe((changes) => {
        for (const { key, after } of changes) {
          const about = inputs.services.get(key);
          if (after === undefined || about === undefined) continue;
          this.metrics.refused.inc({ peer: '', code: 'PEERING_SERVICE_UNSUPPORTED' });
          log.warn({ code: 'PEERING_SERVICE_UNSUPPORTED', service: key, reason: after.message }, 'service not exported');
          const message = `not global in all clusters: ${after.message}`;
          void events.record({ about, type: 'Warning', reason: 'PEERING_SERVICE_UNSUPPORTED', message });
        }
      }),
      this.desired.globals.subscribe((changes) => {
        for (const { key, before, after } of changes) {
          const conflicts = after?.conflicts.filter((conflict) => before?.conflicts.includes(conflict) !== true) ?? [];
          if (after === undefined || conflicts.length === 0) continue;
          const place = this.desired.placement === 'rootNamespace' ? rootNamespace : after.namespace;
          const entry = `${place}/${serviceEntryName(after.namespace, after.name)}`;
          const about = inputs.services.get(key) ?? inputs.serviceEntries.get(entry);
          log.warn({ code: 'PEERING_PORTS_DISAGREE', service: key, conflicts }, 'clusters disagree about a service');
          if (about !== undefined) {
            void events.record({ about, type: 'Warning', reason: 'PEERING_PORTS_DISAGREE', message: conflicts.join('; ').slice(0, 1000) });
          }
        }
      }),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }
}

function follow<T extends object>(collection: Collection<T>, table: ResourceTable, encode: (value: T) => Uint8Array): () => void {
  return collection.subscribe((changes) =>
    table.batch(() => {
      for (const { key, after } of changes) {
        if (after === undefined) table.delete(key);
        else table.set({ name: key, body: encode(after) });
      }
    }),
  );
}
