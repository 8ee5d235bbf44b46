import type { Duplex } from 'node:stream';

import { fromBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf';

import { ClusterSchema, FederatedServiceSchema, type Cluster, type FederatedService } from '../api/gen/isthmus/peering_pb.js';
import { WorkloadSchema, type Workload } from '../api/gen/istio/workload_pb.js';
import { typeUrls } from '../api/names.ts';
import { describeError, IsthmusError, type ErrorCode, type Logger } from '../core/index.ts';
import { XdsClient, type ClientTls, type Rejection, type ResourceUpdate, type XdsClientState } from '../xds/index.ts';
import type { AddressRanges } from './address-ranges.ts';
import type { PeeringOptions } from './options.ts';
import type { PeerGateway } from './peer-gateway.ts';
import { checkPeer } from './peer-identity.ts';
import { isRefusal, validateCluster, validateService, validateWorkload, type KnownPeer, type Refusal } from './validate.ts';

/** More than any cluster that is taken as a peer has; what goes beyond is refused. */
const maxServices = 10_000;
const maxWorkloads = 100_000;
/** One is right; of the others it is enough to know that there are some. */
const maxClusters = 8;
/** What cannot be decoded is noted by name, up to so many of each kind. */
const maxUndecodable = 100;
/** Of such a name, in characters. */
const maxNoted = 300;

/** This process's own certificate and what it believes; PEM. */
export interface PeeringCredentials {
  readonly roots: string;
  readonly certificate: string;
  readonly key: string;
}

export interface PeerLinkOptions {
  readonly gateway: PeerGateway;
  readonly site: PeeringOptions;
  readonly credentials: () => PeeringCredentials | Promise<PeeringCredentials>;
  /** This cluster's pod ranges, as they are now. */
  readonly ownRanges: () => AddressRanges;
  /** Something of what the link says changed; names are of services and workloads that did, or `all`. */
  readonly onChange: (changed: LinkChange) => void;
  readonly connect?: ((signal: AbortSignal) => Promise<Duplex>) | undefined;
  readonly log: Logger;
}

export interface LinkChange {
  readonly services: ReadonlySet<string>;
  readonly workloads: ReadonlySet<string>;
}

export type Connection =
  { readonly kind: 'connecting' } | { readonly kind: 'connected' } | { readonly kind: 'disconnected'; readonly reason: Refusal };

/**
 * One Gateway's stream from its peer, and what of it is believed, as far as that can be told without knowing the other peers.
 * A message that is refused leaves what was believed before under its name removed: a peer that no longer speaks true of a pod says
 * nothing of it.
 */
export class PeerLink {
  /** As it is now: what does not concern the connection may change under it. */
  gateway: PeerGateway;
  readonly #options: PeerLinkOptions;
  readonly #client: XdsClient;
  readonly #clusters = new Map<string, Cluster>();
  readonly #services = new Map<string, FederatedService>();
  readonly #workloads = new Map<string, Workload>();
  /** By type and name. */
  readonly #refused = new Map<string, Refusal>();
  /** Of those, what could not be decoded: it is not kept, and cannot be judged again. */
  readonly #undecodable = new Map<string, Refusal>();
  #connection: Connection = { kind: 'connecting' };
  #peer: KnownPeer | Refusal | undefined;
  #complete = false;
  #synced = false;
  #fingerprint: string | undefined;
  #pins: readonly string[] = [];
  #connections = 0;
  #lastHeardAt: number | undefined;
  /** The least time that a message of this connection took, our clock less the peer's. */
  #offset = Infinity;
  #changedAt: number | undefined;
  #unknownSince: number | undefined = Date.now();

  constructor(options: PeerLinkOptions) {
    const { gateway, site, credentials, log } = options;
    this.gateway = gateway;
    this.#options = options;
    this.#client = new XdsClient({
      url: gateway.url ?? '',
      tls: async () => this.#tls(await credentials()),
      headers: () => ({ clusterid: site.clusterId }),
      node: { id: `isthmus-peering~0.0.0.0~${site.clusterId}.${site.rootNamespace}~${site.rootNamespace}.svc.${site.clusterDomain}` },
      subscriptions: [
        { typeUrl: typeUrls.peerCluster, handle: (update) => this.#takeClusters(this.#noted(update)) },
        { typeUrl: typeUrls.federatedService, handle: (update) => this.#takeServices(this.#noted(update)) },
        { typeUrl: typeUrls.workload, handle: (update) => this.#takeWorkloads(this.#noted(update)) },
      ],
      onState: (state) => this.#onState(state),
      onAlive: () => (this.#lastHeardAt = Date.now()),
      ...(options.connect !== undefined && { connect: options.connect }),
      // A peer that restarts is found again within seconds, and one that is gone costs little.
      backoff: { initial: 100, max: 5_000 },
      log,
    });
  }

  get connection(): Connection {
    return this.#connection;
  }

  /** On this connection, the first answers of all three types are in. */
  get synced(): boolean {
    return this.#synced;
  }

  /** All three were in at some time: what is known is whole, even if the connection is gone now. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Who the peer says it is, or why that is not believed; undefined before it said so. */
  get peer(): KnownPeer | Refusal | undefined {
    return this.#peer;
  }

  /** The authority that signed the peer's certificate. */
  get fingerprint(): string | undefined {
    return this.#fingerprint;
  }

  /** The authorities that alone are believed: by {@link pin}, else by the Gateway. Empty: any under our roots. */
  get pins(): readonly string[] {
    return this.#pins.length > 0 ? this.#pins : this.gateway.pins;
  }

  /**
   * From now on, only the authority that signed this connection is believed, and those that the peer announces over it. For a peer
   * that was found to be the one that is meant.
   */
  pin(): void {
    if (this.#fingerprint === undefined || this.#peer === undefined || isRefusal(this.#peer)) return;
    this.#pins = [...new Set([this.#fingerprint, ...this.#peer.authorities])].sort();
  }

  get services(): ReadonlyMap<string, FederatedService> {
    return this.#services;
  }

  get workloads(): ReadonlyMap<string, Workload> {
    return this.#workloads;
  }

  /** A service or workload, unless it is refused. */
  believedService(name: string): FederatedService | undefined {
    return this.#refused.has(`service ${name}`) ? undefined : this.#services.get(name);
  }

  believedWorkload(name: string): Workload | undefined {
    return this.#refused.has(`workload ${name}`) ? undefined : this.#workloads.get(name);
  }

  /** By `service <name>` or `workload <name>`. */
  get refused(): ReadonlyMap<string, Refusal> {
    return this.#refused;
  }

  /** When the peer was last heard of, by a message or by its answer to a ping; milliseconds since 1970. */
  get lastHeardAt(): number | undefined {
    return this.#lastHeardAt;
  }

  /** While it is not in sync: since when the peer may have changed without our knowing. */
  get unknownSince(): number | undefined {
    return this.#unknownSince;
  }

  /** Connections so far. */
  get connections(): number {
    return this.#connections;
  }

  /** When the peer sent the oldest of what came since the last call, by our clock: how far the clocks differ is known from the messages. */
  takeChangedAt(): number | undefined {
    const changedAt = this.#changedAt;
    this.#changedAt = undefined;
    return changedAt;
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#client.run(signal);
  }

  /** Judges everything anew, when what this cluster is has changed. */
  revalidate(): void {
    this.#judgeCluster();
    this.#judgeAll();
    this.#options.onChange({ services: new Set(this.#services.keys()), workloads: new Set(this.#workloads.keys()) });
  }

  #tls(credentials: PeeringCredentials): ClientTls {
    const { site } = this.#options;
    return {
      ...credentials,
      verifyServer: (chain) => {
        this.#fingerprint = checkPeer(chain, {
          rootNamespace: site.rootNamespace,
          trustDomain: this.gateway.trustDomain ?? site.trustDomain,
          pins: this.pins,
        });
      },
    };
  }

  #onState(state: XdsClientState): void {
    if (state.kind === 'disconnected') {
      this.#synced = false;
      this.#unknownSince ??= Date.now();
      this.#connection = { kind: 'disconnected', reason: refusalOf(state.error) };
    } else if (state.kind === 'connected') {
      this.#connections += 1;
      this.#offset = Infinity;
      this.#connection = { kind: 'connected' };
    } else if (state.kind === 'synced') {
      this.#synced = true;
      this.#unknownSince = undefined;
      this.#complete = true;
    }
    this.#options.onChange({ services: new Set(), workloads: new Set() });
  }

  #noted(update: ResourceUpdate): ResourceUpdate {
    const now = Date.now();
    this.#lastHeardAt = now;
    if (update.sentAt !== undefined) this.#offset = Math.min(this.#offset, now - update.sentAt);
    const changedAt = update.sentAt === undefined ? now : update.sentAt + this.#offset;
    this.#changedAt = Math.min(this.#changedAt ?? changedAt, changedAt);
    return update;
  }

  #takeClusters({ resources, removed }: ResourceUpdate): Rejection[] {
    const rejections: Rejection[] = [];
    for (const name of removed) this.#clusters.delete(name);
    for (const { name, body } of resources) {
      const cluster = decode(ClusterSchema, body);
      if (isRefusal(cluster)) rejections.push({ name, reason: cluster.message });
      else if (!this.#clusters.has(name) && this.#clusters.size >= maxClusters)
        rejections.push({ name, reason: tooMany('cluster', maxClusters).message });
      else this.#clusters.set(name, cluster);
    }
    this.#judgeCluster();
    this.#judgeAll();
    if (this.#peer !== undefined && isRefusal(this.#peer)) {
      const reason = this.#peer.message;
      for (const { name } of resources) rejections.push({ name, reason });
    }
    this.#options.onChange({ services: new Set(this.#services.keys()), workloads: new Set(this.#workloads.keys()) });
    return rejections;
  }

  #judgeCluster(): void {
    const { gateway } = this;
    const { site } = this.#options;
    const [entry, ...others] = this.#clusters;
    if (entry === undefined) this.#peer = undefined;
    else if (others.length > 0) {
      this.#peer = { code: 'PEERING_CLUSTER_ID', message: `the peer speaks for ${1 + others.length} clusters at once` };
    } else {
      this.#peer = validateCluster(...entry, {
        ownCluster: site.clusterId,
        ownTrustDomain: site.trustDomain,
        cluster: gateway.cluster,
        network: gateway.network,
        trustDomain: gateway.trustDomain,
      });
    }
  }

  #judgeAll(): void {
    this.#refused.clear();
    for (const [what, refusal] of this.#undecodable) this.#refused.set(what, refusal);
    for (const name of this.#services.keys()) this.#judgeService(name);
    for (const name of this.#workloads.keys()) this.#judgeWorkload(name);
  }

  #judgeService(name: string): Refusal | undefined {
    const service = this.#services.get(name);
    const refusal =
      service === undefined || this.#peer === undefined || isRefusal(this.#peer) ? undefined : validateService(name, service, this.#peer);
    return this.#note(`service ${name}`, refusal);
  }

  #judgeWorkload(name: string): Refusal | undefined {
    const workload = this.#workloads.get(name);
    const refusal =
      workload === undefined || this.#peer === undefined || isRefusal(this.#peer)
        ? undefined
        : validateWorkload(name, workload, this.#peer, this.#options.ownRanges());
    return this.#note(`workload ${name}`, refusal);
  }

  #note(what: string, refusal: Refusal | undefined): Refusal | undefined {
    if (refusal === undefined) this.#refused.delete(what);
    else this.#refused.set(what, refusal);
    return refusal;
  }

  #takeServices(update: ResourceUpdate): Rejection[] {
    const names = { kind: 'service', max: maxServices, schema: FederatedServiceSchema, judge: (name: string) => this.#judgeService(name) };
    const { changed, rejections } = this.#take(update, this.#services, names);
    this.#options.onChange({ services: changed, workloads: new Set() });
    return rejections;
  }

  #takeWorkloads(update: ResourceUpdate): Rejection[] {
    const names = { kind: 'workload', max: maxWorkloads, schema: WorkloadSchema, judge: (name: string) => this.#judgeWorkload(name) };
    const { changed, rejections } = this.#take(update, this.#workloads, names);
    this.#options.onChange({ services: new Set(), workloads: changed });
    return rejections;
  }

  /** What cannot be decoded or is too much is not kept; what is only not believed is, for it may be once the peer's Cluster changes. */
  #take<Schema extends DescMessage>(
    { resources, removed }: ResourceUpdate,
    into: Map<string, MessageShape<Schema>>,
    {
      kind,
      max,
      schema,
      judge,
    }: { readonly kind: string; readonly max: number; readonly schema: Schema; readonly judge: (name: string) => Refusal | undefined },
  ): { changed: Set<string>; rejections: Rejection[] } {
    const changed = new Set<string>();
    const rejections: Rejection[] = [];
    const forget = (name: string): void => {
      into.delete(name);
      this.#note(`${kind} ${name}`, undefined);
      if (this.#undecodable.delete(noted(kind, name))) this.#refused.delete(noted(kind, name));
      changed.add(name);
    };
    for (const { name, body } of resources) {
      const message = decode(schema, body);
      const isTooMany = !into.has(name) && into.size >= max;
      const refusal = isRefusal(message) ? message : isTooMany ? tooMany(kind, max) : undefined;
      if (refusal === undefined || !isTooMany) forget(name);
      if (refusal === undefined) into.set(name, message as MessageShape<Schema>);
      else if (isRefusal(message)) this.#noteUndecodable(kind, name, refusal);
      else this.#refused.set(kind, refusal);
      const verdict = refusal ?? judge(name);
      changed.add(name);
      if (verdict !== undefined) rejections.push({ name, reason: `${verdict.message} [${verdict.code}]` });
    }
    for (const name of removed) forget(name);
    if (into.size < max) this.#refused.delete(kind);
    if (this.#undecodableOf(kind) < maxUndecodable && this.#undecodable.delete(beyond(kind))) this.#refused.delete(beyond(kind));
    return { changed, rejections };
  }

  /** By name, as far as there is room. */
  #noteUndecodable(kind: string, name: string, refusal: Refusal): void {
    const what = this.#undecodableOf(kind) < maxUndecodable ? noted(kind, name) : beyond(kind);
    this.#undecodable.set(what, refusal);
    this.#refused.set(what, refusal);
  }

  #undecodableOf(kind: string): number {
    let count = 0;
    for (const what of this.#undecodable.keys()) if (what.startsWith(`${kind} `)) count++;
    return count;
  }
}

