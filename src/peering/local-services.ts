import type { Pod } from '../api/kubernetes.ts';
import { flatMap, indexBy, map, type Collection, type Graph } from '../collections/index.ts';
import { isPodReady, podPorts, type SelectorIndex, type ServiceInfo } from '../mesh/index.ts';

/** A Service of this cluster that is exported, as a ServiceEntry of its own namespace has to describe it for the local pods. */
export interface LocalService {
  readonly namespace: string;
  readonly name: string;
  readonly selector: Readonly<Record<string, string>>;
  /** Service port to the port of the local pods; without those that no pod has. */
  readonly targetPorts: Readonly<Record<number, number>>;
  /** Named target ports that none of the pods has: the pods that there are do not offer the port. */
  readonly unresolved: readonly number[];
  /** What cannot be said truly in a ServiceEntry, which has one number for all pods; one sentence each. */
  readonly problems: readonly string[];
}

interface Exported {
  readonly info: ServiceInfo;
  readonly selector: ServiceInfo['selector'];
}

/** What one pod has for the named target ports of the services that select it. */
interface PodTargets {
  readonly isReady: boolean;
  /** By key of the service: service port to port of the pod. */
  readonly services: Readonly<Record<string, Readonly<Record<number, number>>>>;
}

/**
 * The exported Services with the target ports of their pods. Numbers are what the Service says. A name is looked up in the pods: in the ready
 * ones, and while none is ready in all, as istiod lets them join before they are ready. Where they do not agree, the number of most counts.
 */
export function deriveLocalServices<T extends Exported>(
  graph: Graph,
  inputs: { readonly exported: Collection<T>; readonly bySelector: SelectorIndex<T>; readonly pods: Collection<Pod> },
): Collection<LocalService> {
  const targets = map(
    graph,
    inputs.pods,
    (pod, fetch): PodTargets | undefined => {
      const { phase, podIP } = pod.status ?? {};
      if (podIP === undefined || phase === 'Succeeded' || phase === 'Failed') return undefined;
      const selecting = inputs.bySelector.selecting(fetch, pod.metadata.namespace ?? '', pod.metadata.labels ?? {});
      const named = selecting.filter(({ info }) => info.ports.some(({ target }) => 'name' in target));
      if (named.length === 0) return undefined;
      const services = named.map(({ info }) => {
        const { ports } = podPorts(pod, info);
        return [info.key, Object.fromEntries(ports.map(({ servicePort, targetPort }) => [servicePort, targetPort]))] as const;
      });
      return { isReady: isPodReady(pod), services: Object.fromEntries(services) };
    },
    { name: 'peeringPodTargets' },
  );
  const byService = indexBy(graph, targets, { name: 'peeringPodTargetsByService', keysOf: ({ services }) => Object.keys(services) });
  return flatMap(
    graph,
    inputs.exported,
    ({ info, selector }, fetch, key): [string, LocalService][] => {
      if (selector === undefined) return [];
      const targetPorts: Record<number, number> = {};
      const unresolved: number[] = [];
      const problems: string[] = [];
      const pods = info.ports.some(({ target }) => 'name' in target) ? fetch.lookup(byService, info.key) : [];
      const ready = pods.filter(({ isReady }) => isReady);
      for (const { servicePort, target } of info.ports) {
        if ('number' in target) {
          targetPorts[servicePort] = target.number;
          continue;
        }
        const asked = ready.length > 0 ? ready : pods;
        const counts = new Map<number, number>();
        for (const { services } of asked) {
          const found = services[info.key]?.[servicePort];
          if (found !== undefined) counts.set(found, (counts.get(found) ?? 0) + 1);
        }
        const [most, ...others] = [...counts].sort(([a, countA], [b, countB]) => countB - countA || a - b).map(([number]) => number);
        if (most !== undefined) targetPorts[servicePort] = most;
        else if (asked.length > 0) {
          unresolved.push(servicePort);
          problems.push(`port ${servicePort} goes to the port named ${target.name}, which none of its pods has: the global name lacks it`);
        }
        if (others.length > 0) {
          problems.push(
            `port ${servicePort} goes to the port named ${target.name}, which is ${[most, ...others].join(' or ')} in its pods: ` +
              `the global name reaches all of them on ${most}`,
          );
        }
      }
      return [[key, { namespace: info.objectNamespace, name: info.objectName, selector, targetPorts, unresolved, problems }]];
    },
    { name: 'peeringLocalServices' },
  );
}
