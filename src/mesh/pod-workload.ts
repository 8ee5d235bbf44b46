import { create } from '@bufbuild/protobuf';

import {
  NetworkMode,
  TunnelProtocol,
  WorkloadSchema,
  WorkloadStatus,
  WorkloadType,
  type PortList,
  type Workload,
} from '../api/gen/istio/workload_pb.js';
import type { Node, Pod } from '../api/kubernetes.ts';
import { addressBytes } from './addresses.ts';
import type { MeshOptions, ServiceInfo } from './model.ts';
import { canonicalName, canonicalRevision, nodeLocality, podWorkloadName, tunnelOf, wireTrustDomain } from './workload-metadata.ts';
import { serviceMap } from './workload-ports.ts';

export function podUid(clusterId: string, namespace: string, name: string): string {
  return `${clusterId}//Pod/${namespace}/${name}`;
}

/** A pod is in the mesh from the moment it has addresses (init containers may talk) until it has ended. */
export function podAddresses({ status }: Pod): Uint8Array[] | undefined {
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return undefined;
  const texts = status?.podIPs?.map(({ ip }) => ip) ?? [status?.podIP ?? ''];
  const addresses = texts.flatMap((text) => addressBytes(text) ?? []);
  return addresses.length === 0 || addresses.length < texts.length ? undefined : addresses;
}

/** Readiness, not phase; a pod that is being deleted gets no new connections. */
export function isPodReady({ metadata, status }: Pod): boolean {
  if (metadata.deletionTimestamp !== undefined) return false;
  return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
}

export interface PodWorkloadContext {
  readonly options: MeshOptions;
  readonly network: string;
  readonly node: Node | undefined;
  readonly services: readonly (readonly [ServiceInfo, PortList])[];
  readonly policies: readonly string[];
}

export function podWorkload(pod: Pod, context: PodWorkloadContext): Workload | undefined {
  const addresses = podAddresses(pod);
  if (addresses === undefined) return undefined;
  const { metadata, spec } = pod;
  const { options } = context;
  const { name, namespace = '', labels = {} } = metadata;
  const workloadName = podWorkloadName(pod);
  const tunnel = tunnelOf(metadata, labels);
  return create(WorkloadSchema, {
    uid: podUid(options.clusterId, namespace, name),
    name,
    namespace,
    addresses,
    network: context.network,
    clusterId: options.clusterId,
    trustDomain: wireTrustDomain(options.trustDomain),
    serviceAccount: spec?.serviceAccountName ?? 'default',
    node: spec?.nodeName ?? '',
    networkMode: spec?.hostNetwork === true ? NetworkMode.HOST_NETWORK : NetworkMode.STANDARD,
    status: isPodReady(pod) ? WorkloadStatus.HEALTHY : WorkloadStatus.UNHEALTHY,
    tunnelProtocol: tunnel.hbone ? TunnelProtocol.HBONE : TunnelProtocol.NONE,
    nativeTunnel: tunnel.native,
    workloadType: WorkloadType.POD,
    workloadName,
    canonicalName: canonicalName(labels, workloadName),
    canonicalRevision: canonicalRevision(labels),
    locality: nodeLocality(context.node),
    services: serviceMap(context.services),
    authorizationPolicies: [...context.policies],
  });
}
