import type { Cluster, FederatedService } from '../api/gen/isthmus/peering_pb.js';
import { WorkloadStatus, type Workload } from '../api/gen/istio/workload_pb.js';
import { globalHostname } from '../api/names.ts';
import type { ErrorCode } from '../core/index.ts';
import { tryParseSpiffe } from '../pki/index.ts';
import { AddressRanges, isPodAddress } from './address-ranges.ts';
import { serviceOf } from './desired-entries.ts';
import { isClusterId, isLabelName, isLabelValue, isSubdomain } from './entry-names.ts';

/** Why something that a peer said is not believed. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
}

/** What a peer may be, by its Gateway and by what this cluster is. */
export interface PeerExpectation {
  /** This cluster's id: no peer may have it. */
  readonly ownCluster: string;
  /** The trust domain of the mesh: the API of entries cannot express another for one entry. */
  readonly ownTrustDomain: string;
  /** From the Gateway's label or name; undefined when neither says. */
  readonly cluster: string | undefined;
  /** From the Gateway's label. */
  readonly network: string | undefined;
  /** From the Gateway's annotation. */
  readonly trustDomain: string | undefined;
}

/** A Cluster that was found right, with its ranges. */
export interface KnownPeer {
  readonly clusterId: string;
  readonly network: string;
  readonly trustDomain: string;
  readonly ranges: AddressRanges;
  /** The same as texts. */
  readonly podRanges: readonly string[];
  /** Hex SHA-256 of the authorities that it announces as its own. */
  readonly authorities: readonly string[];
}

/** One in use and those around it: who announces more is not renewing. */
const maxAuthorities = 4;
/** As many as the largest clusters have nodes, each with a range. */
const maxRanges = 20_000;

export function validateCluster(name: string, cluster: Cluster, expected: PeerExpectation): KnownPeer | Refusal {
  const { clusterId, network, trustDomain, podRanges } = cluster;
  if (name !== clusterId || !isClusterId(clusterId)) {
    return {
      code: 'PEERING_CLUSTER_ID',
      message: `the peer's cluster id ${quote(clusterId)} cannot be one (lower-case letters, digits and -, at most 63)`,
    };
  }
  if (clusterId === expected.ownCluster)
    return { code: 'PEERING_CLUSTER_ID', message: `the peer says it is ${quote(clusterId)}, which is this cluster` };
  if (expected.cluster !== undefined && clusterId !== expected.cluster) {
    return { code: 'PEERING_CLUSTER_ID', message: `the peer says it is ${quote(clusterId)}, its Gateway says ${quote(expected.cluster)}` };
  }
  if (network === '') return { code: 'PEERING_NETWORK', message: 'the peer does not say which network it is in' };
  if (!isLabelValue(network)) return { code: 'PEERING_NETWORK', message: `the peer's network ${quote(network)} cannot be a label's value` };
  if (expected.network !== undefined && network !== expected.network) {
    return {
      code: 'PEERING_NETWORK',
      message: `the peer says it is in network ${quote(network)}, its Gateway says ${quote(expected.network)}`,
    };
  }
  if (expected.trustDomain !== undefined && trustDomain !== expected.trustDomain) {
    return {
      code: 'PEERING_TRUST_DOMAIN',
      message: `the peer says its trust domain is ${quote(trustDomain)}, its Gateway says ${quote(expected.trustDomain)}`,
    };
  }
  if (trustDomain !== expected.ownTrustDomain) {
    return {
      code: 'PEERING_TRUST_DOMAIN',
      message: `the peer's trust domain is ${quote(trustDomain)}, this cluster's is ${quote(expected.ownTrustDomain)}: they must be the same`,
    };
  }
  const ranges = podRanges.length > maxRanges ? undefined : AddressRanges.parse(podRanges);
  if (ranges === undefined) {
    return { code: 'PEERING_RESOURCE_REFUSED', message: `the peer's pod ranges are no CIDRs, or too many: ${quote(podRanges.join(', '))}` };
  }
  const authorities = cluster.caSha256;
  if (authorities.length > maxAuthorities || !authorities.every((sha256) => /^[0-9a-f]{64}$/.test(sha256))) {
    return { code: 'PEERING_RESOURCE_REFUSED', message: 'what the peer announces as its authorities are no SHA-256 sums, or too many' };
  }
  return { clusterId, network, trustDomain, ranges, podRanges, authorities };
}

export function isRefusal(value: object): value is Refusal {
  return 'code' in value && 'message' in value;
}

/** What a WorkloadEntry can have. */
const maxPorts = 128;
/** Service accounts of one service's pods. */
const maxIdentities = 1000;
/** Services that one pod serves. */
const maxServices = 100;
/** Of a dual-stack pod. */
const maxAddresses = 2;

