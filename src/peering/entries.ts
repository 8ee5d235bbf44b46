import { TunnelProtocol, type Locality, type Workload } from '../api/gen/istio/workload_pb.js';
import type { ServiceEntry, WorkloadEntry } from '../api/kubernetes.ts';
import { annotations, globalHostname, labels } from '../api/names.ts';
import { addressText } from '../mesh/index.ts';
import { flatEntryName, gatewayEntryName, isLabelValue, serviceEntryName, serviceHash } from './entry-names.ts';
import type { GlobalService } from './global-services.ts';

/** The labels that entries may carry and that are kept as derived; others are left alone. */
export const ownedLabels: readonly string[] = [
  labels.parentService,
  labels.parentServiceNamespace,
  labels.serviceScope,
  labels.federatedService,
  labels.peer,
  labels.cluster,
  labels.canonicalName,
  labels.canonicalRevision,
  'networking.istio.io/tunnel',
];

/** Likewise, annotations. */
export const ownedAnnotations: readonly string[] = [annotations.redirection];

/** The entry that gives a global service its name. Its own pods join by the parent's selector, those of peers by the workloadSelector. */
export function serviceEntry(service: GlobalService, rootNamespace: string): ServiceEntry {
  const { name, namespace } = service;
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: {
      name: serviceEntryName(namespace, name),
      namespace: rootNamespace,
      labels: { ...parentLabels(service), [labels.federatedService]: serviceHash(namespace, name) },
    },
    spec: {
      hosts: [globalHostname(name, namespace)],
      ports: service.ports.map((port) => ({
        name: port.name,
        number: port.number,
        ...(isProtocol(port.protocol) && { protocol: port.protocol }),
      })),
      resolution: 'STATIC',
      workloadSelector: { labels: { [labels.federatedService]: serviceHash(namespace, name) } },
      ...(service.subjectAltNames.length > 0 && { subjectAltNames: [...service.subjectAltNames] }),
    },
  };
}

/** Where a peer is, as far as its entries say so. */
export interface PeerSite {
  readonly clusterId: string;
  readonly network: string;
  /** From the Gateway's label, for workloads whose node does not say where it is. */
  readonly region: string | undefined;
}

/**
 * The entry for a peer's gateway: no address, only a network. Inside one network nothing goes through it, so the service does not
 * select it there; `endpoints` (how many stand behind the gateway) is its weight on another network.
 */
export function gatewayEntry(
  service: { readonly namespace: string; readonly name: string; readonly scope: string },
  peer: PeerSite,
  place: { readonly rootNamespace: string; readonly flat: boolean; readonly endpoints: number },
): WorkloadEntry {
  const { name, namespace } = service;
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'WorkloadEntry',
    metadata: {
      name: gatewayEntryName(peer.clusterId, namespace, name),
      namespace: place.rootNamespace,
      labels: {
        ...parentLabels(service),
        ...peerLabels(peer),
        ...(!place.flat && { [labels.federatedService]: serviceHash(namespace, name) }),
      },
    },
    spec: {
      network: peer.network,
      ...(peer.region !== undefined && { locality: peer.region }),
      ...(!place.flat && { weight: place.endpoints }),
    },
  };
}

/** The entry for one pod of a peer, for one global service. Undefined when the pod has none of the service's ports. */
export function flatEntry(workload: Workload, service: GlobalService, peer: PeerSite, rootNamespace: string): WorkloadEntry | undefined {
  const { name, namespace } = service;
  const [address] = workload.addresses;
  const offered = workload.services[`${namespace}/${globalHostname(name, namespace)}`]?.ports ?? [];
  const ports = service.ports.flatMap((port): [string, number][] => {
    const target = offered.find(({ servicePort }) => servicePort === port.number);
    return target === undefined ? [] : [[port.name, target.targetPort]];
  });
  if (address === undefined || ports.length === 0) return undefined;
  const locality = localityText(workload.locality) ?? peer.region;
  const isCaptured = workload.tunnelProtocol === TunnelProtocol.HBONE && !workload.nativeTunnel;
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'WorkloadEntry',
    metadata: {
      name: flatEntryName(peer.clusterId, workload.namespace, workload.name, name),
      namespace: rootNamespace,
      labels: {
        ...parentLabels(service),
        ...peerLabels(peer),
        [labels.federatedService]: serviceHash(namespace, name),
        ...(workload.canonicalName !== '' && isLabelValue(workload.canonicalName) && { [labels.canonicalName]: workload.canonicalName }),
        ...(workload.canonicalRevision !== '' &&
          isLabelValue(workload.canonicalRevision) && { [labels.canonicalRevision]: workload.canonicalRevision }),
        ...(workload.nativeTunnel && { 'networking.istio.io/tunnel': 'http' }),
      },
      ...(isCaptured && { annotations: { [annotations.redirection]: 'enabled' } }),
    },
    spec: {
      address: addressText(address),
      network: workload.network,
      serviceAccount: workload.serviceAccount,
      ports: Object.fromEntries(ports),
      ...(locality !== undefined && { locality }),
      ...(workload.capacity !== undefined && { weight: workload.capacity }),
    },
  };
}

function parentLabels({ name, namespace, scope }: { readonly name: string; readonly namespace: string; readonly scope: string }) {
  return { [labels.parentService]: name, [labels.parentServiceNamespace]: namespace, [labels.serviceScope]: scope };
}

function peerLabels({ clusterId }: PeerSite) {
  return { [labels.peer]: clusterId, [labels.cluster]: clusterId };
}

/** `region/zone/subzone`, without what is missing at the end. */
function localityText(locality: Locality | undefined): string | undefined {
  if (locality === undefined || locality.region === '') return undefined;
  const { region, zone, subzone } = locality;
  return [region, ...(zone === '' ? [] : [zone, ...(subzone === '' ? [] : [subzone])])].join('/');
}

function isProtocol(text: string): boolean {
  return ['HTTP', 'HTTPS', 'HTTP2', 'GRPC', 'TCP', 'TLS'].includes(text);
}
