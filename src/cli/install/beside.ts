import type { KubeObject } from '../../api/kubernetes.ts';
import { labels } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { IsthmusError } from '../../core/index.ts';
import type { KubeClient } from '../../kube/index.ts';
import { applyObjects } from '../apply.ts';
import type { IstiodChoice } from '../multicluster/find-istio.ts';
import { findMesh, identityOf, type MeshIdentity } from '../multicluster/mesh-identity.ts';
import { waitUntilReady } from './install.ts';
import { isClusterId } from './options.ts';
import { peeringManifests } from './peering.ts';

export interface BesideRun {
  /** Which istiod, where there are several; default the only one. */
  readonly choice?: IstiodChoice;
  readonly client: KubeClient;
  readonly image: string;
  /** Default: what the installation says. */
  readonly clusterId: string | undefined;
  /** For an installation that does not say its network: its namespace then gets the label. */
  readonly network: string | undefined;
  readonly progress: (step: string) => void;
  /** How long to wait for the Deployment to be ready, milliseconds; 0 does not wait. */
  readonly timeout: number;
}

/**
 * Puts `isthmus peering` beside an Istio that others installed, and touches nothing else: cluster id, network, trust domain and
 * istiod's namespace are the installation's. Only a network that nothing says is added, as the label of istiod's namespace. Throws MESH_NOT_INSTALLED,
 * MESH_AMBIGUOUS, MESH_NETWORK_UNSET, INSTALL_PEERING_BUILT_IN, INSTALL_CLUSTER_ID, INSTALL_NETWORK_DIFFERS, INSTALL_GATEWAY_API_MISSING, ISTHMUS_TIMEOUT.
 */
export async function installPeeringBeside(run: BesideRun): Promise<MeshIdentity> {
  const { client, image, progress, timeout } = run;
  const found = await findMesh(client, run.choice);
  const { context } = client.transport.config;
  if (found.istiod.isIsthmus) {
    throw new IsthmusError('INSTALL_PEERING_BUILT_IN', `${context}: istiod is Isthmus' own, which peers by itself`, {
      hint: 'there is nothing to install: isthmus multicluster expose',
    });
  }
  const clusterId = run.clusterId ?? found.clusterId;
  if (!isClusterId(clusterId)) {
    throw new IsthmusError('INSTALL_CLUSTER_ID', `${context}: istiod's cluster id "${clusterId}" cannot be part of object names`, {
      hint: `give istiod and ztunnel another one: isthmus multicluster check --precheck --context ${context} shows how`,
    });
  }
  await checkGatewayApi(client);
  const namespace = found.istiod.namespace;
  if (found.network === undefined && run.network !== undefined) {
    progress(`namespace ${namespace}: label ${labels.network}=${run.network}`);
    await client.patch(
      resources.namespaces,
      { name: namespace },
      { type: 'merge', body: { metadata: { labels: { [labels.network]: run.network } } } },
    );
  }
  const identity = identityOf(client, { ...found, network: found.network ?? run.network });
  if (run.network !== undefined && identity.network !== run.network) {
    throw new IsthmusError(
      'INSTALL_NETWORK_DIFFERS',
      `${context}: the cluster is in network "${identity.network}", not in "${run.network}"`,
      {
        hint: `leave --network out, or change the label ${labels.network} of namespace ${namespace} and NETWORK of ztunnel first`,
      },
    );
  }
  const { trustDomain, caAddress, rootConfigMap } = identity;
  const objects: KubeObject[] = peeringManifests({ namespace, clusterId, trustDomain, caAddress, rootConfigMap, image });
  progress(`peering beside istiod of namespace ${namespace}`);
  await applyObjects(client, objects);
  if (timeout > 0) {
    progress('waiting until it is ready');
    await waitUntilReady(objects, { client, timeout, signal: undefined });
  }
  return { ...identity, clusterId };
}

async function checkGatewayApi(client: KubeClient): Promise<void> {
  const name = 'gateways.gateway.networking.k8s.io';
  if ((await client.find(resources.customResourceDefinitions, { name })) !== undefined) return;
  throw new IsthmusError('INSTALL_GATEWAY_API_MISSING', `${client.transport.config.context}: the Gateway API is not installed (${name})`, {
    hint: "install it as Istio's documentation of ambient says; peers are Gateways",
  });
}
