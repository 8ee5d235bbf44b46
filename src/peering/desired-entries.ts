import type { FederatedService } from '../api/gen/isthmus/peering_pb.js';
import type { Workload } from '../api/gen/istio/workload_pb.js';
import type { ServiceEntry, WorkloadEntry } from '../api/kubernetes.ts';
import { globalHostname } from '../api/names.ts';
import { flatMap, indexBy, join, map, type Collection, type Fetch, type Graph } from '../collections/index.ts';
import type { ErrorCode } from '../core/index.ts';
import { deriveAddressRefusals } from './address-claims.ts';
import { flatEntry, flatPorts, gatewayEntry, mayCarry, serviceEntry, type EntryPlace, type PeerSite } from './entries.ts';
import { entryPortName } from './entry-names.ts';
import type { Exports, NamespaceState } from './exports.ts';
import { mergeClaims, mergeCommon, type GlobalService, type ServiceClaim } from './global-services.ts';
import type { LocalService } from './local-services.ts';
import { deriveMissingNamespaces, type MissingNamespace } from './missing-namespaces.ts';
import type { PeeringOptions, Placement } from './options.ts';
import { LocalSelectors, sharedPorts } from './shared-selectors.ts';
import type { Refusal } from './validate.ts';

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
  readonly placement: Placement;
  readonly rootNamespace: string;
  readonly namespaces: Collection<NamespaceState>;
  readonly serviceEntries: Collection<ServiceEntry>;
  readonly workloadEntries: Collection<WorkloadEntry>;
  /** By `<namespace>/<name>` of the Service. */
  readonly globals: Collection<GlobalService>;
  /** Workloads that peers may speak of, but whose entries would be wrong; by {@link peerKey} of the uid. */
  readonly refusals: Collection<Refusal>;
  /** What of a Service of this cluster its entries cannot say truly; by `<namespace>/<name>`. Empty in the placement `rootNamespace`. */
  readonly findings: Collection<ServiceFindings>;
  /** Namespaces that services of peers wait for, by name. Empty in the placement `rootNamespace`. */
  readonly missingNamespaces: Collection<MissingNamespace>;
}

export interface ServiceFindings {
  readonly findings: readonly { readonly code: ErrorCode; readonly message: string }[];
}

interface KeyedClaim extends ServiceClaim {
  readonly key: string;
}

