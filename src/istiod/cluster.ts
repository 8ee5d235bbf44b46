import type { Deployment, Gateway, GatewayClass, KubeObject, ServiceAccount } from '../api/kubernetes.ts';
import { apiVersionOf, resources, type ResourceType } from '../api/resources.ts';
import { labels } from '../api/names.ts';
import { source, type Collection, type Graph, type Source } from '../collections/index.ts';
import { describeError, retry, type Logger } from '../core/index.ts';
import { Informer, KubeApiError, type Change, type KubeClient } from '../kube/index.ts';
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
  const all: Followed[] = [];

  const follow = <T extends KubeObject>(type: ResourceType<T>, labelSelector?: string): Informer<T> => {
    const informer = new Informer({ client, type, log, labelSelector });
    all.push({ informer: informer, type });
    return informer;
  };
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
  const { promise: synced, resolve, reject } = Promise.withResolvers<undefined>();
  // Whoever awaits it hears of a failure; nobody has to.
  synced.catch(() => undefined);
  return {
    inputs,
    informers,
    synced: synced.then(() => undefined),
    run: async (signal) => {
      const running: Promise<void>[] = [];
      const ready = all.map(async ({ informer, type }) => {
        const isServed = await retryServed(client, type, signal, log);
        running.push(isServed ? informer.run(signal) : runWhenServed({ client, type, informer, log }, signal));
        if (isServed) await informer.synced;
      });
      Promise.all(ready).then(() => resolve(undefined), reject);
      await Promise.allSettled(ready);
      await Promise.all(running);
    },
  };
}

interface Followed {
  readonly informer: Pick<Informer<KubeObject>, 'run' | 'synced'>;
  readonly type: ResourceType;
}

function apply<T extends KubeObject>(into: Source<T>, change: Change<T>): void {
  if (change.type === 'delete') into.delete(change.key);
  else into.set(change.key, change.object);
}

/** Whether the API server serves a kind now; waits for a server that does not answer. */
async function retryServed(client: KubeClient, type: ResourceType, signal: AbortSignal, log: Logger): Promise<boolean> {
  return await retry(() => isServed(client, type, signal), {
    initial: 200,
    max: 5_000,
    signal,
    onFailure: (error) => log.warn({ kind: type.kind, error: describeError(error) }, 'API server not ready'),
  });
}

async function isServed(client: KubeClient, type: ResourceType, signal: AbortSignal): Promise<boolean> {
  // The kinds of Kubernetes itself are always there.
  if (!type.group.includes('.') || (type.group.endsWith('.k8s.io') && type.group !== 'gateway.networking.k8s.io')) return true;
  try {
    const path = `/apis/${apiVersionOf(type)}`;
    const list = (await client.request({ method: 'GET', path, signal })) as { resources?: readonly { name?: string }[] } | undefined;
    return list?.resources?.some(({ name }) => name === type.plural) ?? false;
  } catch (error) {
    // A group that nobody serves is answered by the web server beneath, without a reason.
    if (error instanceof KubeApiError && error.httpCode === 404) return false;
    throw error;
  }
}

/** Waits for the CRD of a kind, and follows the kind from then on. */
async function runWhenServed(
  { client, type, informer, log }: Followed & { readonly client: KubeClient; readonly log: Logger },
  signal: AbortSignal,
): Promise<void> {
  log.warn({ kind: type.kind, group: type.group, code: 'ISTIOD_KIND_MISSING' }, 'kind not served; waiting for its CRD');
  const established = new AbortController();
  const definitions = new Informer({
    client,
    type: resources.customResourceDefinitions,
    fieldSelector: `metadata.name=${type.plural}.${type.group}`,
    log,
  });
  definitions.onChange((changes) => {
    const there = changes.some(({ object }) =>
      object?.status?.conditions?.some(({ type: condition, status }) => condition === 'Established' && status === 'True'),
    );
    if (there) established.abort();
  });
  await definitions.run(AbortSignal.any([signal, established.signal]));
  if (!signal.aborted) await informer.run(signal);
}
