import { gatewayClasses, gatewayControllers } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import type { Logger } from '../../core/index.ts';
import { contains, isAlreadyExists, logFailure, WorkQueue, type KubeClient } from '../../kube/index.ts';
import { conditions } from './conditions.ts';
import type { GatewayClassInformer } from './informers.ts';
import type { GatewayOwner } from './owner.ts';

function classesOf(owner: GatewayOwner): Readonly<Record<string, { readonly controllerName: string; readonly description: string }>> {
  const { controllerName, remotes } = owner;
  return {
    [gatewayClasses.eastWest]: { controllerName, description: 'The default GatewayClass for Istio East West Gateways' },
    ...(remotes && {
      [gatewayClasses.remote]: {
        controllerName: gatewayControllers.remote,
        description: 'Remote to this cluster. Does not deploy or affect configuration.',
      },
    }),
  };
}

/** Makes the classes that are missing, leaves those that are there as they are, and accepts those that name our controllers. */
export async function offerGatewayClasses(
  options: {
    readonly client: KubeClient;
    readonly gatewayClasses: GatewayClassInformer;
    readonly owner: GatewayOwner;
    readonly log: Logger;
  },
  signal: AbortSignal,
): Promise<void> {
  const { client, gatewayClasses: existing, owner, log } = options;
  const { fieldManager } = owner;
  const classes = classesOf(owner);
  const queue = new WorkQueue({
    concurrency: 1,
    onFailure: logFailure(log, 'gateway-classes'),
    work: async (name, stop) => {
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
  const stop = existing.onChange((changes) => changes.forEach(({ key }) => queue.add(key)));
  void existing.synced.then(() => Object.keys(classes).forEach((name) => queue.add(name)));
  try {
    await queue.run(signal);
  } finally {
    stop();
  }
}
