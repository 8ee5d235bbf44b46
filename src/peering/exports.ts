import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';

import { FederatedPortSchema, FederatedServiceSchema, type FederatedPort, type FederatedService } from '../api/gen/isthmus/peering_pb.js';
import { AppProtocol, type Workload } from '../api/gen/istio/workload_pb.js';
import type { Namespace, Node, Pod, Service } from '../api/kubernetes.ts';
import { globalHostname, labels, serviceScopeGlobal } from '../api/names.ts';
import { flatMap, indexBy, join, map, type Collection, type Graph } from '../collections/index.ts';
import {
  isGlobal,
  isPodReady,
  kubernetesService,
  podPorts,
  podWorkload,
  SelectorIndex,
  serviceKey,
  type ServiceInfo,
} from '../mesh/index.ts';
import { formatSpiffe } from '../pki/index.ts';
import { canonicalAddress } from './address-ranges.ts';
import { deriveLocalServices, type LocalService } from './local-services.ts';
import type { PeeringOptions } from './options.ts';

export interface ExportInputs {
  readonly namespaces: Collection<Namespace>;
  readonly nodes: Collection<Node>;
  readonly pods: Collection<Pod>;
  readonly services: Collection<Service>;
}

/** Why a Service that is labelled as global is not exported, or not all of it. */
export interface ExportRefusal {
  readonly namespace: string;
  readonly service: string;
  readonly message: string;
}

/** What this cluster tells its peers. */
export interface Exports {
  /** By `<namespace>/<name>`. */
  readonly services: Collection<FederatedService>;
  /** Ready pods of those, by uid. */
  readonly workloads: Collection<Workload>;
  /** By `<namespace>/<name>`. */
  readonly refusals: Collection<ExportRefusal>;
  /** Under the root namespace's name: this cluster's network and pod ranges. */
  readonly site: Collection<Site>;
  /** What is exported, as its local pods need it in a ServiceEntry. By `<namespace>/<name>`. */
  readonly local: Collection<LocalService>;
  readonly namespaces: Collection<NamespaceState>;
  /** By address as text: Services and nodes of this cluster, where no workload of a peer can be. */
  readonly ownAddresses: Collection<{ readonly of: string }>;
}

export interface NamespaceState {
  /** It is being deleted: nothing new can be written there. */
  readonly isTerminating: boolean;
}

/** Where this cluster is. */
export interface Site {
  /** Empty: nobody said. */
  readonly network: string;
  /** CIDRs. */
  readonly podRanges: readonly string[];
}

/** A Service that is exported, before the identities of its workloads are known. */
interface ExportedService {
  readonly info: ServiceInfo;
  readonly selector: ServiceInfo['selector'];
  readonly federated: FederatedService;
}

type Verdict =
  { readonly exported: ExportedService; readonly refused?: string } | { readonly exported?: undefined; readonly refused: string };

