import { create } from '@bufbuild/protobuf';

import { IPFamilies, PortSchema, ServiceSchema } from '../api/gen/istio/workload_pb.js';
import type { Namespace, Service } from '../api/kubernetes.ts';
import { networkAddress } from './addresses.ts';
import { appProtocolOf } from './app-protocol.ts';
import { isGlobal } from './federation.ts';
import { localNodeOnly, trafficDistribution, withUnhealthy } from './load-balancing.ts';
import { serviceKey, type ServiceInfo, type ServiceInfoPort, type TargetPort } from './model.ts';

export interface KubernetesServiceContext {
  readonly namespace: Namespace | undefined;
  readonly network: string;
  readonly clusterDomain: string;
}

/** The hostname of a Service inside its cluster. */
export function kubernetesHostname(name: string, namespace: string, clusterDomain: string): string {
  return `${name}.${namespace}.svc.${clusterDomain}`;
}

/** A Kubernetes Service as the mesh sees it; undefined for ExternalName, which is only a DNS alias. */
export function kubernetesService(object: Service, context: KubernetesServiceContext): ServiceInfo | undefined {
  const { metadata, spec = {} } = object;
  if (spec.type === 'ExternalName') return undefined;
  const { name, namespace = '' } = metadata;
  const hostname = kubernetesHostname(name, namespace, context.clusterDomain);
  const ports = (spec.ports ?? []).map((port): ServiceInfoPort => ({
    name: port.name ?? '',
    servicePort: port.port,
    target: targetOf(port.targetPort, port.port),
  }));
  const preference = trafficDistribution(spec.trafficDistribution, metadata.annotations, context.namespace?.metadata.annotations);
  const loadBalancing = spec.internalTrafficPolicy === 'Local' ? localNodeOnly() : preference;
  const selector = spec.selector ?? {};
  return {
    key: serviceKey(namespace, hostname),
    kind: 'Service',
    objectNamespace: namespace,
    objectName: name,
    created: metadata.creationTimestamp ?? '',
    selector: Object.keys(selector).length === 0 ? undefined : selector,
    ports,
    parent: undefined,
    global: isGlobal(metadata, context.namespace?.metadata),
    service: create(ServiceSchema, {
      name,
      namespace,
      hostname,
      addresses: (spec.clusterIPs ?? [spec.clusterIP ?? '']).flatMap((ip) => networkAddress(context.network, ip) ?? []),
      ports: (spec.ports ?? []).map((port, at) => {
        const target = ports[at]?.target;
        const targetPort = target !== undefined && 'number' in target ? target.number : 0;
        return create(PortSchema, { servicePort: port.port, targetPort, appProtocol: appProtocolOf(port) });
      }),
      ipFamilies: familiesOf(spec.ipFamilies ?? []),
      loadBalancing: spec.publishNotReadyAddresses === true ? withUnhealthy(loadBalancing) : loadBalancing,
    }),
  };
}

/** An API server fills in targetPort; one that did not means the port itself. */
function targetOf(targetPort: string | number | undefined, port: number): TargetPort {
  if (targetPort === undefined) return { number: port };
  return typeof targetPort === 'number' ? { number: targetPort } : { name: targetPort };
}

function familiesOf(families: readonly string[]): IPFamilies {
  if (families.length > 1) return IPFamilies.DUAL;
  if (families[0] === 'IPv4') return IPFamilies.IPV4_ONLY;
  return families[0] === 'IPv6' ? IPFamilies.IPV6_ONLY : IPFamilies.AUTOMATIC;
}
