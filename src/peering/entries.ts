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

/** Where the entries of a service stand, and whom its ServiceEntry selects there. */
export interface EntryPlace {
  readonly namespace: string;
  /**
   * The selector of the local Service, when its pods are to join by it, with their ports by number: in the service's own namespace.
   * Undefined: the ServiceEntry selects WorkloadEntries alone.
   */
  readonly local?:
    { readonly selector: Readonly<Record<string, string>>; readonly targetPorts: Readonly<Record<number, number>> } | undefined;
}

/**
 * The entry that gives a global service its name. In the root namespace its own pods join by the parent's selector, those of peers by the
 * workloadSelector; elsewhere both join by that.
 */
export function serviceEntry(service: GlobalService, { namespace, local }: EntryPlace): ServiceEntry {
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: {
      name: serviceEntryName(service.namespace, service.name),
      namespace,
      labels: { ...parentLabels(service), ...federatedLabel(service) },
    },
    spec: {
      hosts: [globalHostname(service.name, service.namespace)],
      ports: service.ports.map((port) => ({
        name: port.name,
        number: port.number,
        ...(isProtocol(port.protocol) && { protocol: port.protocol }),
        ...(local?.targetPorts[port.number] !== undefined && { targetPort: local.targetPorts[port.number] }),
      })),
      resolution: 'STATIC',
      workloadSelector: { labels: local === undefined ? federatedLabel(service) : { ...local.selector } },
      ...(service.subjectAltNames.length > 0 && { subjectAltNames: [...service.subjectAltNames] }),
    },
  };
}

/** What every entry of a service that is to be selected carries, whatever else selects it. */
export function federatedLabel({ namespace, name }: { readonly namespace: string; readonly name: string }): Record<string, string> {
  return { [labels.federatedService]: serviceHash(namespace, name) };
}

/**
 * Whether entries can carry the labels of a selector: none that says where an entry comes from, or changes how it is reached.
 */
export function mayCarry(selector: Readonly<Record<string, string>>): boolean {
  return !ownedLabels.some((label) => label in selector && label !== labels.canonicalName && label !== labels.canonicalRevision);
}

/** Where a peer is, as far as its entries say so. */
export interface PeerSite {
  readonly clusterId: string;
  readonly network: string;
  /** From the Gateway's label, for workloads whose node does not say where it is. */
  readonly region: string | undefined;
  /** CIDRs that it declares as its pods'; empty: it does not say. */
  readonly podRanges: readonly string[];
  /** RFC 3339, when it was linked: of two peers that claim one address, the one that was there first has it. */
  readonly linked: string;
}

/**
 * The entry for a peer's gateway: no address, only a network. Inside one network nothing goes through it, so the service does not
 * select it there; `endpoints` (how many stand behind the gateway) is its weight on another network.
 */
export function gatewayEntry(
  service: { readonly namespace: string; readonly name: string; readonly scope: string },
  peer: PeerSite,
  place: EntryPlace & { readonly flat: boolean; readonly endpoints: number },
): WorkloadEntry {
  const { name, namespace } = service;
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'WorkloadEntry',
    metadata: {
      name: gatewayEntryName(peer.clusterId, namespace, name),
      namespace: place.namespace,
      labels: {
        ...parentLabels(service),
        ...peerLabels(peer),
        ...(!place.flat && { ...federatedLabel(service), ...place.local?.selector }),
      },
    },
    spec: {
      network: peer.network,
      ...(peer.region !== undefined && { locality: peer.region }),
      ...(!place.flat && { weight: place.endpoints }),
    },
  };
}

/** The entry for one pod of a peer, for one global service. Undefined when the pod has none of the `ports` (names to numbers). */
export function flatEntry(
  workload: Workload,
  service: { readonly namespace: string; readonly name: string; readonly scope: string },
  peer: PeerSite,
  { namespace, local, ports }: EntryPlace & { readonly ports: Readonly<Record<string, number>> },
): WorkloadEntry | undefined {
  const [address] = workload.addresses;
  if (address === undefined || Object.keys(ports).length === 0) return undefined;
  const locality = localityText(workload.locality) ?? peer.region;
  const isCaptured = workload.tunnelProtocol === TunnelProtocol.HBONE && !workload.nativeTunnel;
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'WorkloadEntry',
    metadata: {
      name: flatEntryName(peer.clusterId, workload.namespace, workload.name, service.name),
      namespace,
      labels: {
        ...parentLabels(service),
        ...peerLabels(peer),
        ...federatedLabel(service),
        ...(workload.canonicalName !== '' && isLabelValue(workload.canonicalName) && { [labels.canonicalName]: workload.canonicalName }),
        ...(workload.canonicalRevision !== '' &&
          isLabelValue(workload.canonicalRevision) && { [labels.canonicalRevision]: workload.canonicalRevision }),
        ...(workload.nativeTunnel && { 'networking.istio.io/tunnel': 'http' }),
        // Last: what is selected by a label has to carry it.
        ...local?.selector,
      },
      ...(isCaptured && { annotations: { [annotations.redirection]: 'enabled' } }),
    },
    spec: {
      address: addressText(address),
      network: workload.network,
      serviceAccount: workload.serviceAccount,
      ports,
      ...(locality !== undefined && { locality }),
      ...(workload.capacity !== undefined && { weight: workload.capacity }),
    },
  };
}

/** The ports of a service on a pod of a peer, by their names in the ServiceEntry; only those that the pod has. */
export function flatPorts(workload: Workload, service: GlobalService): Readonly<Record<string, number>> {
  const offered = workload.services[`${service.namespace}/${globalHostname(service.name, service.namespace)}`]?.ports ?? [];
  return Object.fromEntries(
    service.ports.flatMap((port): [string, number][] => {
      const target = offered.find(({ servicePort }) => servicePort === port.number);
      return target === undefined ? [] : [[port.name, target.targetPort]];
    }),
  );
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
