import type { AddressRanges } from './address-ranges.ts';
import type { KnownPeer, Refusal } from './validate.ts';

/** A link whose peer is right by itself. */
export interface Candidate {
  readonly key: string;
  /** RFC 3339, of the Gateway. */
  readonly created: string;
  readonly peer: KnownPeer;
}

/**
 * Which of several peers are believed together: no two Gateways to one cluster, no two clusters with the same pod addresses, none
 * with ours. Of two in conflict the one linked first counts, so that a new peer cannot push out an old one. By key; undefined: believed.
 */
export function judgePeers(candidates: readonly Candidate[], ownRanges: AddressRanges): ReadonlyMap<string, Refusal | undefined> {
  const ordered = [...candidates].sort((a, b) => compare(a.created, b.created) || compare(a.key, b.key));
  const verdicts = new Map<string, Refusal | undefined>();
  const believed: Candidate[] = [];
  for (const candidate of ordered) {
    const refusal = conflictOf(candidate, believed, ownRanges);
    verdicts.set(candidate.key, refusal);
    if (refusal === undefined) believed.push(candidate);
  }
  return verdicts;
}

function conflictOf({ peer }: Candidate, believed: readonly Candidate[], ownRanges: AddressRanges): Refusal | undefined {
  const double = believed.find((other) => other.peer.clusterId === peer.clusterId);
  if (double !== undefined) {
    return { code: 'PEERING_DUPLICATE', message: `Gateway ${double.key} links to ${peer.clusterId} already` };
  }
  const own = peer.ranges.overlap(ownRanges);
  if (own !== undefined) {
    return { code: 'PEERING_RANGE_OVERLAP', message: `the peer's pod range ${own[0]} overlaps this cluster's ${own[1]}` };
  }
  for (const other of believed) {
    const shared = peer.network === other.peer.network ? peer.ranges.overlap(other.peer.ranges) : undefined;
    if (shared === undefined) continue;
    const message = `the peer's pod range ${shared[0]} overlaps ${shared[1]} of ${other.peer.clusterId}`;
    return { code: 'PEERING_RANGE_OVERLAP', message };
  }
  return undefined;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
