import type { Authorization } from '../api/gen/istio/authorization_pb.js';
import type { PortList, Workload } from '../api/gen/istio/workload_pb.js';
import type { Pod } from '../api/kubernetes.ts';
import { labels as names } from '../api/names.ts';
import { flatMap, indexBy, join, map, type Collection, type Fetch, type Graph } from '../collections/index.ts';
import type { ConvertedPolicy } from './authorization-policy.ts';
import { endpointSliceWorkloads, slicePods, sliceService } from './endpoint-slice.ts';
import { entryLabels, entryNamespace, entryWorkload, serviceEntryWorkloads } from './entry-workload.ts';
import { parentOf } from './federation.ts';
import { kubernetesHostname } from './kubernetes-service.ts';
import { serviceKey, type MeshInputs, type MeshOptions, type ServiceInfo } from './model.ts';
import { podWorkload } from './pod-workload.ts';
import { derivePolicies, type Policies } from './policies.ts';
import { deriveServices, type Services } from './services.ts';
import { entryPorts, peerEntryPorts, podPorts, podPortsThrough } from './workload-ports.ts';

/** The mesh of one cluster, as its proxies are told of it. */
export interface Mesh {
  /** By uid. */
  readonly workloads: Collection<Workload>;
  /** By `<namespace>/<hostname>`. */
  readonly services: Collection<ServiceInfo>;
  /** By `<namespace>/<name>`. */
  readonly authorizations: Collection<Authorization>;
  /** What became of each AuthorizationPolicy, by its key. */
  readonly convertedPolicies: Collection<ConvertedPolicy>;
  /** The cluster's network under the root namespace's name; empty collection as long as that namespace is unknown. */
  readonly network: Collection<{ readonly network: string }>;
}

/** Derives the mesh. Pure: it holds what the inputs say, whatever the order in which they said it. */
export function deriveMesh(graph: Graph, inputs: MeshInputs, options: MeshOptions): Mesh {
  const { rootNamespace } = options;
  const network = map(
    graph,
    inputs.namespaces,
    ({ metadata }) => (metadata.name === rootNamespace ? { network: metadata.labels?.[names.network] ?? '' } : undefined),
    { name: 'network' },
  );
  const networkOf = (fetch: Fetch): string => fetch.get(network, rootNamespace)?.network ?? '';
  const services = deriveServices(graph, inputs, options, networkOf);
  const policies = derivePolicies(graph, inputs, options);
  const context = { graph, inputs, options, services, policies, networkOf };
  const workloads = join(graph, [podWorkloads(context), entryWorkloads(context), serviceEntryEndpoints(context), sliceEndpoints(context)], {
    name: 'workloads',
  });
  return { workloads, services: services.all, authorizations: policies.authorizations, convertedPolicies: policies.converted, network };
}

interface Context {
  readonly graph: Graph;
  readonly inputs: MeshInputs;
  readonly options: MeshOptions;
  readonly services: Services;
  readonly policies: Policies;
  readonly networkOf: (fetch: Fetch) => string;
}

type PortsByService = readonly (readonly [ServiceInfo, PortList])[];

