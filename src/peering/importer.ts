import type { Duplex } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';

import type { FederatedService } from '../api/gen/isthmus/peering_pb.js';
import type { Workload } from '../api/gen/istio/workload_pb.js';
import type { Gateway } from '../api/kubernetes.ts';
import { conditionTypes } from '../api/names.ts';
import { source, type Collection, type CollectionChange, type Graph, type Source } from '../collections/index.ts';
import { describeError, type Logger } from '../core/index.ts';
import type { EventRecorder } from '../kube/index.ts';
import { AddressRanges } from './address-ranges.ts';
import { peerKey, type DesiredEntries, type PeerInputs } from './desired-entries.ts';
import type { PeerSite } from './entries.ts';
import type { Site } from './exports.ts';
import { namespacesReady, resourcesAccepted, type ConditionState, type GatewayState } from './gateway-status.ts';
import { judgePeers, type Candidate } from './judge-peers.ts';
import type { PeeringMetrics, PeerObservation } from './metrics.ts';
import type { PeeringOptions } from './options.ts';
import { noAddress, readPeerGateway, type PeerGateway } from './peer-gateway.ts';
import { conditionsOf, textOf, toldBy, troubleOf } from './peer-conditions.ts';
import { PeerFindings } from './peer-findings.ts';
import { PeerLink, type LinkChange, type PeeringCredentials } from './peer-link.ts';
import { isRefusal, type KnownPeer, type Refusal } from './validate.ts';

export interface ImporterOptions {
  readonly site: PeeringOptions;
  readonly gateways: Collection<Gateway>;
  readonly ownSite: Collection<Site>;
  /** What becomes of what is imported. */
  readonly desired: Pick<DesiredEntries, 'missingNamespaces' | 'refusals'>;
  readonly credentials: () => PeeringCredentials | Promise<PeeringCredentials>;
  /** How long a peer's entries are kept while it is away, milliseconds. */
  readonly leaseMs: number;
  readonly onStatus: (key: string, state: GatewayState) => void;
  readonly onGone: (key: string) => void;
  /** What is known, and with it which entries may go, has changed. */
  readonly onKnown: () => void;
  readonly metrics: PeeringMetrics;
  readonly connect?: ((signal: AbortSignal) => Promise<Duplex>) | undefined;
  readonly log: Logger;
}

/** After a start, a peer that was away before gets at least this long to answer, milliseconds. */
const graceMs = 30_000;
/** So long a link that was just opened may say nothing of itself before its Gateway says that it is pending, milliseconds. */
const settleMs = 5_000;

/** One istio-remote Gateway, the link that it makes, and what of it is imported. */
interface Peer {
  gateway: PeerGateway;
  link: PeerLink;
  stop: AbortController;
  /** The cluster under whose id things were imported. */
  cluster: string | undefined;
  readonly services: Set<string>;
  readonly workloads: Set<string>;
  /** When the link was opened, by the monotonic clock, milliseconds. */
  opened: number;
  /** Looks again when that is {@link settleMs} ago. */
  settling: NodeJS.Timeout | undefined;
  /** All of the peer's state was in at some time since the start: what it does not export may go. */
  isImported: boolean;
  /** What is imported is as the link says, but for `dirty`. */
  isCurrent: boolean;
  dirty: { services: Set<string>; workloads: Set<string> };
  lease: NodeJS.Timeout | undefined;
  isExpired: boolean;
  /** The trouble, or that there is none, that was told last: in the log, and in an Event. */
  logged: string | undefined;
  told: string | undefined;
  counted: Set<string>;
  /** When what is being let in now was sent; see {@link PeerLink.takeChangedAt}. */
  changedAt: number | undefined;
  /** Connections of its links that were counted. */
  connections: number;
}

/**
 * Follows the Gateways of class istio-remote, keeps a link for each, and lets what is believed into the graph.
 *
 * Guarantees: nothing of a peer enters before all three first answers are in; nothing of it leaves because the link is down, until the
 * lease ends; what two peers claim is not theirs both.
 *
 * Every replica runs one, so that whoever comes to lead knows the peers already; only the leader tells of them in Events.
 */
