import { create } from '@bufbuild/protobuf';

import { AppProtocol, PortSchema, ServiceSchema, type NetworkAddress } from '../api/gen/istio/workload_pb.js';
import type { Namespace, ServiceEntry } from '../api/kubernetes.ts';
import { IsthmusError } from '../core/index.ts';
import { networkAddress } from './addresses.ts';
import { protocolByName } from './app-protocol.ts';
import { parentOf } from './federation.ts';
import { passthrough, trafficDistribution } from './load-balancing.ts';
import { serviceKey, type ServiceInfo, type ServiceInfoPort } from './model.ts';

export interface ServiceEntryContext {
  readonly namespace: Namespace | undefined;
  readonly network: string;
  readonly rootNamespace: string;
}

/** How a ServiceEntry finds its endpoints; absent means NONE, as in Istio. */
export function resolutionOf(object: ServiceEntry): 'NONE' | 'STATIC' | 'DNS' | 'DNS_ROUND_ROBIN' | 'DYNAMIC_DNS' {
  return object.spec.resolution ?? 'NONE';
}

/**
 * One service for each host of a ServiceEntry. Throws MESH_ADDRESS_INVALID for an address that is none: the entry then
 * gives no service at all, as in Istio, rather than one that some callers reach and others do not.
 */
export function serviceEntryServices(object: ServiceEntry, context: ServiceEntryContext): ServiceInfo[] {
  const { metadata, spec } = object;
  const parent = parentOf(metadata, context.rootNamespace);
  const namespace = parent?.namespace ?? metadata.namespace ?? '';
  const selector = spec.workloadSelector?.labels ?? {};
  const ports = (spec.ports ?? []).map((port): ServiceInfoPort => ({
    name: port.name,
    servicePort: port.number,
    target: { number: port.targetPort ?? port.number },
  }));
  const loadBalancing =
    resolutionOf(object) === 'NONE'
      ? passthrough()
      : trafficDistribution(undefined, metadata.annotations, context.namespace?.metadata.annotations);
  return spec.hosts.map((hostname) => ({
    key: serviceKey(namespace, hostname),
    kind: 'ServiceEntry' as const,
    objectNamespace: metadata.namespace ?? '',
    objectName: metadata.name,
    created: metadata.creationTimestamp ?? '',
    selector: Object.keys(selector).length === 0 ? undefined : selector,
    ports,
    parent: parent === undefined ? undefined : `${parent.namespace}/${parent.service}`,
    global: false,
    service: create(ServiceSchema, {
      name: metadata.name,
      namespace,
      hostname,
      addresses: addressesOf(object, hostname, context.network),
      ports: (spec.ports ?? []).map((port) =>
        create(PortSchema, {
          servicePort: port.number,
          // Clusters may have different ports: of an endpoint counts what it lists itself, and 0 keeps proxies from taking one that does not.
          targetPort: parent === undefined ? (port.targetPort ?? port.number) : 0,
          appProtocol: protocolByName(port.protocol ?? '') ?? AppProtocol.UNKNOWN,
        }),
      ),
      subjectAltNames: spec.subjectAltNames ?? [],
      loadBalancing,
    }),
  }));
}

function addressesOf(object: ServiceEntry, hostname: string, network: string): NetworkAddress[] {
  const own = object.spec.addresses ?? [];
  const given = own.length > 0 ? own : allocated(object, hostname);
  return given.map((text) => {
    const address = networkAddress(network, text);
    if (address !== undefined) return address;
    throw new IsthmusError(
      'MESH_ADDRESS_INVALID',
      `ServiceEntry ${object.metadata.namespace ?? ''}/${object.metadata.name}: "${text}" is no address`,
      {
        hint: 'an entry with such an address gives no service; use IP addresses or CIDR ranges',
      },
    );
  });
}

function allocated(object: ServiceEntry, hostname: string): string[] {
  if (!mayAllocate(object, hostname)) return [];
  return allocatedAddresses(object).flatMap(({ host, value }) => (host === hostname ? [value] : []));
}

/** Whether a host gets addresses of its own when the entry names none. A wildcard stands for many hosts: only with DYNAMIC_DNS. */
export function mayAllocate(object: ServiceEntry, hostname: string): boolean {
  const resolution = resolutionOf(object);
  if (resolution === 'NONE' || (object.spec.addresses ?? []).length > 0) return false;
  if (object.metadata.labels?.['networking.istio.io/enable-autoallocate-ip'] === 'false') return false;
  return !hostname.startsWith('*') || resolution === 'DYNAMIC_DNS';
}

/** One address given to a host: `status.addresses[]`. */
export interface AllocatedAddress {
  readonly value: string;
  readonly host?: string | undefined;
}

/** What the allocator wrote. The CRD keeps the field, but its schema (and so the type) does not name it. */
export function allocatedAddresses(object: ServiceEntry): readonly AllocatedAddress[] {
  return (object.status as { addresses?: readonly AllocatedAddress[] } | undefined)?.addresses ?? [];
}
