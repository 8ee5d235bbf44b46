import { create } from '@bufbuild/protobuf';

import { NetworkMode, PortListSchema, PortSchema, WorkloadSchema, WorkloadStatus, type Workload } from '../api/gen/istio/workload_pb.js';
import type { EndpointSlice } from '../api/kubernetes.ts';
import { labels } from '../api/names.ts';
import { addressBytes } from './addresses.ts';
import type { MeshOptions, ServiceInfo } from './model.ts';
import { serviceMap } from './workload-ports.ts';

/** `<namespace>/<name>` of the Service of a slice; undefined for a slice of names rather than addresses, or of no Service. */
export function sliceService({ metadata, addressType }: EndpointSlice): { readonly namespace: string; readonly name: string } | undefined {
  const name = metadata.labels?.[labels.endpointSliceService];
  if (name === undefined || name === '' || addressType === 'FQDN') return undefined;
  return { namespace: metadata.namespace ?? '', name };
}

/** The pods that a slice names, by `<namespace>/<name>/<uid>`. */
export function slicePods(slice: EndpointSlice): string[] {
  return (slice.endpoints ?? []).flatMap(({ targetRef: ref }) =>
    ref?.kind === 'Pod' ? [`${ref.namespace ?? slice.metadata.namespace ?? ''}/${ref.name ?? ''}/${ref.uid ?? ''}`] : [],
  );
}

/**
 * The endpoints of a slice that are no pods: the API server's, and those made by hand. They are reached in plaintext,
 * and do not own their address (network mode HOST_NETWORK): a pod may have it too.
 */
export function endpointSliceWorkloads(
  slice: EndpointSlice,
  context: { readonly options: MeshOptions; readonly network: string; readonly service: ServiceInfo },
): Workload[] {
  const { options, network, service } = context;
  const { name, namespace = '' } = slice.metadata;
  const ports = service.ports.flatMap(({ name: portName, servicePort }) => {
    const target = slice.ports?.find((port) => (port.name ?? '') === portName && (port.protocol ?? 'TCP') === 'TCP')?.port;
    return target === undefined ? [] : [create(PortSchema, { servicePort, targetPort: target })];
  });
  const seen = new Set<string>();
  return (slice.endpoints ?? []).flatMap(({ addresses: texts, conditions, targetRef }) => {
    const first = texts[0] ?? '';
    const addresses = texts.flatMap((text) => addressBytes(text) ?? []);
    if (targetRef?.kind === 'Pod' || seen.has(first) || addresses.length === 0 || addresses.length < texts.length) return [];
    seen.add(first);
    const workload = create(WorkloadSchema, {
      uid: `${options.clusterId}/discovery.k8s.io/EndpointSlice/${namespace}/${name}/${first}`,
      name,
      namespace,
      addresses,
      network,
      clusterId: options.clusterId,
      networkMode: NetworkMode.HOST_NETWORK,
      status: conditions?.ready === false ? WorkloadStatus.UNHEALTHY : WorkloadStatus.HEALTHY,
      services: serviceMap([[service, create(PortListSchema, { ports })]]),
    });
    return [workload];
  });
}