/** Why a FederatedService is not believed; undefined when it is. */
export function validateService(name: string, service: FederatedService, peer: KnownPeer): Refusal | undefined {
  const refuse = (message: string): Refusal => ({ code: 'PEERING_RESOURCE_REFUSED', message });
  const { namespace, hostname, ports } = service;
  if (!isLabelName(namespace) || !isLabelName(service.name)) return refuse('it has no name, or one that no Service can have');
  if (name !== `${namespace}/${service.name}`) return refuse(`it is ${namespace}/${service.name} inside`);
  if (hostname !== globalHostname(service.name, namespace)) return refuse(`its hostname ${quote(hostname)} is not its own`);
  if (ports.length === 0 || ports.length > maxPorts) return refuse(`it has ${ports.length} ports`);
  if (!ports.every((port) => isPort(port.number) && isLabelName(port.name))) return refuse('it has a port without a valid name and number');
  if (new Set(ports.map(({ number }) => number)).size < ports.length) return refuse('it has one port number twice');
  if (service.scope !== 'global' && service.scope !== 'global-only') return refuse(`its scope ${quote(service.scope)} is not known`);
  if (service.subjectAltNames.length > maxIdentities) return refuse(`it has ${service.subjectAltNames.length} identities`);
  const stranger = service.subjectAltNames.find((uri) => {
    const identity = tryParseSpiffe(uri);
    return identity?.trustDomain !== peer.trustDomain || identity.namespace !== namespace;
  });
  if (stranger !== undefined) return refuse(`it names the identity ${quote(stranger)}, which is not of its namespace`);
  return undefined;
}

/** Why a Workload is not believed; undefined when it is. */
export function validateWorkload(name: string, workload: Workload, peer: KnownPeer, ownRanges: AddressRanges): Refusal | undefined {
  const refuse = (message: string): Refusal => ({ code: 'PEERING_RESOURCE_REFUSED', message });
  const { namespace, addresses, serviceAccount } = workload;
  if (!isLabelName(namespace) || !isSubdomain(workload.name)) return refuse('it has no name, or one that no pod can have');
  if (name !== workload.uid || name !== `${peer.clusterId}//Pod/${namespace}/${workload.name}`) {
    return { code: 'PEERING_CLUSTER_ID', message: `its uid is not that of a pod of ${peer.clusterId}` };
  }
  if (workload.clusterId !== peer.clusterId) {
    return { code: 'PEERING_CLUSTER_ID', message: `it says it is of cluster ${quote(workload.clusterId)}` };
  }
  if ((workload.trustDomain || 'cluster.local') !== peer.trustDomain) {
    return { code: 'PEERING_TRUST_DOMAIN', message: `it says its trust domain is ${quote(workload.trustDomain)}` };
  }
  if (workload.network !== peer.network) return { code: 'PEERING_NETWORK', message: `it says it is in network ${quote(workload.network)}` };
  if (!isSubdomain(serviceAccount)) return refuse('it has no service account');
  if (workload.status !== WorkloadStatus.HEALTHY) return refuse('it is not ready');
  const { locality, canonicalName, canonicalRevision } = workload;
  if (locality !== undefined && ![locality.region, locality.zone, locality.subzone].every(isLabelValue)) {
    return refuse(`its locality ${quote(`${locality.region}/${locality.zone}/${locality.subzone}`)} is not made of label values`);
  }
  // Names that are too long for a label are left out of the entry; what is no name at all is refused.
  if (!isName(canonicalName) || !isName(canonicalRevision)) return refuse(`its canonical name ${quote(canonicalName)} is none`);
  if (addresses.length > maxAddresses) return refuse(`it has ${addresses.length} addresses`);
  if (addresses.length === 0 || !addresses.every(isPodAddress)) return refuse('it has no address at which a pod can be');
  const inside = (bytes: Uint8Array): boolean => (peer.ranges.isEmpty || peer.ranges.has(bytes)) && !ownRanges.has(bytes);
  if (!addresses.every(inside)) return refuse("its address is outside of its cluster's pod ranges");
  const services = Object.entries(workload.services);
  if (services.length > maxServices) return refuse(`it serves ${services.length} services`);
  for (const [key, { ports }] of services) {
    if (ports.length > maxPorts) return refuse(`it has ${ports.length} ports for one service`);
    const service = serviceOf(key, namespace);
    if (service === undefined || !isLabelName(service)) return refuse(`it claims to serve ${quote(key)}, which is not of its namespace`);
    if (!ports.every((port) => isPort(port.servicePort) && isPort(port.targetPort))) return refuse('it has a port that is no port number');
  }
  return undefined;
}

/** Empty, or a text that a name of a workload or a version of it can be. */
function isName(text: string): boolean {
  return text.length <= 253 && /^[A-Za-z0-9_.-]*$/.test(text);
}

function isPort(number: number): boolean {
  return number >= 1 && number <= 65_535;
}

/** What a peer says goes into logs and conditions: short, and on one line. */
function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
