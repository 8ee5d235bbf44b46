import type { KubeObject, Namespace, Node, Pod } from '../../api/kubernetes.ts';
import { labels } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { source, type Graph, type Source } from '../../collections/index.ts';
import type { Logger } from '../../core/index.ts';
import { InformerGroup, type Informer, type KubeClient } from '../../kube/index.ts';
import { peeringOwner } from '../gateways/owner.ts';
import type { GatewayClassInformer, GatewayInformers } from '../gateways/informers.ts';
import type { PeeringInputs } from '../peering.ts';

/** What the peering process knows of its cluster: of each kind that it reads, what it needs. */
export interface WatchedCluster {
  readonly inputs: PeeringInputs;
  readonly informers: GatewayInformers & { readonly gatewayClasses: GatewayClassInformer };
  /** Resolves when the first lists of all kinds are in the inputs. A kind that the API server does not serve counts as empty. */
  readonly synced: Promise<void>;
  /** Kinds whose first list is still awaited. */
  readonly pending: () => readonly string[];
  /** Keeps all until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

export function watchCluster(options: {
  readonly client: KubeClient;
  readonly graph: Graph;
  /** Of the cluster; its label on this namespace is overridden. Undefined: the label counts. */
  readonly network: string | undefined;
  readonly namespace: string;
  readonly log: Logger;
}): WatchedCluster {
  const { client, graph, network, namespace, log } = options;
  const group = new InformerGroup({ client, log });
  const feed = <T extends KubeObject>(informer: Informer<T>): Source<T> => {
    const into = source<T>(graph, { name: informer.type.plural });
    informer.onChange((changes) =>
      graph.batch(() => {
        for (const { key, object } of changes) {
          if (object === undefined) into.delete(key);
          else into.set(key, object);
        }
      }),
    );
    return into;
  };
  const keepNamespace = (object: Namespace): Namespace => {
    const kept = withoutBookkeeping(object);
    if (network === undefined || kept.metadata.name !== namespace) return kept;
    return { ...kept, metadata: { ...kept.metadata, labels: { ...kept.metadata.labels, [labels.network]: network } } };
  };
  const namespaces = group.add(resources.namespaces, { metadataOnly: true, keep: keepNamespace });
  const services = group.add(resources.services);
  const gateways = group.add(resources.gateways);
  const ownGateways = { labelSelector: `${labels.gatewayManaged}=${peeringOwner.managedBy}` };
  return {
    inputs: {
      namespaces: feed(namespaces),
      nodes: feed(group.add(resources.nodes, { keep: keepNode })),
      pods: feed(group.add(resources.pods, { keep: keepPod })),
      services: feed(services),
      gateways: feed(gateways),
      serviceEntries: feed(group.add(resources.serviceEntries)),
      workloadEntries: feed(group.add(resources.workloadEntries)),
    },
    informers: {
      namespaces,
      services,
      gateways,
      gatewayClasses: group.add(resources.gatewayClasses),
      deployments: group.add(resources.deployments, ownGateways),
      serviceAccounts: group.add(resources.serviceAccounts, { ...ownGateways, metadataOnly: true }),
    },
    synced: group.synced,
    pending: () => group.pending,
    run: (signal) => group.run(signal),
  };
}

/** Without what the API server notes for itself and kubectl, which is often more than the object. */
function withoutBookkeeping<T extends KubeObject>(object: T): T {
  const { annotations, ...metadata } = object.metadata;
  delete metadata.managedFields;
  const kept = Object.entries(annotations ?? {}).filter(([name]) => name !== 'kubectl.kubernetes.io/last-applied-configuration');
  return { ...object, metadata: { ...metadata, annotations: Object.fromEntries(kept) } };
}

/**
 * Of a pod: who it is, where it runs, its ports, its addresses and conditions. Of ten thousand pods this is some tens of megabytes, the whole
 * some hundreds.
 */
function keepPod(pod: Pod): Pod {
  const { metadata } = withoutBookkeeping(pod);
  const { spec, status } = pod;
  type Container = NonNullable<Pod['spec']>['containers'][number];
  const portsOf = ({ name, ports, restartPolicy }: Container): Container => ({
    name,
    ...(ports !== undefined && { ports }),
    ...(restartPolicy !== undefined && { restartPolicy }),
  });
  const kept = {
    apiVersion: pod.apiVersion,
    kind: pod.kind,
    metadata,
    ...(spec !== undefined && {
      spec: {
        containers: spec.containers.map(portsOf),
        ...(spec.initContainers !== undefined && { initContainers: spec.initContainers.map(portsOf) }),
        ...(spec.nodeName !== undefined && { nodeName: spec.nodeName }),
        ...(spec.serviceAccountName !== undefined && { serviceAccountName: spec.serviceAccountName }),
        ...(spec.hostNetwork !== undefined && { hostNetwork: spec.hostNetwork }),
      },
    }),
    ...(status !== undefined && {
      status: {
        ...(status.phase !== undefined && { phase: status.phase }),
        ...(status.podIP !== undefined && { podIP: status.podIP }),
        ...(status.podIPs !== undefined && { podIPs: status.podIPs }),
        ...(status.conditions !== undefined && {
          conditions: status.conditions.filter(({ type }) => type === 'Ready'),
        }),
      },
    }),
  };
  // The rest is optional.
  return kept;
}

/** Of a node: where it is, its ranges and addresses; not its images, nor its heartbeat. */
function keepNode(node: Node): Node {
  const { metadata } = withoutBookkeeping(node);
  const { spec, status } = node;
  const kept = {
    apiVersion: node.apiVersion,
    kind: node.kind,
    metadata,
    ...(spec !== undefined && {
      spec: {
        ...(spec.podCIDR !== undefined && { podCIDR: spec.podCIDR }),
        ...(spec.podCIDRs !== undefined && { podCIDRs: spec.podCIDRs }),
      },
    }),
    ...(status?.addresses !== undefined && { status: { addresses: status.addresses } }),
  };
  return kept;
}
