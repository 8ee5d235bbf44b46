import type { Gateway } from '../../api/kubernetes.ts';
import { gatewayClasses, labels } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { IsthmusError } from '../../core/index.ts';
import { waitForObjects, type KubeClient } from '../../kube/index.ts';
import { isPeeringThere } from './mesh-identity.ts';
import { readPeerState } from './peer-state.ts';

export interface UnlinkOptions {
  readonly client: KubeClient;
  /** Cluster ids whose links are removed; the clusters themselves need not exist any more. */
  readonly peers: readonly string[];
  /** Only links in this namespace; undefined: wherever they are. */
  readonly namespace?: string | undefined;
  /** How long to wait until what was imported is gone, milliseconds; 0 does not wait. */
  readonly timeout: number;
  readonly dryRun: boolean;
  /** Where the results go, a line each. */
  readonly print: (line: string) => void;
}

/**
 * Removes a cluster's links to some peers, and waits until peering has removed what was imported from them. Touches nothing else: only
 * Gateways of class istio-remote that name these peers are deleted. Throws UNLINK_ENTRIES_LEFT.
 */
export async function unlink({ client, peers, namespace, timeout, dryRun, print }: UnlinkOptions): Promise<void> {
  const { context } = client.transport.config;
  const { items } = await client.list(resources.gateways, { namespace });
  for (const peer of peers) {
    const links = items.filter((gateway) => isLinkTo(gateway, peer));
    if (links.length === 0) print(`${context}: no link to ${peer}`);
    for (const { metadata } of links) {
      const { name, namespace: from = '', uid } = metadata;
      if (dryRun) {
        print(`${context}: Gateway ${from}/${name} would be deleted`);
        continue;
      }
      const deleted = await client.delete(resources.gateways, { name, namespace: from }, uid === undefined ? {} : { uid });
      print(`${context}: Gateway ${from}/${name} ${deleted ? 'deleted' : 'was not there'}`);
    }
  }
  for (const peer of peers) await waitUntilCollected({ client, peer, timeout, dryRun, print });
}

function isLinkTo(gateway: Gateway, peer: string): boolean {
  return gateway.spec.gatewayClassName === gatewayClasses.remote && readPeerState(gateway)?.cluster === peer;
}

async function waitUntilCollected(
  options: Pick<UnlinkOptions, 'client' | 'timeout' | 'dryRun' | 'print'> & { readonly peer: string },
): Promise<void> {
  const { client, peer, timeout, dryRun, print } = options;
  const { context } = client.transport.config;
  const selection = { labelSelector: `${labels.peer}=${peer}` };
  const { items } = await client.list(resources.workloadEntries, selection);
  if (items.length === 0) return;
  if (dryRun) {
    print(`${context}: ${String(items.length)} WorkloadEntries of ${peer} would be removed`);
    return;
  }
  if (timeout === 0) return;
  const command = `kubectl --context ${context} delete workloadentries --all-namespaces -l ${labels.peer}=${peer}`;
  if (!(await isPeeringThere(client))) {
    const message = `${context}: ${String(items.length)} WorkloadEntries of ${peer} are left, and no peering runs there that would remove them`;
    throw new IsthmusError('UNLINK_ENTRIES_LEFT', message, { hint: command });
  }
  try {
    const what = `${context}: the WorkloadEntries of ${peer} to be removed`;
    await waitForObjects({ client, type: resources.workloadEntries, ...selection, what, timeout }, (left) => left.length === 0);
  } catch (error) {
    if (!(error instanceof IsthmusError) || error.code !== 'ISTHMUS_TIMEOUT') throw error;
    const { items: left } = await client.list(resources.workloadEntries, selection);
    const message = `${context}: ${String(left.length)} WorkloadEntries of ${peer} are left after ${String(timeout / 1000)} s`;
    throw new IsthmusError('UNLINK_ENTRIES_LEFT', message, { hint: `look at the peering process; by hand: ${command}` });
  }
  print(`${context}: ${String(items.length)} WorkloadEntries of ${peer} removed`);
}
