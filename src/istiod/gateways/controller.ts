import type { Gateway, KubeObject } from '../../api/kubernetes.ts';
import { gatewayClasses, labels } from '../../api/names.ts';
import { resources, type ResourceType } from '../../api/resources.ts';
import { IsthmusError, type Logger } from '../../core/index.ts';
import type { DeepPartial, KubeClient } from '../../kube/index.ts';
import type { Cluster } from '../cluster.ts';
import type { IstiodConfig } from '../config.ts';
import { Reconciler } from '../reconciler.ts';
import { contains } from '../subset.ts';
import { eastWestObjects, managedBy, type EastWestObjects } from './east-west.ts';
import { eastWestStatus, remoteStatus, type GatewayStatus } from './status.ts';

const fieldManager = 'istio.io/gateway-controller';

export interface GatewayControllerOptions {
  readonly client: KubeClient;
  readonly informers: Cluster['informers'];
  readonly config: IstiodConfig;
  /** The cluster's network now. */
  readonly network: () => string;
  readonly onNetworkChanged: (handler: () => void) => () => void;
  readonly log: Logger;
}

/**
 * Runs what Gateways ask for: of class istio-eastwest a gateway of ours, of class istio-remote only its status. What was
 * made is put right when someone changes it; what others made is never touched. Deletion is Kubernetes' work: the Gateway owns all.
 */
export async function controlGateways(options: GatewayControllerOptions, signal: AbortSignal): Promise<void> {
  const { informers, log } = options;
  const controller = new GatewayController(options);
  const reconciler = new Reconciler({ name: 'gateways', log, reconcile: (key, stop) => controller.reconcile(key, stop) });
  const enqueueOwner = ({ metadata }: KubeObject): void => {
    const gateway = metadata.labels?.[labels.gatewayName];
    if (gateway !== undefined && metadata.labels?.[labels.gatewayManaged] === managedBy)
      reconciler.enqueue(`${metadata.namespace ?? ''}/${gateway}`);
  };
  const followOwned = (changes: readonly { readonly object?: KubeObject | undefined; readonly old?: KubeObject | undefined }[]): void => {
    for (const { object, old } of changes) {
      if (object !== undefined) enqueueOwner(object);
      if (old !== undefined) enqueueOwner(old);
    }
  };
  const stops = [
    informers.gateways.onChange((changes) => changes.forEach(({ key }) => reconciler.enqueue(key))),
    informers.services.onChange(followOwned),
    informers.deployments.onChange(followOwned),
    informers.serviceAccounts.onChange(followOwned),
    options.onNetworkChanged(() => {
      for (const { metadata } of informers.gateways.list()) reconciler.enqueue(`${metadata.namespace ?? ''}/${metadata.name}`);
    }),
  ];
  try {
    await reconciler.run(signal);
  } finally {
    for (const stop of stops) stop();
  }
}

class GatewayController {
  readonly #options: GatewayControllerOptions;
  /** Keys whose objects this process has applied once: a field that an older version set is then given up. */
  readonly #applied = new Set<string>();

  constructor(options: GatewayControllerOptions) {
    this.#options = options;
  }

  async reconcile(key: string, signal: AbortSignal): Promise<void> {
    const { informers, config } = this.#options;
    const gateway = informers.gateways.get(key);
    if (gateway === undefined) {
      this.#applied.delete(key);
      return;
    }
    if (gateway.metadata.deletionTimestamp !== undefined) return;
    const namespace = informers.namespaces.get(gateway.metadata.namespace ?? '');
    const revision = gateway.metadata.labels?.['istio.io/rev'] ?? namespace?.metadata.labels?.['istio.io/rev'] ?? config.revision;
    if (revision !== config.revision) return;
    if (gateway.spec.gatewayClassName === gatewayClasses.remote) await this.#writeStatus(gateway, remoteStatus(gateway), signal);
    else if (gateway.spec.gatewayClassName === gatewayClasses.eastWest) await this.#eastWest(key, gateway, signal);
  }

  async #eastWest(key: string, gateway: Gateway, signal: AbortSignal): Promise<void> {
    const { informers, config, network } = this.#options;
    // Whoever states the address runs the gateway.
    if ((gateway.spec.addresses ?? []).length > 0) {
      await this.#writeStatus(gateway, eastWestStatus(gateway, { service: undefined, deployment: undefined }), signal);
      return;
    }
    const objects = eastWestObjects(gateway, { ...config, network: network(), istioNamespace: config.namespace });
    let nameTaken: string | undefined;
    try {
      await this.#apply(key, objects, signal);
      this.#applied.add(key);
    } catch (error) {
      if (!(error instanceof IsthmusError) || error.code !== 'ISTIOD_NAME_TAKEN') throw error;
      nameTaken = error.message;
    }
    const status = eastWestStatus(gateway, { service: informers.services.get(key), deployment: informers.deployments.get(key), nameTaken });
    await this.#writeStatus(gateway, status, signal);
  }

  async #apply(key: string, { serviceAccount, deployment, service }: EastWestObjects, signal: AbortSignal): Promise<void> {
    const { informers } = this.#options;
    await this.#applyOne(key, resources.serviceAccounts, serviceAccount, informers.serviceAccounts.get(key), signal);
    await this.#applyOne(key, resources.deployments, deployment, informers.deployments.get(key), signal);
    await this.#applyOne(key, resources.services, service, informers.services.get(key), signal);
  }

  async #applyOne<T extends KubeObject>(
    key: string,
    type: ResourceType<T>,
    wanted: DeepPartial<T> & { metadata: { name: string; namespace: string } },
    known: T | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    if (this.#applied.has(key) && known !== undefined && contains(known, wanted)) return;
    const existing = known ?? (await this.#options.client.find(type, wanted.metadata, signal));
    if (existing !== undefined && existing.metadata.labels?.[labels.gatewayManaged] !== managedBy && !isOurs(existing, wanted)) {
      throw new IsthmusError('ISTIOD_NAME_TAKEN', `${type.kind} ${key} exists and does not belong to the Gateway`, {
        hint: 'delete or rename it, or give the Gateway another name',
      });
    }
    await this.#options.client.apply(type, wanted, { fieldManager, signal });
  }

  async #writeStatus(gateway: Gateway, status: GatewayStatus, signal: AbortSignal): Promise<void> {
    if (contains(gateway.status, status)) return;
    const { name, namespace = '' } = gateway.metadata;
    await this.#options.client.apply(
      resources.gateways,
      { metadata: { name, namespace }, status },
      { subresource: 'status', fieldManager, signal },
    );
  }
}

/** An object whose managed label someone took off is still the Gateway's: its owner says so. */
function isOurs(existing: KubeObject, wanted: { readonly metadata: object }): boolean {
  const owners = (wanted.metadata as { ownerReferences?: readonly { uid?: string }[] }).ownerReferences ?? [];
  return owners.some(({ uid }) => existing.metadata.ownerReferences?.some((owner) => owner.uid === uid));
}