function podWorkloads({ graph, inputs, options, services, policies, networkOf }: Context): Collection<Workload> {
  // Slices of Services with a selector name pods too; following those would tie each pod to all others of its slice.
  const listed = flatMap(
    graph,
    inputs.endpointSlices,
    (slice, fetch, key) => {
      const service = sliceService(slice);
      if (service === undefined) return [];
      const info = fetch.get(services.all, kubernetesServiceKey(service, options));
      if (info?.kind !== 'Service' || info.selector !== undefined) return [];
      return slicePods(slice).map((pod) => [`${key}/${pod}`, { pod, service: info.key }] as const);
    },
    { name: 'podsListedBySlices' },
  );
  const listedByPod = indexBy(graph, listed, { name: 'podsListedBySlicesByPod', keysOf: ({ pod }) => [pod] });

  const servicesOf = (pod: Pod, fetch: Fetch): PortsByService => {
    const { name, namespace = '', uid = '', labels = {} } = pod.metadata;
    const selecting = services.bySelector.selecting(fetch, namespace, labels).filter(({ parent }) => parent === undefined);
    const listing = fetch
      .lookup(listedByPod, `${namespace}/${name}/${uid}`)
      .flatMap(({ service }) => fetch.get(services.all, service) ?? []);
    const own = [...selecting, ...listing];
    // The pods of a Service that is global in this cluster belong to its name in all clusters as well.
    const global = own
      .filter((info) => info.kind === 'Service' && info.global)
      .flatMap((info) =>
        fetch
          .lookup(services.byParent, `${info.objectNamespace}/${info.objectName}`)
          .map((entry) => [entry, podPortsThrough(pod, info, entry)] as const),
      );
    return [...own.map((info) => [info, podPorts(pod, info)] as const), ...global];
  };

  return flatMap(
    graph,
    inputs.pods,
    (pod, fetch) => {
      const { namespace = '', labels = {} } = pod.metadata;
      const workload = podWorkload(pod, {
        options,
        network: networkOf(fetch),
        node: fetch.get(inputs.nodes, pod.spec?.nodeName ?? ''),
        services: servicesOf(pod, fetch),
        policies: policies.of(fetch, namespace, labels),
      });
      return workload === undefined ? [] : [[workload.uid, workload] as const];
    },
    { name: 'podWorkloads' },
  );
}

function entryWorkloads({ graph, inputs, options, services, policies, networkOf }: Context): Collection<Workload> {
  return flatMap(
    graph,
    inputs.workloadEntries,
    (entry, fetch) => {
      const labels = entryLabels(entry);
      const isPeers = parentOf(entry.metadata, options.rootNamespace) !== undefined;
      // A peer's entry serves the names that all clusters share, never a Service of this cluster's root namespace.
      const selecting = services.bySelector
        .selecting(fetch, entry.metadata.namespace ?? '', labels)
        .filter(({ parent }) => !isPeers || parent !== undefined);
      const { ports } = entry.spec;
      const workload = entryWorkload(entry, {
        options,
        network: networkOf(fetch),
        services: selecting.map((info) => [info, isPeers && ports !== undefined ? peerEntryPorts(ports, info) : entryPorts(ports, info)]),
        policies: policies.of(fetch, entryNamespace(entry, options.rootNamespace), labels),
      });
      return [[workload.uid, workload] as const];
    },
    { name: 'entryWorkloads' },
  );
}

function serviceEntryEndpoints({ graph, inputs, options, services, policies, networkOf }: Context): Collection<Workload> {
  return flatMap(
    graph,
    inputs.serviceEntries,
    (object, fetch, key) => {
      const { namespace = '', labels = {} } = object.metadata;
      const workloads = serviceEntryWorkloads(object, {
        options,
        network: networkOf(fetch),
        services: fetch.lookup(services.byEntry, key),
        policies: policies.of(fetch, namespace, labels),
      });
      return workloads.map((workload) => [workload.uid, workload] as const);
    },
    { name: 'serviceEntryWorkloads' },
  );
}

function sliceEndpoints({ graph, inputs, options, services, networkOf }: Context): Collection<Workload> {
  return flatMap(
    graph,
    inputs.endpointSlices,
    (slice, fetch) => {
      const name = sliceService(slice);
      const service = name === undefined ? undefined : fetch.get(services.all, kubernetesServiceKey(name, options));
      if (service?.kind !== 'Service') return [];
      const workloads = endpointSliceWorkloads(slice, { options, network: networkOf(fetch), service });
      return workloads.map((workload) => [workload.uid, workload] as const);
    },
    { name: 'sliceWorkloads' },
  );
}

function kubernetesServiceKey({ namespace, name }: { readonly namespace: string; readonly name: string }, options: MeshOptions): string {
  return serviceKey(namespace, kubernetesHostname(name, namespace, options.clusterDomain));
}
