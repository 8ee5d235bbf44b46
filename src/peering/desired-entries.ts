import type { FederatedService } from '../api/gen/isthmus/peering_pb.js';
import type { Workload } from '../api/gen/istio/workload_pb.js';
import type { ServiceEntry, WorkloadEntry } from '../api/kubernetes.ts';
import { globalHostname } from '../api/names.ts';
import { flatMap, indexBy, join, map, type Collection, type Graph } from '../collections/index.ts';
import { flatEntry, gatewayEntry, serviceEntry, type PeerSite } from './entries.ts';
import type { Exports } from './exports.ts';
import { mergeClaims, type GlobalService, type ServiceClaim } from './global-services.ts';
import type { PeeringOptions } from './options.ts';

/** What peers were found to say truly. Keys of the latter two begin with {@link peerKey}. */
export interface PeerInputs {
  /** By cluster id. */
  readonly peers: Collection<PeerSite>;
  readonly services: Collection<FederatedService>;
  readonly workloads: Collection<Workload>;
}

/** Key of something that a peer sent. `|` is in no cluster id. */
export function peerKey(cluster: string, name: string): string {
  return `${cluster}|${name}`;
}

const clusterOf = (key: string): string => key.slice(0, key.indexOf('|'));

/** The entries that ought to be there, by `<namespace>/<name>`. */
export interface DesiredEntries {
  readonly serviceEntries: Collection<ServiceEntry>;
  readonly workloadEntries: Collection<WorkloadEntry>;
  /** By `<namespace>/<name>` of the Service. */
  readonly globals: Collection<GlobalService>;
}

interface KeyedClaim extends ServiceClaim {
  readonly key: string;
}

/** Desired entries as a function of the peers' states and of this cluster's own exports. Pure. */
export function deriveEntries(graph: Graph, exports: Exports, peers: PeerInputs, options: PeeringOptions): DesiredEntries {
  const { rootNamespace } = options;
  const local = flatMap(graph, exports.services, (service, _, key) => [[peerKey('', key), { cluster: '', key, service }] as const], {
    name: 'peeringLocalClaims',
  });
  const remote = map(
    graph,
    peers.services,
    (service, _, key): KeyedClaim => ({ cluster: clusterOf(key), key: `${service.namespace}/${service.name}`, service }),
    { name: 'peeringRemoteClaims' },
  );
  const claims = join<KeyedClaim>(graph, [local, remote], { name: 'peeringClaims' });
  const byService = indexBy(graph, claims, { name: 'peeringClaimsByService', keysOf: ({ key }) => [key] });
  const globals = flatMap(
    graph,
    claims,
    (claim, fetch): [string, GlobalService][] => {
      const [first, ...others] = fetch.lookup(byService, claim.key);
      // Of the claims on one service, the first by key speaks for all.
      return first === claim ? [[claim.key, mergeClaims([first, ...others])]] : [];
    },
    { name: 'peeringGlobals' },
  );
  const serviceEntries = flatMap(graph, globals, (service) => [named(serviceEntry(service, rootNamespace))], {
    name: 'peeringServiceEntries',
  });

  const endpoints = indexBy(graph, peers.workloads, {
    name: 'peeringEndpoints',
    keysOf: ({ services }, key) => Object.keys(services).map((service) => peerKey(clusterOf(key), service)),
  });
  const gateways = flatMap(
    graph,
    peers.services,
    (service, fetch, key): [string, WorkloadEntry][] => {
      const peer = fetch.get(peers.peers, clusterOf(key));
      const network = fetch.get(exports.site, rootNamespace)?.network ?? '';
      if (peer === undefined) return [];
      const flat = peer.network === network;
      const { namespace, name } = service;
      const hostname = globalHostname(name, namespace);
      const count = flat ? 0 : fetch.lookup(endpoints, peerKey(peer.clusterId, `${namespace}/${hostname}`)).length;
      // On another network the gateway stands for the pods behind it: for none, there is nobody to send anything to.
      if (!flat && count === 0) return [];
      return [named(gatewayEntry(service, peer, { rootNamespace, flat, endpoints: count }))];
    },
    { name: 'peeringGatewayEntries' },
  );
  const flats = flatMap(
    graph,
    peers.workloads,
    (workload, fetch, key): [string, WorkloadEntry][] => {
      const cluster = clusterOf(key);
      const peer = fetch.get(peers.peers, cluster);
      const network = fetch.get(exports.site, rootNamespace)?.network;
      if (peer === undefined || network !== workload.network) return [];
      return Object.keys(workload.services).flatMap((serviceKey) => {
        const name = serviceOf(serviceKey, workload.namespace);
        if (name === undefined) return [];
        const service = `${workload.namespace}/${name}`;
        // The peer has to export the service itself: a pod alone exports nothing.
        if (fetch.get(peers.services, peerKey(cluster, service)) === undefined) return [];
        const global = fetch.get(globals, service);
        const entry = global === undefined ? undefined : flatEntry(workload, global, peer, rootNamespace);
        return entry === undefined ? [] : [named(entry)];
      });
    },
    { name: 'peeringFlatEntries' },
  );
  const workloadEntries = join<WorkloadEntry>(graph, [gateways, flats], { name: 'peeringWorkloadEntries' });
  return { serviceEntries, workloadEntries, globals };
}

/** The name in `<namespace>/<name>.<namespace>.mesh.internal`. */
export function serviceOf(serviceKey: string, namespace: string): string | undefined {
  const tail = globalHostname('', namespace);
  const head = `${namespace}/`;
  if (!serviceKey.startsWith(head) || !serviceKey.endsWith(tail)) return undefined;
  return serviceKey.slice(head.length, -tail.length);
}

function named<T extends { readonly metadata: { readonly name: string; readonly namespace?: string } }>(entry: T): [string, T] {
  return [`${entry.metadata.namespace ?? ''}/${entry.metadata.name}`, entry];
}
