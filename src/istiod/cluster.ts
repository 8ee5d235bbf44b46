import type { Deployment, Gateway, GatewayClass, KubeObject, ServiceAccount } from '../api/kubernetes.ts';
import { resources, type ResourceType } from '../api/resources.ts';
import { labels } from '../api/names.ts';
import { source, type Collection, type Graph, type Source } from '../collections/index.ts';
import type { Logger } from '../core/index.ts';
import { InformerGroup, type Change, type Informer, type KubeClient } from '../kube/index.ts';
import type { MeshInputs } from '../mesh/index.ts';

/**
 * What istiod knows of its cluster: a local copy of every kind it reads, and the sources of the graph that follow them.
 */
export interface Cluster {
  readonly inputs: MeshInputs & { readonly gateways: Collection<Gateway> };
  readonly informers: {
    readonly namespaces: Informer<NonNullable<typeof resources.namespaces.object>>;
    readonly pods: Informer<NonNullable<typeof resources.pods.object>>;
    readonly services: Informer<NonNullable<typeof resources.services.object>>;
    readonly serviceEntries: Informer<NonNullable<typeof resources.serviceEntries.object>>;
    readonly workloadEntries: Informer<NonNullable<typeof resources.workloadEntries.object>>;
    readonly gateways: Informer<Gateway>;
    readonly gatewayClasses: Informer<GatewayClass>;
    /** Only those that a Gateway owns. */
    readonly deployments: Informer<Deployment>;
    readonly serviceAccounts: Informer<ServiceAccount>;
  };
  /** Resolves when the first lists of all kinds are in the sources. A kind that the API server does not serve counts as empty. */
  readonly synced: Promise<void>;
  /** Keeps all copies until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

export function watchCluster(options: { readonly client: KubeClient; readonly graph: Graph; readonly log: Logger }): Cluster {
  const { client, graph, log } = options;
  const group = new InformerGroup({ client, log });
  const follow = <T extends KubeObject>(type: ResourceType<T>, labelSelector?: string): Informer<T> => group.add(type, { labelSelector });
  const feed = <T extends KubeObject>(informer: Informer<T>): Source<T> => {
    const into = source<T>(graph, { name: informer.type.plural });
    informer.onChange((changes) => graph.batch(() => changes.forEach((change) => apply(into, change))));
    return into;
  };

  const managed = labels.gatewayManaged;
  const informers = {
    namespaces: follow(resources.namespaces),
    pods: follow(resources.pods),
    services: follow(resources.services),
    serviceEntries: follow(resources.serviceEntries),
    workloadEntries: follow(resources.workloadEntries),
    gateways: follow(resources.gateways),
    gatewayClasses: follow(resources.gatewayClasses),
    deployments: follow(resources.deployments, managed),
    serviceAccounts: follow(resources.serviceAccounts, managed),
  };
  const inputs = {
    namespaces: feed(informers.namespaces),
    nodes: feed(follow(resources.nodes)),
    pods: feed(informers.pods),
    services: feed(informers.services),
    endpointSlices: feed(follow(resources.endpointSlices)),
    serviceEntries: feed(informers.serviceEntries),
    workloadEntries: feed(informers.workloadEntries),
    authorizationPolicies: feed(follow(resources.authorizationPolicies)),
    peerAuthentications: feed(follow(resources.peerAuthentications)),
    gateways: feed(informers.gateways),
  };
  return { inputs, informers, synced: group.synced, run: (signal) => group.run(signal) };
}

function apply<T extends KubeObject>(into: Source<T>, change: Change<T>): void {
  if (change.type === 'delete') into.delete(change.key);
  else into.set(change.key, change.object);
}
