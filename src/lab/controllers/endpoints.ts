import type { KubeObject, Service } from '../../api/kubernetes.ts';
import { resources, type ResourceType } from '../../api/resources.ts';
import { keyedController, type Controller, type ControllerContext } from './controller.ts';
import { semanticallyEqual } from './equality.ts';
import type { Endpoint } from './objects.ts';
import { matchesLabels } from './selectors.ts';
import { endpointGroups, hasSelectedEndpoints, isHeadless, type EndpointGroup } from './service-endpoints.ts';
import { watchServicePods } from './service-pods.ts';

const managedByLabel = 'endpoints.kubernetes.io/managed-by';
const managedBy = 'endpoint-controller';

/** The older form of EndpointSlices, one object a service (deprecated upstream since 1.33). */
interface Endpoints extends KubeObject {
  subsets?: {
    addresses?: EndpointAddress[];
    notReadyAddresses?: EndpointAddress[];
    ports?: { name?: string; port: number; protocol?: string; appProtocol?: string }[];
  }[];
}

interface EndpointAddress {
  ip: string;
  hostname?: string;
  nodeName?: string;
  targetRef?: NonNullable<Endpoint['targetRef']>;
}

const endpointsType: ResourceType<Endpoints> = { group: '', version: 'v1', plural: 'endpoints', kind: 'Endpoints', namespaced: true };

/** Writes the Endpoints of services that have a selector, for programs that do not read EndpointSlices yet. */
export function endpointsController(context: ControllerContext): Controller {
  const { client, caches } = context;
  const services = caches.for(resources.services);
  const pods = caches.for(resources.pods);
  const nodes = caches.for(resources.nodes);
  const cache = caches.for(endpointsType);

  const controller = keyedController(context, 'endpoints', async (key) => {
    const service = services.get(key);
    const existing = cache.get(key);
    if (service === undefined) {
      // Nothing owns Endpoints but their name.
      if (existing?.metadata.labels?.[managedByLabel] === managedBy) await client.delete(endpointsType, existing.metadata);
      return;
    }
    if (service.metadata.deletionTimestamp !== undefined || !hasSelectedEndpoints(service)) return;
    const selected = pods
      .inNamespace(service.metadata.namespace)
      .filter((pod) => matchesLabels(service.spec?.selector ?? {}, pod.metadata.labels));
    const wanted = endpointsOf(
      service,
      endpointGroups(service, selected, (node) => nodes.get(node)),
    );
    if (existing === undefined) {
      await cache.caughtUp(await client.create(endpointsType, wanted));
    } else if (!semanticallyEqual([existing.subsets, existing.metadata.labels], [wanted.subsets, wanted.metadata.labels])) {
      const metadata = { ...existing.metadata, labels: wanted.metadata.labels ?? {} };
      await cache.caughtUp(await client.update(endpointsType, { ...wanted, metadata }));
    }
  });

  watchServicePods(context, (key) => controller.queue.add(key));
  cache.onChange(({ key, object, old }) => {
    if ((object ?? old).metadata.labels?.[managedByLabel] === managedBy) controller.queue.add(key);
  });
  return controller;
}

/** One subset for each group of ports. Terminating pods are left out, as the older API knows no such state. */
export function endpointsOf(service: Service, groups: readonly EndpointGroup[]): Endpoints {
  const { name, namespace, labels } = service.metadata;
  const subsets = groups.flatMap(({ ports, endpoints }) => {
    const living = endpoints.filter(({ conditions }) => conditions?.terminating !== true || conditions.ready === true);
    const addresses = living.filter(({ conditions }) => conditions?.ready === true).map(addressOf);
    const notReadyAddresses = living.filter(({ conditions }) => conditions?.ready !== true).map(addressOf);
    if (living.length === 0) return [];
    return [
      {
        ...(addresses.length > 0 && { addresses }),
        ...(notReadyAddresses.length > 0 && { notReadyAddresses }),
        ports: ports.flatMap(({ port, ...rest }) => (port === undefined ? [] : [{ ...rest, port }])),
      },
    ];
  });
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: {
      name,
      ...(namespace !== undefined && { namespace }),
      labels: { ...labels, ...(isHeadless(service) && { 'service.kubernetes.io/headless': '' }), [managedByLabel]: managedBy },
    },
    ...(subsets.length > 0 && { subsets }),
  };
}

function addressOf({ addresses, nodeName, targetRef, hostname }: Endpoint): EndpointAddress {
  return {
    ip: addresses[0] ?? '',
    ...(hostname !== undefined && { hostname }),
    ...(nodeName !== undefined && { nodeName }),
    ...(targetRef && { targetRef }),
  };
}
