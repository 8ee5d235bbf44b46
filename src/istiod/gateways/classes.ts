import { gatewayClasses, gatewayControllers } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import type { Logger } from '../../core/index.ts';
import { isAlreadyExists, type KubeClient } from '../../kube/index.ts';
import type { Cluster } from '../cluster.ts';
import { Reconciler } from '../reconciler.ts';
import { contains } from '../subset.ts';
import { conditions } from './conditions.ts';

const fieldManager = 'istio.io/gateway-controller';

const classes: Readonly<Record<string, { readonly controllerName: string; readonly description: string }>> = {
  [gatewayClasses.eastWest]: {
    controllerName: gatewayControllers.eastWest,
    description: 'The default GatewayClass for Istio East West Gateways',
  },
  [gatewayClasses.remote]: {
    controllerName: gatewayControllers.remote,
    description: 'Remote to this cluster. Does not deploy or affect configuration.',
  },
};

/** Makes the classes that are missing, leaves those that are there as they are, and accepts those that name our controllers. */
export async function offerGatewayClasses(
  { client, gatewayClasses: existing, log }: { client: KubeClient; gatewayClasses: Cluster['informers']['gatewayClasses']; log: Logger },
  signal: AbortSignal,
): Promise<void> {
  const reconciler = new Reconciler({
    name: 'gateway-classes',
    log,
    reconcile: async (name, stop) => {
      const wanted = classes[name];
      if (wanted === undefined || !existing.hasSynced) return;
      let found = existing.get(name);
      if (found === undefined) {
        const object = { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'GatewayClass', metadata: { name }, spec: wanted };
        try {
          found = await client.create(resources.gatewayClasses, object, { fieldManager, signal: stop });
        } catch (error) {
          if (!isAlreadyExists(error)) throw error;
          found = await client.get(resources.gatewayClasses, { name }, stop);
        }
      }
      if (found.spec.controllerName !== wanted.controllerName) return;
      const verdict = { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'Handled by Istio controller' } as const;
      const status = { conditions: conditions([verdict], found.status?.conditions, found.metadata.generation) };
      if (contains(found.status, status)) return;
      await client.apply(resources.gatewayClasses, { metadata: { name }, status }, { subresource: 'status', fieldManager, signal: stop });
    },
  });
  const stop = existing.onChange((changes) => changes.forEach(({ key }) => reconciler.enqueue(key)));
  void existing.synced.then(() => Object.keys(classes).forEach((name) => reconciler.enqueue(name)));
  try {
    await reconciler.run(signal);
  } finally {
    stop();
  }
}
