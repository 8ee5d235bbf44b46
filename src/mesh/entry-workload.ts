import { create } from '@bufbuild/protobuf';

import { TunnelProtocol, WorkloadSchema, WorkloadType, type PortList, type Workload } from '../api/gen/istio/workload_pb.js';
import type { ServiceEntry, WorkloadEntry } from '../api/kubernetes.ts';
import { labels as names } from '../api/names.ts';
import { addressBytes } from './addresses.ts';
import { parentOf } from './federation.ts';
import type { MeshOptions, ServiceInfo } from './model.ts';
import { canonicalName, canonicalRevision, entryWorkloadName, parseLocality, tunnelOf, wireTrustDomain } from './workload-metadata.ts';
import { entryPorts, serviceMap } from './workload-ports.ts';
import { resolutionOf } from './service-entry.ts';

/** The labels of a WorkloadEntry: those of its spec, with the object's own before them. */
export function entryLabels({ metadata, spec }: WorkloadEntry): Readonly<Record<string, string>> {
  return { ...spec.labels, ...metadata.labels };
}

/**
 * The namespace of a WorkloadEntry's workload, and with it of its identity: for an entry made for a pod of another
 * cluster that pod's namespace, not the one the entry stands in.
 */
export function entryNamespace({ metadata }: WorkloadEntry, rootNamespace: string): string {
  return parentOf(metadata, rootNamespace)?.namespace ?? metadata.namespace ?? '';
}

export interface EntryWorkloadContext {
  readonly options: MeshOptions;
  readonly network: string;
  readonly services: readonly (readonly [ServiceInfo, PortList])[];
  readonly policies: readonly string[];
}

/** A WorkloadEntry is always healthy: whoever writes it removes it when it is not. */
export function entryWorkload(entry: WorkloadEntry, context: EntryWorkloadContext): Workload {
  const { metadata, spec } = entry;
  const { options } = context;
  const labels = entryLabels(entry);
  const workloadName = entryWorkloadName(metadata, labels);
  const parent = parentOf(metadata, options.rootNamespace);
  return create(WorkloadSchema, {
    ...endpoint(spec, context),
    uid: `${options.clusterId}/networking.istio.io/WorkloadEntry/${metadata.namespace ?? ''}/${metadata.name}`,
    name: metadata.name,
    namespace: entryNamespace(entry, options.rootNamespace),
    // A peer's entry says which cluster its pod is in; who may write such entries is decided by parentOf.
    clusterId: (parent === undefined ? undefined : (labels[names.cluster] ?? labels[names.peer])) ?? options.clusterId,
    ...tunnel(metadata, labels),
    workloadName,
    canonicalName: canonicalName(labels, workloadName),
    canonicalRevision: canonicalRevision(labels),
    services: serviceMap(context.services),
    authorizationPolicies: [...context.policies],
  });
}

/**
 * The endpoints that a ServiceEntry lists, and the one it implies: a DNS name without endpoints is its own.
 * `services` are those of the entry that count (none when others have its hostnames).
 */
export function serviceEntryWorkloads(
  object: ServiceEntry,
  context: Omit<EntryWorkloadContext, 'services'> & { readonly services: readonly ServiceInfo[] },
): Workload[] {
  const { metadata, spec } = object;
  const { options, services } = context;
  if (services.length === 0) return [];
  const labels = metadata.labels ?? {};
  const resolution = resolutionOf(object);
  const implied = resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN' || resolution === 'DYNAMIC_DNS';
  const listed = (spec.endpoints ?? []).map((endpoint): Listed => ({ endpoint, of: services }));
  const own = implied && spec.workloadSelector === undefined ? services : [];
  const endpoints = listed.length > 0 ? listed : own.map((info): Listed => ({ endpoint: { address: info.service.hostname }, of: [info] }));
  return endpoints.map(({ endpoint: entry, of }) =>
    create(WorkloadSchema, {
      ...endpoint(entry, context),
      uid: `${options.clusterId}/networking.istio.io/ServiceEntry/${metadata.namespace ?? ''}/${metadata.name}/${entry.address ?? ''}`,
      name: metadata.name,
      namespace: parentOf(metadata, options.rootNamespace)?.namespace ?? metadata.namespace ?? '',
      clusterId: options.clusterId,
      ...tunnel(metadata, labels),
      workloadName: metadata.name,
      canonicalName: canonicalName(labels, metadata.name),
      canonicalRevision: canonicalRevision(labels),
      services: serviceMap(of.map((info) => [info, entryPorts(entry.ports, info)])),
      authorizationPolicies: [...context.policies],
    }),
  );
}

/** What the spec of a WorkloadEntry and an endpoint of a ServiceEntry have in common. */
type EndpointSpec = NonNullable<ServiceEntry['spec']['endpoints']>[number];

/** An endpoint and the services that it serves. */
interface Listed {
  readonly endpoint: EndpointSpec;
  readonly of: readonly ServiceInfo[];
}

function endpoint(spec: EndpointSpec, { options, network }: Pick<EntryWorkloadContext, 'options' | 'network'>) {
  const text = spec.address ?? '';
  const address = addressBytes(text);
  return {
    addresses: address === undefined ? [] : [address],
    // Without address and hostname it is only reachable through its network's gateway.
    hostname: address === undefined ? text : '',
    network: spec.network === undefined || spec.network === '' ? network : spec.network,
    trustDomain: wireTrustDomain(options.trustDomain),
    serviceAccount: spec.serviceAccount ?? '',
    locality: parseLocality(spec.locality),
    workloadType: WorkloadType.POD,
    ...((spec.weight ?? 0) > 0 && { capacity: spec.weight }),
  };
}

function tunnel(metadata: Parameters<typeof tunnelOf>[0], labels: Readonly<Record<string, string>>) {
  const { hbone, native } = tunnelOf(metadata, labels);
  return { tunnelProtocol: hbone ? TunnelProtocol.HBONE : TunnelProtocol.NONE, nativeTunnel: native };
}
