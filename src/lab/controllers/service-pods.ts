import type { Pod } from '../../api/kubernetes.ts';
import { labels as names } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import type { ControllerContext } from './controller.ts';
import { semanticallyEqual } from './equality.ts';
import { keyOf } from './objects.ts';
import { matchesLabels } from './selectors.ts';
import { endpointFacts, hasSelectedEndpoints } from './service-endpoints.ts';

/** Tells which service's endpoints may have changed: by the service itself, by a pod it selects or selected, by a node's zone. */
export function watchServicePods({ caches }: ControllerContext, onService: (key: string) => void): void {
  const services = caches.for(resources.services);
  services.onChange(({ key }) => onService(key));
  caches.for(resources.pods).onChange(({ type, object, old }) => {
    if (type === 'update' && semanticallyEqual(endpointFacts(object), endpointFacts(old))) return;
    const selects = (selector: Readonly<Record<string, string>>, pod: Pod | undefined): boolean =>
      pod !== undefined && matchesLabels(selector, pod.metadata.labels);
    for (const service of services.inNamespace((object ?? old).metadata.namespace)) {
      const selector = service.spec?.selector ?? {};
      if (hasSelectedEndpoints(service) && (selects(selector, object) || selects(selector, old))) onService(keyOf(service));
    }
  });
  caches.for(resources.nodes).onChange(({ object, old }) => {
    if (object?.metadata.labels?.[names.zone] === old?.metadata.labels?.[names.zone]) return;
    for (const service of services.list()) onService(keyOf(service));
  });
}
