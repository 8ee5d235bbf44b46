import { leadWhileElected, type EventRecorder, type KubeClient } from '../kube/index.ts';
import type { Logger } from '../core/index.ts';
import type { Mesh } from '../mesh/index.ts';
import type { AuthoritySource } from './authority.ts';
import type { Cluster } from './cluster.ts';
import type { IstiodConfig } from './config.ts';
import { controlGateways, istiodOwner, offerGatewayClasses } from '../peering/index.ts';
import { reportPolicies } from './policy-status.ts';
import { distributeRoots } from './root-certificates.ts';
import { allocateVirtualAddresses } from './virtual-addresses.ts';

export interface WriterOptions {
  readonly client: KubeClient;
  readonly config: IstiodConfig;
  readonly cluster: Cluster;
  readonly mesh: Mesh;
  readonly authority: AuthoritySource;
  readonly events: EventRecorder;
  readonly log: Logger;
}

/** Everything that writes into the cluster, in one replica at a time: the one that holds the Lease. Rejects when a writer fails. */
export async function runWriters(options: WriterOptions, signal: AbortSignal): Promise<void> {
  const { client, config, log } = options;
  const failed = Promise.withResolvers<never>();
  const elected = leadWhileElected(
    { client, namespace: config.namespace, name: 'istio-leader', identity: config.podName, log },
    async (leading, writing) => {
      try {
        await write({ ...options, client: writing }, leading);
      } catch (error) {
        if (!leading.aborted) failed.reject(error);
      }
    },
    signal,
  );
  await Promise.race([elected, failed.promise]);
}

async function write({ client, config, cluster, mesh, authority, events, log }: WriterOptions, leading: AbortSignal): Promise<void> {
  const { informers, inputs } = cluster;
  await Promise.all([
    distributeRoots(
      {
        client,
        namespaces: informers.namespaces,
        roots: () => authority.current.roots,
        onRootsChanged: (handler) => authority.onChange(handler),
        log,
      },
      leading,
    ),
    offerGatewayClasses({ client, gatewayClasses: informers.gatewayClasses, owner: istiodOwner, log }, leading),
    controlGateways(
      {
        client,
        informers,
        owner: istiodOwner,
        config,
        network: () => mesh.network.get(config.namespace)?.network ?? '',
        onNetworkChanged: (handler) => mesh.network.subscribe(handler),
        log,
      },
      leading,
    ),
    allocateVirtualAddresses({ client, serviceEntries: informers.serviceEntries, prefixes: config.vipPrefixes, events, log }, leading),
    reportPolicies({ client, policies: inputs.authorizationPolicies, converted: mesh.convertedPolicies, log }, leading),
  ]);
}