/** Derives what is exported. Pure. */
export function deriveExports(graph: Graph, inputs: ExportInputs, options: PeeringOptions): Exports {
  const { rootNamespace, clusterDomain, clusterId, trustDomain } = options;
  const site = deriveSite(graph, inputs, options);
  const verdicts = flatMap(
    graph,
    inputs.services,
    (service, fetch, key): [string, Verdict][] => {
      const namespace = fetch.get(inputs.namespaces, service.metadata.namespace ?? '');
      if (!isGlobal(service.metadata, namespace?.metadata)) return [];
      const info = kubernetesService(service, { namespace, network: '', clusterDomain });
      return [[key, judge(service, info, namespace)]];
    },
    { name: 'peeringVerdicts' },
  );
  const exported = map(graph, verdicts, (verdict) => verdict.exported, { name: 'peeringExported' });
  const refusals = map(
    graph,
    verdicts,
    ({ refused }, _, key): ExportRefusal | undefined => {
      const [namespace = '', service = ''] = key.split('/');
      return refused === undefined ? undefined : { namespace, service, message: refused };
    },
    { name: 'peeringRefusedExports' },
  );
  const bySelector = new SelectorIndex(graph, exported, {
    name: 'peeringExportedBySelector',
    namespaceOf: ({ info }) => info.objectNamespace,
  });
  const meshOptions = { clusterId, clusterDomain, trustDomain, rootNamespace };
  const workloads = flatMap(
    graph,
    inputs.pods,
    (pod, fetch): [string, Workload][] => {
      // A pod in the host's network has the node's address, which is not of the pod ranges that this cluster may speak of.
      if (!isPodReady(pod) || pod.spec?.hostNetwork === true) return [];
      const selecting = bySelector.selecting(fetch, pod.metadata.namespace ?? '', pod.metadata.labels ?? {});
      if (selecting.length === 0) return [];
      const workload = podWorkload(pod, {
        options: meshOptions,
        network: fetch.get(site, rootNamespace)?.network ?? '',
        node: fetch.get(inputs.nodes, pod.spec?.nodeName ?? ''),
        services: selecting.map(({ info }) => [info, podPorts(pod, info)]),
        policies: [],
      });
      return workload === undefined ? [] : [[workload.uid, workload]];
    },
    { name: 'peeringWorkloads' },
  );
  const byService = indexBy(graph, workloads, {
    name: 'peeringWorkloadsByService',
    keysOf: ({ services }) => Object.keys(services),
  });
  const services = map(
    graph,
    exported,
    ({ info, federated }, fetch) => {
      const identities = fetch
        .lookup(byService, info.key)
        .map(({ namespace, serviceAccount }) => formatSpiffe({ trustDomain, namespace, serviceAccount }));
      return create(FederatedServiceSchema, { ...federated, subjectAltNames: [...new Set(identities)].sort() });
    },
    { name: 'peeringServices' },
  );
  return {
    services,
    workloads,
    refusals,
    site,
    local: deriveLocalServices(graph, { exported, bySelector, pods: inputs.pods }),
    namespaces: map(
      graph,
      inputs.namespaces,
      ({ metadata, status }): NamespaceState => ({
        isTerminating: metadata.deletionTimestamp !== undefined || status?.phase === 'Terminating',
      }),
      { name: 'peeringNamespaces' },
    ),
    ownAddresses: deriveOwnAddresses(graph, inputs),
  };
}

function deriveOwnAddresses(graph: Graph, inputs: ExportInputs): Collection<{ readonly of: string }> {
  const ofServices = flatMap(
    graph,
    inputs.services,
    ({ spec = {}, status }, _, key) => {
      const { clusterIPs = [], clusterIP, externalIPs = [] } = spec;
      const balancers = (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []);
      const addresses = [...clusterIPs, clusterIP ?? '', ...externalIPs, ...balancers];
      return addresses.flatMap((address): [string, { readonly of: string }][] => {
        const text = canonicalAddress(address);
        return text === undefined ? [] : [[text, { of: `Service ${key}` }]];
      });
    },
    { name: 'peeringServiceAddresses' },
  );
  const ofNodes = flatMap(
    graph,
    inputs.nodes,
    ({ metadata, status }) =>
      (status?.addresses ?? []).flatMap(({ address }): [string, { readonly of: string }][] => {
        const text = canonicalAddress(address);
        return text === undefined ? [] : [[text, { of: `node ${metadata.name}` }]];
      }),
    { name: 'peeringNodeAddresses' },
  );
  return join(graph, [ofServices, ofNodes], { name: 'peeringOwnAddresses' });
}

