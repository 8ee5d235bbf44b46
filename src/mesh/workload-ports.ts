import { create } from '@bufbuild/protobuf';

import { PortListSchema, PortSchema, type PortList } from '../api/gen/istio/workload_pb.js';
import type { Pod } from '../api/kubernetes.ts';
import type { ServiceInfo, ServiceInfoPort } from './model.ts';

/** One port of a service to the port of a workload; undefined when the workload does not have it. */
type PortOf = (port: ServiceInfoPort) => number | undefined;

/** The services of a workload, by key in order: the bytes of a workload must not depend on the order of its making. */
export function serviceMap(entries: readonly (readonly [ServiceInfo, PortList])[]): Record<string, PortList> {
  const byKey = entries.map(([info, list]) => [info.key, list] as const);
  return Object.fromEntries(byKey.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The ports of a service on a pod. */
export function podPorts(pod: Pod, info: ServiceInfo): PortList {
  return portList(info, podPort(pod, info.kind));
}

/**
 * The ports of a global service on a pod of its local Service: the ServiceEntry says which ports the name has in all
 * clusters, the Service which of them this cluster has, and where they go here.
 */
export function podPortsThrough(pod: Pod, service: ServiceInfo, global: ServiceInfo): PortList {
  const target = podPort(pod, 'Service');
  return portList(global, ({ servicePort }) => {
    const own = service.ports.find((port) => port.servicePort === servicePort);
    return own === undefined ? undefined : target(own);
  });
}

/** The ports of a service on a WorkloadEntry or an endpoint that has `ports` of its own by name. */
export function entryPorts(ports: Readonly<Record<string, number>> | undefined, info: ServiceInfo): PortList {
  return portList(info, ({ name, target }) => {
    if ('name' in target) return ports?.[target.name];
    return ports?.[name] ?? target.number;
  });
}

/** The ports of a global service on an entry of a peer, which names every port that the peer has: others are not there. */
export function peerEntryPorts(ports: Readonly<Record<string, number>>, info: ServiceInfo): PortList {
  return portList(info, ({ name }) => ports[name]);
}

function portList(info: ServiceInfo, portOf: PortOf): PortList {
  const ports = info.ports.flatMap((port) => {
    const targetPort = portOf(port);
    return targetPort === undefined ? [] : [create(PortSchema, { servicePort: port.servicePort, targetPort })];
  });
  return create(PortListSchema, { ports });
}

function podPort(pod: Pod, kind: ServiceInfo['kind']): PortOf {
  return ({ name, target }) => {
    if ('name' in target) return containerPort(pod, target.name);
    return kind === 'ServiceEntry' ? (containerPort(pod, name) ?? target.number) : target.number;
  };
}

/** Sidecars are init containers that are restarted. */
function containerPort({ spec }: Pod, name: string): number | undefined {
  if (name === '') return undefined;
  const sidecars = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  for (const { ports = [] } of [...(spec?.containers ?? []), ...sidecars]) {
    const found = ports.find((port) => port.name === name && (port.protocol ?? 'TCP') === 'TCP');
    if (found !== undefined) return found.containerPort;
  }
  return undefined;
}