/** Desired entries as a function of the peers' states and of this cluster's own exports. Pure. */
export function deriveEntries(graph: Graph, exports: Exports, peers: PeerInputs, options: PeeringOptions): DesiredEntries {
  const { rootNamespace, placement = 'rootNamespace' } = options;
  const isPlain = placement === 'serviceNamespace';
  const addressRefusals = deriveAddressRefusals(graph, {
    ...peers,
    ownAddresses: exports.ownAddresses,
    serviceRanges: options.serviceRanges ?? [],
  });
  const endpoints = indexBy(graph, peers.workloads, {
    name: 'peeringEndpoints',
    keysOf: ({ services }, key) => Object.keys(services).map((service) => peerKey(clusterOf(key), service)),
  });

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
      if (first !== claim) return [];
      if (!isPlain) return [[claim.key, mergeClaims([first, ...others])]];
      const offering = (one: KeyedClaim): ServiceClaim => ({ ...one, offered: offeredPorts(one, fetch) });
      const merged = mergeCommon([offering(first), ...others.map(offering)]);
      const ports = merged.ports.map((port) => ({ ...port, name: entryPortName(merged.namespace, merged.name, port.number) }));
      return [[claim.key, { ...merged, ports }]];
    },
    { name: 'peeringGlobals' },
  );

  /** Ports that the endpoints of a claim have; undefined when it has none. */
  function offeredPorts({ cluster, key, service }: KeyedClaim, fetch: Fetch): ReadonlySet<number> | undefined {
    if (cluster === '') {
      const unresolved = fetch.get(exports.local, key)?.unresolved ?? [];
      return unresolved.length === 0
        ? undefined
        : new Set(service.ports.map(({ number }) => number).filter((n) => !unresolved.includes(n)));
    }
    const serviceKey = `${service.namespace}/${service.hostname}`;
    const workloads = fetch.lookup(endpoints, peerKey(cluster, serviceKey));
    if (workloads.length === 0) return undefined;
    const numbers = new Set<number>();
    for (const workload of workloads) for (const { servicePort } of workload.services[serviceKey]?.ports ?? []) numbers.add(servicePort);
    return numbers;
  }

  const selectors = new LocalSelectors(graph, exports.local);
  /** Where the entries of a service stand; undefined when they cannot be there now. */
  const placeOf = (namespace: string, name: string, fetch: Fetch): EntryPlace | undefined => {
    if (!isPlain) return { namespace: rootNamespace };
    if (fetch.get(exports.namespaces, namespace)?.isTerminating !== false) return undefined;
    const own = fetch.get(exports.local, `${namespace}/${name}`);
    return { namespace, local: own !== undefined && mayCarry(own.selector) ? own : undefined };
  };
  const serviceEntries = flatMap(
    graph,
    globals,
    (service, fetch): [string, ServiceEntry][] => {
      const place = placeOf(service.namespace, service.name, fetch);
      return place === undefined || service.ports.length === 0 ? [] : [named(serviceEntry(service, place))];
    },
    { name: 'peeringServiceEntries' },
  );
  const gateways = flatMap(
    graph,
    peers.services,
    (service, fetch, key): [string, WorkloadEntry][] => {
      const peer = fetch.get(peers.peers, clusterOf(key));
      const network = fetch.get(exports.site, rootNamespace)?.network ?? '';
      const { namespace, name } = service;
      const place = placeOf(namespace, name, fetch);
      if (peer === undefined || place === undefined) return [];
      const flat = peer.network === network;
      const hostname = globalHostname(name, namespace);
      const count = flat ? 0 : fetch.lookup(endpoints, peerKey(peer.clusterId, `${namespace}/${hostname}`)).length;
      // On another network the gateway stands for the pods behind it: for none, there is nobody to send anything to.
      if (!flat && count === 0) return [];
      return [named(gatewayEntry(service, peer, { ...place, flat, endpoints: count }))];
    },
    { name: 'peeringGatewayEntries' },
  );

  /** The global services that a workload's cluster exports and that it serves. */
  const servedBy = (workload: Workload, cluster: string, fetch: Fetch): GlobalService[] =>
    Object.keys(workload.services).flatMap((serviceKey) => {
      const name = serviceOf(serviceKey, workload.namespace);
      const service = `${workload.namespace}/${name ?? ''}`;
      // The peer has to export the service itself: a pod alone exports nothing.
      if (name === undefined || fetch.get(peers.services, peerKey(cluster, service)) === undefined) return [];
      return fetch.get(globals, service) ?? [];
    });
  const judged = map(
    graph,
    peers.workloads,
    (workload, fetch, key): JudgedWorkload | undefined => {
      const cluster = clusterOf(key);
      const peer = fetch.get(peers.peers, cluster);
      const network = fetch.get(exports.site, rootNamespace)?.network;
      if (peer === undefined || network !== workload.network) return undefined;
      const refusal = fetch.get(addressRefusals, key);
      if (refusal !== undefined) return { entries: [], refusal };
      const served = servedBy(workload, cluster, fetch);
      const entries: WorkloadEntry[] = [];
      let wrong: Refusal | undefined;
      for (const service of served) {
        const place = placeOf(service.namespace, service.name, fetch);
        if (place === undefined || service.leftOut.includes(cluster)) continue;
        const ports = isPlain ? plainPorts(workload, service, served) : flatPorts(workload, service);
        const entry = ports === undefined ? undefined : flatEntry(workload, service, peer, { ...place, ports });
        if (entry === undefined) continue;
        const of = { namespace: service.namespace, name: service.name, labels: entry.metadata.labels ?? {} };
        // Not by the local selector alone: the pod's cluster names its application and version as well.
        const stranger = isPlain ? selectors.strangerTo(workload, of, served, fetch) : undefined;
        if (stranger !== undefined) wrong ??= stranger;
        else entries.push(entry);
      }
      return { entries, refusal: wrong };
    },
    { name: 'peeringJudgedWorkloads' },
  );
  const flats = flatMap(graph, judged, ({ entries }) => entries.map(named), { name: 'peeringFlatEntries' });
  const workloadEntries = join<WorkloadEntry>(graph, [gateways, flats], { name: 'peeringWorkloadEntries' });
  return {
    placement,
    rootNamespace,
    namespaces: exports.namespaces,
    serviceEntries,
    workloadEntries,
    globals,
    refusals: map(graph, judged, ({ refusal }) => refusal, { name: 'peeringRefusedWorkloads' }),
    findings: map(graph, exports.local, (service) => (isPlain ? findingsOf(service) : undefined), { name: 'peeringFindings' }),
    missingNamespaces: deriveMissingNamespaces(graph, { claims: remote, namespaces: exports.namespaces }, options),
  };
}

interface JudgedWorkload {
  readonly entries: readonly WorkloadEntry[];
  readonly refusal: Refusal | undefined;
}

/**
 * For an unmodified istiod: undefined when the pod lacks one of the service's ports, which it would be given all the same. With the ports of the
 * pod's other services: the ServiceEntries of those may select this entry as well.
 */
function plainPorts(
  workload: Workload,
  service: GlobalService,
  served: readonly GlobalService[],
): Readonly<Record<string, number>> | undefined {
  const own = flatPorts(workload, service);
  return Object.keys(own).length < service.ports.length ? undefined : sharedPorts(workload, own, served);
}

function findingsOf({ selector, problems }: LocalService): ServiceFindings | undefined {
  const findings: { code: ErrorCode; message: string }[] = problems.map((message) => ({ code: 'PEERING_TARGET_PORTS', message }));
  if (!mayCarry(selector)) {
    const message = `it selects its pods by ${Object.keys(selector).join(', ')}, of which entries of peers cannot carry all: its own pods do not answer to the global name`;
    findings.push({ code: 'PEERING_SELECTOR', message });
  }
  return findings.length === 0 ? undefined : { findings };
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
