import type { Gateway, KubeObject } from '../../api/kubernetes.ts';
import { gatewayClasses, labels } from '../../api/names.ts';
import { resources, type ResourceType } from '../../api/resources.ts';
import { IsthmusError, type Logger } from '../../core/index.ts';
import { contains, logFailure, WorkQueue, type DeepPartial, type KubeClient } from '../../kube/index.ts';
import { eastWestObjects, type EastWestObjects } from './east-west.ts';
import type { GatewayInformers } from './informers.ts';
import type { GatewayOwner } from './owner.ts';
import { eastWestStatus, remoteStatus, type GatewayStatus } from './status.ts';

/** What of the control plane's configuration its gateways need. */
export interface GatewayConfig {
  /** Image of the mesh. */
  readonly image: string;
  readonly clusterId: string;
  readonly trustDomain: string;
  /** The control plane's own. */
  readonly namespace: string;
  /** Only Gateways of this revision (label istio.io/rev of the Gateway, else of its namespace) are looked at; undefined: all. */
  readonly revision?: string | undefined;
  /** The ConfigMap with the mesh's roots; default `istio-ca-root-cert`. */
  readonly rootConfigMap?: string | undefined;
}

export interface GatewayControllerOptions {
  readonly client: KubeClient;
  readonly informers: GatewayInformers;
  /** Who runs the gateways; see {@link GatewayOwner}. */
  readonly owner: GatewayOwner;
  /** What the gateways are told. */
  readonly config: GatewayConfig;
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
  const { informers, owner, log } = options;
  const controller = new GatewayController(options);
  const queue = new WorkQueue({
    concurrency: 1,
    onFailure: logFailure(log, 'gateways'),
    work: (key, stop) => controller.reconcile(key, stop),
  });
  const enqueueOwner = ({ metadata }: KubeObject): void => {
    const gateway = metadata.labels?.[labels.gatewayName];
    if (gateway !== undefined && metadata.labels?.[labels.gatewayManaged] === owner.managedBy)
      queue.add(`${metadata.namespace ?? ''}/${gateway}`);
  };
  const followOwned = (changes: readonly { readonly object?: KubeObject | undefined; readonly old?: KubeObject | undefined }[]): void => {
    for (const { object, old } of changes) {
      if (object !== undefined) enqueueOwner(object);
      if (old !== undefined) enqueueOwner(old);
    }
  };
  const stops = [
    informers.gateways.onChange((changes) => changes.forEach(({ key }) => queue.add(key))),
    informers.services.onChange(followOwned),
    informers.deployments.onChange(followOwned),
    informers.serviceAccounts.onChange(followOwned),
    options.onNetworkChanged(() => {
      for (const { metadata } of informers.gateways.list()) queue.add(`${metadata.namespace ?? ''}/${metadata.name}`);
    }),
  ];
  try {
    await queue.run(signal);
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
    const { informers, owner, config } = this.#options;
    const gateway = informers.gateways.get(key);
    if (gateway === undefined) {
      this.#applied.delete(key);
      return;
    }
    if (gateway.metadata.deletionTimestamp !== undefined) return;
    const namespace = informers.namespaces.get(gateway.metadata.namespace ?? '');
    const revision = gateway.metadata.labels?.['istio.io/rev'] ?? namespace?.metadata.labels?.['istio.io/rev'] ?? config.revision;
    if (config.revision !== undefined && revision !== config.revision) return;
    if (gateway.spec.gatewayClassName === gatewayClasses.remote) {
      if (owner.remotes) await this.#writeStatus(gateway, remoteStatus(gateway), signal);
    } else if (gateway.spec.gatewayClassName === gatewayClasses.eastWest) await this.#eastWest(key, gateway, signal);
  }

  async #eastWest(key: string, gateway: Gateway, signal: AbortSignal): Promise<void> {
    const { informers, owner, config, network } = this.#options;
    // Whoever states the address runs the gateway.
    if ((gateway.spec.addresses ?? []).length > 0) {
      await this.#writeStatus(gateway, eastWestStatus(gateway, { service: undefined, deployment: undefined }), signal);
      return;
    }
    const objects = eastWestObjects(gateway, {
      ...config,
      managedBy: owner.managedBy,
      network: network(),
      istioNamespace: config.namespace,
    });
    let nameTaken: string | undefined;
    try {
      await this.#apply(key, objects, signal);
      this.#applied.add(key);
    } catch (error) {
      if (!(error instanceof IsthmusError) || error.code !== 'PEERING_NAME_TAKEN') throw error;
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
    const { client, owner } = this.#options;
    const existing = known ?? (await client.find(type, wanted.metadata, signal));
    if (existing !== undefined && existing.metadata.labels?.[labels.gatewayManaged] !== owner.managedBy && !isOurs(existing, wanted)) {
      throw new IsthmusError('PEERING_NAME_TAKEN', `${type.kind} ${key} exists and does not belong to the Gateway`, {
        hint: 'delete or rename it, or give the Gateway another name',
      });
    }
    await client.apply(type, wanted, { fieldManager: owner.fieldManager, signal });
  }

  async #writeStatus(gateway: Gateway, status: GatewayStatus, signal: AbortSignal): Promise<void> {
    if (contains(gateway.status, status)) return;
    const { name, namespace = '' } = gateway.metadata;
    const { client, owner } = this.#options;
    const options = { subresource: 'status', fieldManager: owner.fieldManager, signal };
    await client.apply(resources.gateways, { metadata: { name, namespace }, status }, options);
  }
}

/** An object whose managed label someone took off is still the Gateway's: its owner says so. */
function isOurs(existing: KubeObject, wanted: { readonly metadata: object }): boolean {
  const owners = (wanted.metadata as { ownerReferences?: readonly { uid?: string }[] }).ownerReferences ?? [];
  return owners.some(({ uid }) => existing.metadata.ownerReferences?.some((owner) => owner.uid === uid));
}
