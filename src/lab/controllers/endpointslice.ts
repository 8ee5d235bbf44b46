import { labels as names } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { keyedController, type Controller, type ControllerContext } from './controller.ts';
import { managedBy, managedByLabel, planSlices } from './endpointslice-plan.ts';
import { endpointGroups, hasSelectedEndpoints } from './service-endpoints.ts';
import { matchesLabels } from './selectors.ts';
import { watchServicePods } from './service-pods.ts';

/** Writes the EndpointSlices of services that have a selector. Their removal is the garbage collector's: the service owns them. */
export function endpointSliceController(context: ControllerContext): Controller {
  const { client, caches } = context;
  const services = caches.for(resources.services);
  const pods = caches.for(resources.pods);
  const nodes = caches.for(resources.nodes);
  const slices = caches.for(resources.endpointSlices);

  const controller = keyedController(context, 'endpointslice', async (key) => {
    const service = services.get(key);
    if (service === undefined || service.metadata.deletionTimestamp !== undefined || !hasSelectedEndpoints(service)) return;
    const { namespace, name } = service.metadata;
    const selected = pods.inNamespace(namespace).filter((pod) => matchesLabels(service.spec?.selector ?? {}, pod.metadata.labels));
    const existing = slices.inNamespace(namespace).filter(({ metadata: { labels, deletionTimestamp } }) => {
      return deletionTimestamp === undefined && labels?.[managedByLabel] === managedBy && labels[names.endpointSliceService] === name;
    });
    const plan = planSlices(
      service,
      endpointGroups(service, selected, (node) => nodes.get(node)),
      existing,
    );
    for (const slice of plan.create) await slices.caughtUp(await client.create(resources.endpointSlices, slice));
    for (const slice of plan.update) await slices.caughtUp(await client.update(resources.endpointSlices, slice));
    for (const slice of plan.remove) {
      await client.delete(resources.endpointSlices, slice.metadata);
      await slices.showsDeletion(slice);
    }
  });

  watchServicePods(context, (key) => controller.queue.add(key));
  slices.onChange(({ object, old }) => {
    const { labels, namespace } = (object ?? old).metadata;
    const service = labels?.[names.endpointSliceService];
    if (service !== undefined && labels?.[managedByLabel] === managedBy) controller.queue.add(`${namespace ?? ''}/${service}`);
  });
  return controller;
}
