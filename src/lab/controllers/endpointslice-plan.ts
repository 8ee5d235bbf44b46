import type { EndpointSlice, Service } from '../../api/kubernetes.ts';
import { labels as names } from '../../api/names.ts';
import { canonicalJson, semanticallyEqual } from './equality.ts';
import type { Endpoint, EndpointPort } from './objects.ts';
import { controllerReference } from './ownership.ts';
import { isHeadless, type EndpointGroup } from './service-endpoints.ts';

/** Which EndpointSlices a service should have: as few writes as possible from those there are. */

/** More endpoints than this go into another slice. */
export const maxEndpointsPerSlice = 100;

export const managedByLabel = 'endpointslice.kubernetes.io/managed-by';
export const managedBy = 'endpointslice-controller.k8s.io';
const headlessLabel = 'service.kubernetes.io/headless';

export interface SlicePlan {
  readonly create: readonly EndpointSlice[];
  readonly update: readonly EndpointSlice[];
  readonly remove: readonly EndpointSlice[];
}

/**
 * Compares the wanted endpoints with this controller's slices. An endpoint stays in the slice it is in; new ones fill up what
 * is there; slices that would go are reused before new ones are made. A service without endpoints keeps one empty slice.
 */
export function planSlices(service: Service, groups: readonly EndpointGroup[], existing: readonly EndpointSlice[]): SlicePlan {
  const contents: { slice: EndpointSlice | undefined; ports: readonly EndpointPort[]; endpoints: Endpoint[] }[] = [];
  const spare = new Set(existing);
  for (const { ports, endpoints } of groups) {
    const key = canonicalJson(ports);
    const missing = new Map(endpoints.map((endpoint) => [identity(endpoint), endpoint]));
    const slices = existing.filter((slice) => canonicalJson(slice.ports) === key);
    const mine = slices.map((slice) => {
      const kept = (slice.endpoints ?? []).flatMap((endpoint) => {
        const wanted = missing.get(identity(endpoint));
        missing.delete(identity(endpoint));
        return wanted === undefined ? [] : [wanted];
      });
      return { slice, ports, endpoints: kept };
    });
    const left = [...missing.values()];
    for (const content of mine) content.endpoints.push(...left.splice(0, maxEndpointsPerSlice - content.endpoints.length));
    for (const content of mine) {
      if (content.endpoints.length === 0) continue;
      spare.delete(content.slice);
      contents.push(content);
    }
    while (left.length > 0) contents.push({ slice: undefined, ports, endpoints: left.splice(0, maxEndpointsPerSlice) });
  }
  if (contents.length === 0) contents.push({ slice: undefined, ports: [], endpoints: [] });

  const create: EndpointSlice[] = [];
  const update: EndpointSlice[] = [];
  for (const { slice, ports, endpoints } of contents) {
    const [reused] = spare;
    const from = slice ?? reused;
    if (from === undefined) {
      create.push(sliceOf(service, ports, endpoints));
      continue;
    }
    spare.delete(from);
    const wanted = { ...sliceOf(service, ports, endpoints), metadata: { ...from.metadata, labels: sliceLabels(service) } };
    if (!sameSlice(wanted, from)) update.push(wanted);
  }
  return { create, update, remove: [...spare] };
}

/** What makes two endpoints the same pod's. */
function identity(endpoint: Endpoint): string {
  return endpoint.targetRef?.uid ?? endpoint.addresses.join(',');
}

function sameSlice(a: EndpointSlice, b: EndpointSlice): boolean {
  const facts = (slice: EndpointSlice): unknown => [slice.metadata.labels, slice.ports, slice.endpoints];
  return semanticallyEqual(facts(a), facts(b));
}

function sliceLabels(service: Service): Record<string, string> {
  return {
    ...service.metadata.labels,
    ...(isHeadless(service) && { [headlessLabel]: '' }),
    [managedByLabel]: managedBy,
    [names.endpointSliceService]: service.metadata.name,
  };
}

function sliceOf(service: Service, ports: readonly EndpointPort[], endpoints: readonly Endpoint[]): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: '',
      generateName: `${service.metadata.name}-`,
      ...(service.metadata.namespace !== undefined && { namespace: service.metadata.namespace }),
      labels: sliceLabels(service),
      ownerReferences: [controllerReference(service)],
    },
    addressType: 'IPv4',
    ports: [...ports],
    endpoints: [...endpoints],
  };
}
