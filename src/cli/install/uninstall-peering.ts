import type { KubeObject } from '../../api/kubernetes.ts';
import { gatewayClasses, labels } from '../../api/names.ts';
import { resources, type ResourceType } from '../../api/resources.ts';
import { IsthmusError } from '../../core/index.ts';
import { waitForObjects, type KubeClient } from '../../kube/index.ts';
import { readPeerGateway } from '../../peering/index.ts';
import { findForeign } from './foreign.ts';
import { managedBySelector } from './options.ts';
import { peeringName } from './peering.ts';
import { deleteGateways, ignoreMissingKind, type UninstallRun } from './uninstall.ts';

const selector = `app=${peeringName},${managedBySelector}`;

/**
 * Takes `isthmus peering` out and leaves the Istio beside it as it is. Links go first, while the process still runs and collects what
 * it imported; then the east-west gateways; then the process, and what it wrote for this cluster's own services last. Throws KUBE_API,
 * ISTHMUS_TIMEOUT, and UNINSTALL_NOT_OURS for what came by Helm; it has then changed nothing.
 */
export async function uninstallPeering({ client, progress, timeout }: UninstallRun): Promise<void> {
  await refuseForeign(client);
  // Of Istio's class istio-remote are also gateways of other networks, which are not ours.
  await deleteGateways(client, (gateway) => readPeerGateway(gateway) !== undefined, progress);
  await waitUntilCollected(client, progress, timeout);
  await deleteGateways(client, ({ spec }) => spec.gatewayClassName === gatewayClasses.eastWest, progress);
  const { items: processes } = await client.list(resources.deployments, { labelSelector: selector });
  await deleteOwn(client, resources.deployments, progress);
  const pods = { client, type: resources.pods, labelSelector: `app=${peeringName}`, timeout, what: 'peering to have stopped' };
  await waitForObjects(pods, (found) => found.length === 0);
  for (const type of ownKinds) await deleteOwn(client, type, progress);
  for (const { metadata } of processes) await client.delete(resources.leases, { ...metadata, name: leaseName });
  await ignoreMissingKind(client.delete(resources.gatewayClasses, { name: gatewayClasses.eastWest }));
  await deleteEntries(client, progress);
}

/** Helm's release would still be there, without its Gateways, and go on. */
async function refuseForeign(client: KubeClient): Promise<void> {
  const foreign = await findForeign(client, peeringName);
  if (foreign === undefined) return;
  const { context } = client.transport.config;
  throw new IsthmusError('UNINSTALL_NOT_OURS', `${context}: Deployment ${foreign} was not installed by isthmus install`, {
    hint: 'with Helm: isthmus multicluster unlink, kubectl delete gateway istio-eastwest, then helm uninstall (docs/peering-beside-istio.md)',
  });
}

/** Of the process that writes. */
const leaseName = 'isthmus-peering-leader';

const ownKinds: readonly ResourceType[] = [
  resources.podDisruptionBudgets,
  resources.networkPolicies,
  resources.services,
  resources.clusterRoleBindings,
  resources.clusterRoles,
  resources.roleBindings,
  resources.roles,
  resources.serviceAccounts,
];

/** A process that does not run collects nothing: its entries are then deleted with the rest. */
async function waitUntilCollected(client: KubeClient, progress: (step: string) => void, timeout: number): Promise<void> {
  const { items } = await client.list(resources.deployments, { labelSelector: selector });
  if (items.every(({ status }) => (status?.readyReplicas ?? 0) === 0)) return;
  progress('waiting until the entries of peers are gone');
  const wait = {
    client,
    type: resources.workloadEntries,
    labelSelector: labels.peer,
    timeout,
    what: 'the WorkloadEntries of peers to be gone',
  };
  await waitForObjects(wait, (entries) => entries.length === 0);
}

async function deleteOwn(client: KubeClient, type: ResourceType, progress: (step: string) => void): Promise<void> {
  const { items } = await client.list(type, { labelSelector: selector });
  for (const { metadata } of items) {
    progress(`${type.kind} ${metadata.name}`);
    await client.delete(type, metadata, { propagationPolicy: 'Background' });
  }
}

/** What peering applied: anyone can copy its labels, but not its field manager's name by accident. */
async function deleteEntries(client: KubeClient, progress: (step: string) => void): Promise<void> {
  const isOurs = ({ metadata }: KubeObject): boolean =>
    metadata.managedFields?.some(({ manager, operation }) => manager === peeringName && operation === 'Apply') ?? false;
  for (const type of [resources.serviceEntries, resources.workloadEntries] as readonly ResourceType[]) {
    const found = await ignoreMissingKind(client.list(type, { labelSelector: labels.parentService }));
    for (const { metadata } of (found?.items ?? []).filter(isOurs)) {
      progress(`${type.kind} ${metadata.namespace ?? ''}/${metadata.name}`);
      await client.delete(type, metadata);
    }
  }
}
