import { labels as names } from '../../api/names.ts';
import type { Node, Pod, Service } from '../../api/kubernetes.ts';
import { canonicalJson } from './equality.ts';
import type { Endpoint, EndpointPort, ServicePort } from './objects.ts';
import { isPodFinished, isPodReady, isPodTerminating } from './pod-state.ts';

/** The endpoints of a Service: what its pods are to those who call it. Pure; the EndpointSlice and Endpoints controllers write it. */

/** Endpoints that have the same ports. A named target port can be another number in each pod. */
export interface EndpointGroup {
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
}

/** Whether the service's endpoints are made from a selector at all. */
export function hasSelectedEndpoints(service: Service): boolean {
  const { selector, type } = service.spec ?? {};
  return type !== 'ExternalName' && selector !== undefined && Object.keys(selector).length > 0;
}

export function isHeadless(service: Service): boolean {
  return service.spec?.clusterIP === 'None';
}

/** The endpoints that `pods` (those the selector matches) give the service, grouped by ports. */
export function endpointGroups(
  service: Service,
  pods: readonly Pod[],
  nodeOf: (name: string) => Node | undefined,
): readonly EndpointGroup[] {
  const groups = new Map<string, { ports: readonly EndpointPort[]; endpoints: Endpoint[] }>();
  for (const pod of pods) {
    const address = pod.status?.podIP;
    if (address === undefined || address === '' || isPodFinished(pod)) continue;
    const ports = portsOf(service, pod);
    const key = canonicalJson(ports);
    let group = groups.get(key);
    if (group === undefined) groups.set(key, (group = { ports, endpoints: [] }));
    group.endpoints.push(endpointOf(service, pod, address, nodeOf));
  }
  return [...groups.values()];
}

function portsOf(service: Service, pod: Pod): readonly EndpointPort[] {
  return (service.spec?.ports ?? []).flatMap((servicePort) => {
    const port = targetPort(servicePort, pod);
    if (port === undefined) return [];
    return [
      {
        name: servicePort.name ?? '',
        protocol: servicePort.protocol ?? 'TCP',
        port,
        ...(servicePort.appProtocol !== undefined && { appProtocol: servicePort.appProtocol }),
      },
    ];
  });
}

/** The pod's number for a service's port; undefined when it has no container port of that name. */
function targetPort(servicePort: ServicePort, pod: Pod): number | undefined {
  const target = servicePort.targetPort ?? servicePort.port;
  if (typeof target === 'number') return target === 0 ? servicePort.port : target;
  // Sidecars are init containers that stay.
  const sidecars = (pod.spec?.initContainers ?? []).filter((container) => container.restartPolicy === 'Always');
  for (const container of [...(pod.spec?.containers ?? []), ...sidecars]) {
    for (const port of container.ports ?? []) {
      if (port.name === target && (port.protocol ?? 'TCP') === (servicePort.protocol ?? 'TCP')) return port.containerPort;
    }
  }
  return undefined;
}

function endpointOf(service: Service, pod: Pod, address: string, nodeOf: (name: string) => Node | undefined): Endpoint {
  const serving = isPodReady(pod);
  const terminating = isPodTerminating(pod);
  const nodeName = pod.spec?.nodeName;
  const zone = nodeName === undefined ? undefined : nodeOf(nodeName)?.metadata.labels?.[names.zone];
  const { name, namespace, uid } = pod.metadata;
  const { hostname, subdomain } = pod.spec ?? {};
  const named = hostname !== undefined && hostname !== '' && subdomain === service.metadata.name;
  return {
    addresses: [address],
    conditions: { ready: service.spec?.publishNotReadyAddresses === true || (serving && !terminating), serving, terminating },
    ...(named && { hostname }),
    ...(nodeName !== undefined && { nodeName }),
    targetRef: { kind: 'Pod', name, ...(namespace !== undefined && { namespace }), ...(uid !== undefined && { uid }) },
    ...(zone !== undefined && { zone }),
  };
}

/** What of a pod its endpoints are made from; a change of anything else (a restart count, say) concerns no service. */
export function endpointFacts(pod: Pod): unknown {
  const { podIP } = pod.status ?? {};
  const { nodeName, hostname, subdomain } = pod.spec ?? {};
  return [
    pod.metadata.uid,
    pod.metadata.labels,
    podIP,
    nodeName,
    hostname,
    subdomain,
    isPodReady(pod),
    isPodFinished(pod),
    isPodTerminating(pod),
  ];
}
