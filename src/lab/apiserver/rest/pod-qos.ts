import type { AnyObject } from '../../../api/kubernetes.ts';
import { asList, asObject } from '../json.ts';

/** The quality of service that a pod's requests and limits give it (qos.GetPodQOS). */
export function qosClass(pod: AnyObject): 'BestEffort' | 'Burstable' | 'Guaranteed' {
  const spec = asObject(pod['spec']);
  const containers = [...asList(spec['initContainers']), ...asList(spec['containers'])].map(asObject);
  const resources = containers.map((container) => {
    const { limits, requests } = asObject(container['resources']);
    return { limits: compute(limits), requests: compute(requests) };
  });
  if (resources.every(({ limits, requests }) => Object.keys({ ...limits, ...requests }).length === 0)) return 'BestEffort';
  const guaranteed = resources.every(
    ({ limits, requests }) =>
      limits['cpu'] !== undefined &&
      limits['memory'] !== undefined &&
      (['cpu', 'memory'] as const).every((name) => requests[name] === undefined || requests[name] === limits[name]),
  );
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

/** CPU and memory of a resource list, without zeros. */
function compute(list: unknown): Record<string, unknown> {
  const { cpu, memory } = asObject(list);
  return { ...(isSet(cpu) && { cpu }), ...(isSet(memory) && { memory }) };
}

function isSet(quantity: unknown): boolean {
  return quantity !== undefined && quantity !== '0';
}
