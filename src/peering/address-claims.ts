import type { Workload } from '../api/gen/istio/workload_pb.js';
import { indexBy, map, type Collection, type Graph } from '../collections/index.ts';
import { addressText } from '../mesh/index.ts';
import { AddressRanges } from './address-ranges.ts';
import type { PeerSite } from './entries.ts';
import type { Refusal } from './validate.ts';

/** A peer's declared ranges, parsed once. */
interface PeerRanges {
  readonly site: PeerSite;
  readonly ranges: AddressRanges;
}

/**
 * Which workloads of peers have an address that is not theirs, by the key of the workload. A peer that declares its pod ranges is held to them
 * elsewhere; one that does not could name any address. Refused are those of this cluster's Services and nodes, those in the ranges that another
 * peer on the same network declares, and those that a workload of a peer linked earlier has.
 */
export function deriveAddressRefusals(
  graph: Graph,
  inputs: {
    readonly peers: Collection<PeerSite>;
    readonly workloads: Collection<Workload>;
    readonly ownAddresses: Collection<{ readonly of: string }>;
    readonly serviceRanges: readonly string[];
  },
): Collection<Refusal> {
  const serviceRanges = AddressRanges.parseValid(inputs.serviceRanges);
  const declared = map(
    graph,
    inputs.peers,
    (site): PeerRanges | undefined =>
      site.podRanges.length === 0 ? undefined : { site, ranges: AddressRanges.parseValid(site.podRanges) },
    {
      name: 'peeringDeclaredRanges',
      equals: (a, b) => a.site.network === b.site.network && a.site.podRanges.join() === b.site.podRanges.join(),
    },
  );
  const byAddress = indexBy(graph, inputs.workloads, {
    name: 'peeringWorkloadsByAddress',
    keysOf: ({ network, addresses }) => addresses.map((address) => `${network}|${addressText(address)}`),
  });
  return map(
    graph,
    inputs.workloads,
    ({ clusterId, network, addresses }, fetch): Refusal | undefined => {
      const refuse = (message: string): Refusal => ({ code: 'PEERING_ADDRESS_TAKEN', message });
      const peer = fetch.get(inputs.peers, clusterId);
      if (peer === undefined) return undefined;
      for (const bytes of addresses) {
        const address = addressText(bytes);
        const own = fetch.get(inputs.ownAddresses, address);
        if (own !== undefined) return refuse(`its address ${address} is that of ${own.of} here`);
        if (serviceRanges.has(bytes)) return refuse(`its address ${address} is in this cluster's service range`);
        // Ranges of two peers that both declare theirs do not overlap: such peers are refused as a whole.
        const others = peer.podRanges.length === 0 ? fetch.list(declared) : [];
        const owner = others.find(({ site, ranges }) => site.clusterId !== clusterId && site.network === network && ranges.has(bytes));
        if (owner !== undefined) return refuse(`its address ${address} is in the pod ranges of ${owner.site.clusterId}`);
        for (const other of fetch.lookup(byAddress, `${network}|${address}`)) {
          const holder = other.clusterId === clusterId ? undefined : fetch.get(inputs.peers, other.clusterId);
          if (holder !== undefined && isBefore(holder, peer)) return refuse(`its address ${address} is that of ${other.uid}`);
        }
      }
      return undefined;
    },
    { name: 'peeringAddressRefusals' },
  );
}

/** Whose claim on an address counts: the range's, then that of the peer linked first. */
function isBefore(a: PeerSite, b: PeerSite): boolean {
  const declares = ({ podRanges }: PeerSite): number => (podRanges.length > 0 ? 0 : 1);
  return declares(a) - declares(b) < 0 || (declares(a) === declares(b) && `${a.linked} ${a.clusterId}` < `${b.linked} ${b.clusterId}`);
}