function deriveSite(graph: Graph, inputs: ExportInputs, options: PeeringOptions): Collection<Site> {
  const { rootNamespace, podRanges } = options;
  // Nodes change with every heartbeat; their ranges do not.
  const nodeRanges = map(
    graph,
    inputs.nodes,
    ({ spec }) => ({ ranges: spec?.podCIDRs ?? (spec?.podCIDR === undefined ? [] : [spec.podCIDR]) }),
    {
      name: 'peeringNodeRanges',
    },
  );
  return map(
    graph,
    inputs.namespaces,
    ({ metadata }, fetch) => {
      if (metadata.name !== rootNamespace) return undefined;
      const ranges = podRanges ?? fetch.list(nodeRanges).flatMap(({ ranges }) => ranges);
      return { network: metadata.labels?.[labels.network] ?? '', podRanges: [...new Set(ranges)].sort() };
    },
    { name: 'peeringSite' },
  );
}

function judge(service: Service, info: ServiceInfo | undefined, namespace: Namespace | undefined): Verdict {
  const { metadata, spec = {} } = service;
  const { name, namespace: inNamespace = '' } = metadata;
  if (info === undefined) return { refused: 'it is of type ExternalName, which has no endpoints' };
  if (spec.clusterIP === 'None') return { refused: 'it is headless: a global name stands for all endpoints, never for one' };
  if (info.selector === undefined) return { refused: 'it has no selector: only pods are exported' };
  const all = spec.ports ?? [];
  const tcp = all.filter(({ protocol = 'TCP' }) => protocol === 'TCP');
  if (tcp.length === 0) return { refused: 'it has no TCP port' };
  const numbers = new Set(tcp.map(({ port }) => port));
  const ports = info.service.ports
    .filter(({ servicePort }, at) => numbers.has(servicePort) && (all[at]?.protocol ?? 'TCP') === 'TCP')
    .map(({ servicePort, appProtocol }) => federatedPort(tcp.find(({ port }) => port === servicePort)?.name, servicePort, appProtocol));
  const hostname = globalHostname(name, inNamespace);
  const left = all.filter(({ protocol = 'TCP' }) => protocol !== 'TCP').map(({ port, protocol = '' }) => `${port}/${protocol}`);
  const exported: ExportedService = {
    info: { ...info, key: serviceKey(inNamespace, hostname), ports: info.ports.filter((_, at) => (all[at]?.protocol ?? 'TCP') === 'TCP') },
    selector: info.selector,
    federated: create(FederatedServiceSchema, {
      name,
      namespace: inNamespace,
      hostname,
      ports,
      scope: metadata.labels?.[labels.serviceScope] ?? namespace?.metadata.labels?.[labels.serviceScope] ?? serviceScopeGlobal,
      changed: timestampFromDate(changedAt(service)),
      ...(info.service.loadBalancing !== undefined && { loadBalancing: info.service.loadBalancing }),
    }),
  };
  if (left.length === 0) return { exported };
  return { exported, refused: `its ports ${left.join(', ')} stay local: only TCP crosses` };
}

function federatedPort(name: string | undefined, number: number, protocol: AppProtocol): FederatedPort {
  const named = name === undefined || name === '' ? `port-${number}` : name;
  return create(FederatedPortSchema, { name: named, number, protocol: protocolNames[protocol] });
}

/** Istio's names in a ServiceEntry; empty lets the reader decide, as for a Service that does not say. */
const protocolNames: Readonly<Record<AppProtocol, string>> = {
  [AppProtocol.UNKNOWN]: '',
  [AppProtocol.HTTP11]: 'HTTP',
  [AppProtocol.HTTP2]: 'HTTP2',
  [AppProtocol.GRPC]: 'GRPC',
  [AppProtocol.TCP]: 'TCP',
  [AppProtocol.TLS]: 'TLS',
};

/** The last change of a Service that its API server noted, by that server's clock. */
function changedAt({ metadata }: Service): Date {
  const times = [metadata.creationTimestamp, ...(metadata.managedFields ?? []).map(({ time }) => time)].flatMap((time) => time ?? []);
  return new Date(times.sort().at(-1) ?? 0);
}