/** What is noted of something that cannot be decoded: its name, cut. */
function noted(kind: string, name: string): string {
  return `${kind} ${name.slice(0, maxNoted)}`;
}

function beyond(kind: string): string {
  return `${kind}s beyond the first ${maxUndecodable} that cannot be decoded`;
}

function tooMany(kind: string, max: number): Refusal {
  return { code: 'PEERING_LIMIT', message: `the peer has more than ${max} ${kind}s, which is all that is taken` };
}

function decode<Schema extends DescMessage>(schema: Schema, body: Uint8Array): MessageShape<Schema> | Refusal {
  try {
    return fromBinary(schema, body);
  } catch (error) {
    return { code: 'PEERING_RESOURCE_REFUSED', message: `it cannot be decoded: ${describeError(error)}` };
  }
}

const own: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['PEERING_IDENTITY', 'PEERING_TRUST_DOMAIN', 'PEERING_PIN_MISMATCH']);

function refusalOf(error: unknown): Refusal {
  if (error instanceof IsthmusError && own.has(error.code)) {
    return { code: error.code, message: error.hint === undefined ? error.message : `${error.message}; ${error.hint}` };
  }
  return { code: 'PEERING_NOT_CONNECTED', message: error === undefined ? 'the peer ended the stream' : describeError(error) };
}
