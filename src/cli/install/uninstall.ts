import type { Gateway } from '../../api/kubernetes.ts';
import { annotations, gatewayClasses, istioNamespace, labels } from '../../api/names.ts';
import { resources, type ResourceType } from '../../api/resources.ts';
import { IsthmusError } from '../../core/index.ts';
import { KubeApiError, waitForObjects, type KubeClient } from '../../kube/index.ts';
import { findForeign } from './foreign.ts';
import { managedBySelector } from './options.ts';

export interface UninstallRun {
  readonly client: KubeClient;
  readonly progress: (step: string) => void;
  /** Per step, milliseconds. */
  readonly timeout: number;
}

/**
 * Takes the mesh out of a cluster. The order matters: pods leave the mesh while ztunnel and the CNI agent still run,
 * otherwise they would stay redirected to ports where nobody listens; links and gateways go while istiod is there to
 * collect their entries; the CRDs go last. Throws UNINSTALL_NOT_OURS, and has then changed nothing.
 */
export async function uninstall({ client, progress, timeout }: UninstallRun): Promise<void> {
  await refuseForeign(client);
  await leaveMesh(client, progress, timeout);
  const classes: readonly string[] = Object.values(gatewayClasses);
  await deleteGateways(client, ({ spec }) => classes.includes(spec.gatewayClassName), progress);
  await deleteManaged(client, resources.daemonSets, progress);
  // The CNI agent takes its plugin off the node while it stops, and needs its permissions for that: a plugin left behind
  // without its agent would refuse every new pod.
  await waitForObjects(
    {
      client,
      type: resources.pods,
      namespace: istioNamespace,
      labelSelector: managedBySelector,
      what: 'node agents to have stopped',
      timeout,
    },
    (pods) => pods.every(({ metadata }) => metadata.ownerReferences?.every(({ kind }) => kind !== 'DaemonSet') ?? true),
  );
  await deleteManaged(client, resources.deployments, progress);
  for (const type of [resources.clusterRoleBindings, resources.clusterRoles]) await deleteManaged(client, type, progress);
  progress(`namespace ${istioNamespace}`);
  await client.delete(resources.namespaces, { name: istioNamespace });
  for (const name of Object.values(gatewayClasses)) await ignoreMissingKind(client.delete(resources.gatewayClasses, { name }));
  await deleteRootCertificates(client, progress);
  await deleteManaged(client, resources.customResourceDefinitions, progress);
  await waitForObjects(
    {
      client,
      type: resources.namespaces,
      fieldSelector: `metadata.name=${istioNamespace}`,
      what: `namespace ${istioNamespace} to be gone`,
      timeout,
    },
    (found) => found.length === 0,
  );
}

/** Another istiod, wherever it is, would lose its namespace, its captured pods and the root certificates of its mesh. */
async function refuseForeign(client: KubeClient): Promise<void> {
  const foreign = await findForeign(client, 'istiod');
  if (foreign === undefined) return;
  const { context } = client.transport.config;
  throw new IsthmusError('UNINSTALL_NOT_OURS', `${context}: Deployment ${foreign} was not installed by isthmus`, {
    hint: `isthmus uninstall --components peering --context ${context} takes out what is ours`,
  });
}

async function leaveMesh(client: KubeClient, progress: (step: string) => void, timeout: number): Promise<void> {
  const body = { metadata: { labels: { [labels.dataplaneMode]: null } } };
  for (const type of [resources.namespaces, resources.pods] as readonly ResourceType[]) {
    const { items } = await client.list(type, { labelSelector: `${labels.dataplaneMode}=ambient` });
    for (const { metadata } of items) {
      progress(`${type.kind} ${metadata.name}: label ${labels.dataplaneMode} taken off`);
      await client.patch(type, metadata, { type: 'merge', body });
    }
  }
  const { items: agents } = await client.list(resources.daemonSets, { namespace: istioNamespace, labelSelector: managedBySelector });
  if (agents.length === 0) return;
  await waitForObjects({ client, type: resources.pods, what: 'pods to leave the mesh', timeout }, (pods) =>
    pods.every((pod) => pod.metadata.deletionTimestamp !== undefined || pod.metadata.annotations?.[annotations.redirection] === undefined),
  );
}

/** Deletes the Gateways that are meant, in all namespaces. */
export async function deleteGateways(
  client: KubeClient,
  isMeant: (gateway: Gateway) => boolean,
  progress: (step: string) => void,
): Promise<void> {
  const found = await ignoreMissingKind(client.list(resources.gateways));
  for (const { metadata } of (found?.items ?? []).filter(isMeant)) {
    progress(`Gateway ${metadata.namespace ?? ''}/${metadata.name}`);
    await client.delete(resources.gateways, metadata, { propagationPolicy: 'Background' });
  }
}

/** The ConfigMap that istiod puts into every namespace. */
async function deleteRootCertificates(client: KubeClient, progress: (step: string) => void): Promise<void> {
  const { items } = await client.list(resources.configMaps, { fieldSelector: 'metadata.name=istio-ca-root-cert' });
  if (items.length > 0) progress('ConfigMaps istio-ca-root-cert');
  for (const { metadata } of items) await client.delete(resources.configMaps, metadata);
}

async function deleteManaged(client: KubeClient, type: ResourceType, progress: (step: string) => void): Promise<void> {
  const { items } = await client.list(type, { labelSelector: managedBySelector });
  for (const { metadata } of items) {
    progress(`${type.kind} ${metadata.name}`);
    await client.delete(type, metadata, { propagationPolicy: 'Background' });
  }
}

/** A kind whose CRD is not there has no objects either. */
export async function ignoreMissingKind<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    // The answer to an unknown path is no Status: it has no reason.
    if (error instanceof KubeApiError && error.httpCode === 404) return undefined;
    throw error;
  }
}