export class Importer {
  readonly peers: PeerInputs;
  readonly #graph: Graph;
  readonly #sites: Source<PeerSite>;
  readonly #services: Source<FederatedService>;
  readonly #workloads: Source<Workload>;
  readonly #byGateway = new Map<string, Peer>();
  #options: ImporterOptions | undefined;
  #findings: PeerFindings | undefined;
  #signal: AbortSignal = AbortSignal.abort();
  #isPlanned = false;
  /** While this replica writes. */
  #events: Pick<EventRecorder, 'record'> | undefined;

  /** Makes the collections; they are part of the graph from the start, and empty until {@link run}. */
  constructor(graph: Graph) {
    this.#graph = graph;
    this.#sites = source<PeerSite>(graph, { name: 'peers', equals: isDeepStrictEqual });
    this.#services = source<FederatedService>(graph, { name: 'peerServices', equals: isDeepStrictEqual });
    this.#workloads = source<Workload>(graph, { name: 'peerWorkloads', equals: isDeepStrictEqual });
    this.peers = { peers: this.#sites, services: this.#services, workloads: this.#workloads };
  }

  /** Whether all that a peer exports is known (or that it exports nothing any more); without an id, of all peers. */
  isKnown(cluster: string | undefined): boolean {
    if (this.#signal.aborted) return false;
    const peers = [...this.#byGateway.values()];
    // A Gateway that names no cluster and never answers must not keep what is gone of those that did.
    if (cluster !== undefined && peers.some((peer) => peer.isImported && peer.cluster === cluster)) return true;
    return peers.every((peer) => {
      const isPending = !peer.isImported && !peer.isExpired;
      const maybeThis = cluster === undefined || peer.gateway.cluster === undefined || peer.gateway.cluster === cluster;
      return !(isPending && maybeThis);
    });
  }

  async run(options: ImporterOptions, signal: AbortSignal): Promise<void> {
    this.#options = options;
    this.#signal = signal;
    this.#findings = new PeerFindings(options.desired);
    const stops = [
      this.#findings.follow(() => this.#plan()),
      options.gateways.subscribe((changes) => this.#onGateways(changes)),
      options.ownSite.subscribe(() => this.#onOwnSite()),
    ];
    options.onKnown();
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    for (const stop of stops) stop();
    for (const key of [...this.#byGateway.keys()]) this.#drop(key);
  }

  /**
   * From now on this replica writes, and tells of its peers in these Events. What it knows of a peer whose link is down may be older than
   * what the leader before it wrote: that is forgotten, so that nothing is put back or removed because of it, and the peer's absence counts
   * from when the condition says.
   */
  takeOver(events: Pick<EventRecorder, 'record'>): void {
    this.#events = events;
    this.#graph.batch(() => {
      for (const [key, peer] of this.#byGateway) {
        const gateway = this.#need().gateways.get(key);
        peer.told = toldBy(gateway);
        if (peer.link.synced && peer.isCurrent) continue;
        this.#clear(peer);
        peer.isImported = false;
        peer.isExpired = false;
        clearTimeout(peer.lease);
        peer.lease = undefined;
        this.#startLease(key, peer, remainingLease(gateway, this.#need().leaseMs));
      }
    });
    this.#plan();
  }

  /** Another replica writes from now on. */
  standDown(): void {
    this.#events = undefined;
  }

  #onGateways(changes: readonly CollectionChange<Gateway>[]): void {
    for (const { key, after } of changes) {
      const gateway = after === undefined ? undefined : readPeerGateway(after);
      const peer = this.#byGateway.get(key);
      if (gateway === undefined) {
        if (peer === undefined) continue;
        this.#drop(key);
        this.#need().onGone(key);
        this.#need().log.info({ gateway: key }, 'peer unlinked');
      } else if (peer === undefined) this.#add(key, gateway, remainingLease(after, this.#need().leaseMs));
      else this.#change(key, peer, gateway);
    }
    this.#plan();
  }

  #add(key: string, gateway: PeerGateway, leaseMs: number): void {
    const stop = new AbortController();
    const peer: Peer = {
      gateway,
      link: this.#open(key, gateway, stop.signal),
      stop,
      cluster: undefined,
      services: new Set(),
      workloads: new Set(),
      opened: performance.now(),
      settling: undefined,
      isImported: false,
      isCurrent: false,
      dirty: { services: new Set(), workloads: new Set() },
      lease: undefined,
      isExpired: false,
      logged: undefined,
      told: toldBy(this.#need().gateways.get(key)),
      counted: new Set(),
      changedAt: undefined,
      connections: 0,
    };
    this.#byGateway.set(key, peer);
    this.#startLease(key, peer, leaseMs);
  }

  #change(key: string, peer: Peer, gateway: PeerGateway): void {
    const old = peer.gateway;
    peer.gateway = gateway;
    const isOther = old.uid !== gateway.uid || old.cluster !== gateway.cluster;
    if (isOther) {
      this.#drop(key);
      this.#add(key, gateway, this.#need().leaseMs);
      return;
    }
    // The pin that was recorded by ourselves comes back with the Gateway.
    const isSamePin = isDeepStrictEqual(gateway.pins, old.pins) || isDeepStrictEqual(gateway.pins, peer.link.pins);
    if (old.url === gateway.url && old.network === gateway.network && old.trustDomain === gateway.trustDomain && isSamePin) {
      peer.link.gateway = gateway;
      return;
    }
    peer.stop.abort();
    peer.stop = new AbortController();
    peer.link = this.#open(key, gateway, peer.stop.signal);
    peer.opened = performance.now();
    peer.isCurrent = false;
  }

  #open(key: string, gateway: PeerGateway, signal: AbortSignal): PeerLink {
    const { site, credentials, connect, log } = this.#need();
    const link = new PeerLink({
      gateway,
      site,
      credentials,
      ownRanges: () => this.#ownRanges(),
      onChange: (change) => this.#onLink(key, link, change),
      connect,
      log: log.child({ gateway: key }),
    });
    if (gateway.url !== undefined) void link.run(AbortSignal.any([signal, this.#signal]));
    return link;
  }

  #onLink(key: string, link: PeerLink, { services, workloads }: LinkChange): void {
    const peer = this.#byGateway.get(key);
    if (peer?.link !== link) return;
    for (const name of services) peer.dirty.services.add(name);
    for (const name of workloads) peer.dirty.workloads.add(name);
    this.#plan();
  }

  #onOwnSite(): void {
    for (const { link } of this.#byGateway.values()) link.revalidate();
    this.#plan();
  }

  /** When the change of a peer that is being let in now was sent, by our clock, milliseconds since 1970; undefined: none is. */
  changedAt(cluster: string | undefined): number | undefined {
    const times = [...this.#byGateway.values()].flatMap((peer) => {
      return (cluster === undefined || peer.cluster === cluster) && peer.changedAt !== undefined ? [peer.changedAt] : [];
    });
    return times.length === 0 ? undefined : Math.min(...times);
  }

  observe(): PeerObservation[] {
    return [...this.#byGateway].map(([key, peer]) => ({
      peer: nameOf(key, peer),
      isConnected: peer.link.connection.kind === 'connected',
      lastHeardAt: peer.link.lastHeardAt,
      unknownSince: peer.link.unknownSince,
      services: peer.services.size,
      workloads: peer.workloads.size,
    }));
  }

  /** Several changes of one turn are settled together. */
  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    queueMicrotask(() => {
      this.#isPlanned = false;
      if (this.#signal.aborted) return;
      try {
        this.#settle();
      } catch (error) {
        // A defect; what is imported stays as it is, and the next change tries again.
        this.#need().log.error({ code: 'ISTHMUS_INTERNAL', error: describeError(error) }, 'peers not settled');
      }
    });
  }

  #settle(): void {
    const candidates: Candidate[] = [];
    for (const [key, { link, gateway }] of this.#byGateway) {
      if (link.complete && link.peer !== undefined && !isRefusal(link.peer))
        candidates.push({ key, created: gateway.created, peer: link.peer });
    }
    const verdicts = judgePeers(candidates, this.#ownRanges());
    const before = this.isKnown(undefined);
    const news: string[] = [];
    for (const peer of this.#byGateway.values()) peer.changedAt = peer.link.takeChangedAt();
    this.#graph.batch(() => {
      for (const [key, peer] of this.#byGateway) {
        const refusal = this.#refusalOf(peer, verdicts.get(key));
        if (this.#import(key, peer, refusal)) news.push(key);
        this.#report(key, peer, refusal);
      }
    });
    for (const peer of this.#byGateway.values()) peer.changedAt = undefined;
    if (news.length > 0 || before !== this.isKnown(undefined)) this.#need().onKnown();
  }

  #refusalOf({ link, gateway }: Peer, verdict: Refusal | undefined): Refusal | undefined {
    if (gateway.url === undefined) return noAddress;
    if (this.#ownNetwork() === '') {
      const message = `namespace ${this.#need().site.rootNamespace} has no label topology.istio.io/network: nobody knows which network this cluster is in`;
      return { code: 'PEERING_NETWORK', message };
    }
    if (link.peer !== undefined && isRefusal(link.peer)) return link.peer;
    return verdict;
  }

  /** True when the peer came to be known by this. */
  #import(key: string, peer: Peer, refusal: Refusal | undefined): boolean {
    const { link } = peer;
    const known = link.peer;
    if (refusal !== undefined || !link.synced || known === undefined || isRefusal(known)) {
      peer.isCurrent = false;
      this.#startLease(key, peer, this.#need().leaseMs);
      return false;
    }
    clearTimeout(peer.lease);
    peer.lease = undefined;
    peer.isExpired = false;
    link.pin();
    if (peer.cluster !== undefined && peer.cluster !== known.clusterId) this.#clear(peer);
    peer.cluster = known.clusterId;
    this.#sites.set(known.clusterId, {
      clusterId: known.clusterId,
      network: known.network,
      region: peer.gateway.region,
      podRanges: known.podRanges,
      linked: peer.gateway.created,
    });
    const isWhole = !peer.isCurrent;
    this.#copy(peer.services, isWhole ? [...peer.services, ...link.services.keys()] : peer.dirty.services, this.#services, known, (name) =>
      link.believedService(name),
    );
    this.#copy(
      peer.workloads,
      isWhole ? [...peer.workloads, ...link.workloads.keys()] : peer.dirty.workloads,
      this.#workloads,
      known,
      (name) => link.believedWorkload(name),
    );
    peer.dirty = { services: new Set(), workloads: new Set() };
    peer.isCurrent = true;
    const isNews = !peer.isImported;
    peer.isImported = true;
    return isNews;
  }

  #copy<T extends object>(
    imported: Set<string>,
    names: Iterable<string>,
    into: Source<T>,
    { clusterId }: KnownPeer,
    believed: (name: string) => T | undefined,
  ): void {
    for (const name of names) {
      const value = believed(name);
      if (value === undefined) {
        if (imported.delete(name)) into.delete(peerKey(clusterId, name));
      } else {
        imported.add(name);
        into.set(peerKey(clusterId, name), value);
      }
    }
  }

  #startLease(key: string, peer: Peer, leaseMs: number): void {
    if (peer.lease !== undefined || peer.isExpired) return;
    peer.lease = setTimeout(() => {
      peer.lease = undefined;
      peer.isExpired = true;
      this.#graph.batch(() => this.#clear(peer));
      this.#need().log.warn(
        { code: 'PEERING_LEASE_EXPIRED', gateway: key, leaseMs },
        'peer was away for too long: its endpoints are removed',
      );
      this.#need().onKnown();
      this.#plan();
    }, leaseMs);
    // A lease alone keeps no process alive.
    peer.lease.unref();
  }

  #clear(peer: Peer): void {
    const { cluster } = peer;
    if (cluster === undefined) return;
    // Of two Gateways to one cluster both may have let the same things in: what the other one holds is not gone.
    const other = [...this.#byGateway.values()].find((one) => one !== peer && one.cluster === cluster);
    if (other === undefined) this.#sites.delete(cluster);
    for (const name of peer.services) if (other?.services.has(name) !== true) this.#services.delete(peerKey(cluster, name));
    for (const name of peer.workloads) if (other?.workloads.has(name) !== true) this.#workloads.delete(peerKey(cluster, name));
    peer.services.clear();
    peer.workloads.clear();
    peer.cluster = undefined;
    peer.isCurrent = false;
  }

  #drop(key: string): void {
    const peer = this.#byGateway.get(key);
    if (peer === undefined) return;
    peer.stop.abort();
    clearTimeout(peer.lease);
    clearTimeout(peer.settling);
    this.#byGateway.delete(key);
    this.#graph.batch(() => this.#clear(peer));
    if (!this.#signal.aborted) this.#need().onKnown();
  }

  #report(key: string, peer: Peer, refusal: Refusal | undefined): void {
    const { onStatus, metrics } = this.#need();
    const name = nameOf(key, peer);
    const { connections } = peer.link;
    if (connections > peer.connections && connections > 1)
      metrics.reconnects.inc({ peer: name }, connections - Math.max(1, peer.connections));
    peer.connections = connections;
    for (const [what, { code }] of peer.link.refused) {
      if (peer.counted.has(what)) continue;
      peer.counted.add(what);
      metrics.refused.inc({ peer: name, code });
    }
    for (const what of peer.counted) if (!peer.link.refused.has(what)) peer.counted.delete(what);
    const conditions = conditionsOf(peer, refusal, this.#findings);
    const pins = peer.isImported && refusal === undefined ? peer.link.pins : [];
    if (!this.#isSettling(key, peer, conditions)) onStatus(key, { conditions, pins });
    this.#tell(key, peer, name, conditions);
  }

  /** Right after a start one only does not know yet: what was written of the peer before stands, so that a restart changes nothing. */
  #isSettling(key: string, peer: Peer, conditions: readonly ConditionState[]): boolean {
    const isPending = conditions.some(({ reason }) => reason === 'Pending') && troubleOf(conditions) === undefined;
    const left = peer.opened + settleMs - performance.now();
    const written = this.#need().gateways.get(key)?.status?.conditions;
    if (!isPending || left <= 0 || written?.some(({ type }) => type === conditionTypes.peerConnected) !== true) return false;
    clearTimeout(peer.settling);
    peer.settling = setTimeout(() => this.#plan(), left);
    peer.settling.unref();
    return true;
  }

  /** One Event for each new trouble, and one when the peer is in order again. */
  #tell(key: string, peer: Peer, name: string, conditions: readonly ConditionState[]): void {
    const { metrics, log, gateways } = this.#need();
    // Namespaces are told of where they are found, each once.
    const trouble = troubleOf(conditions.filter(({ type }) => type !== namespacesReady));
    const told = trouble === undefined ? (peer.isImported ? '' : undefined) : textOf(trouble);
    const about = gateways.get(key);
    if (told === undefined || about === undefined) return;
    if (told !== peer.logged) {
      peer.logged = told;
      if (trouble === undefined) log.info({ gateway: key, peer: name }, 'peered');
      else {
        if (trouble.type !== resourcesAccepted) metrics.refused.inc({ peer: name, code: trouble.reason });
        log.warn({ gateway: key, peer: name, code: trouble.reason, reason: trouble.message }, 'peer in trouble');
      }
    }
    const events = this.#events;
    if (told === peer.told || events === undefined) return;
    peer.told = told;
    void events.record(
      trouble === undefined
        ? { about, type: 'Normal', reason: 'Peered', message: `peered with ${name}` }
        : { about, type: 'Warning', reason: trouble.reason, message: trouble.message.slice(0, 1000) },
    );
  }

  #ownNetwork(): string {
    return this.#need().ownSite.get(this.#need().site.rootNamespace)?.network ?? '';
  }

  #ownRanges(): AddressRanges {
    const texts = this.#need().ownSite.get(this.#need().site.rootNamespace)?.podRanges ?? [];
    return AddressRanges.parse(texts.filter((text) => AddressRanges.parse([text]) !== undefined)) ?? AddressRanges.none;
  }

  #need(): ImporterOptions {
    if (this.#options === undefined) throw new Error('the importer does not run');
    return this.#options;
  }
}

/** What metrics call a peer. */
function nameOf(key: string, { cluster, gateway }: Peer): string {
  return cluster ?? gateway.cluster ?? key;
}

/** What is left of a lease that began before this process did, by the time that the condition notes. */
function remainingLease(gateway: Gateway | undefined, leaseMs: number): number {
  const condition = gateway?.status?.conditions?.find(({ type }) => type === conditionTypes.peerConnected);
  if (condition?.status !== 'False') return leaseMs;
  const away = Date.now() - Date.parse(condition.lastTransitionTime);
  return Number.isNaN(away) ? leaseMs : Math.min(leaseMs, Math.max(graceMs, leaseMs - away));
}
