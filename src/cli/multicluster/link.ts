import { isIP } from 'node:net';

import type { Gateway } from '../../api/kubernetes.ts';
import { annotations, gatewayClasses, labels, ports } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { IsthmusError } from '../../core/index.ts';
import type { KubeClient } from '../../kube/index.ts';
import { eastWestName, waitForProgrammed } from './expose.ts';
import { readMeshIdentity, readSigningAuthority, type MeshIdentity } from './mesh-identity.ts';

export interface LinkOptions {
  readonly clients: readonly KubeClient[];
  readonly namespace: string;
  readonly istioNamespace: string;
  /** How long to wait for each cluster's gateway address, milliseconds. */
  readonly timeout: number;
  /** Where the results go, a line each. */
  readonly print: (line: string) => void;
}

interface Peer extends MeshIdentity {
  readonly client: KubeClient;
  readonly address: string;
  readonly caSha256: string | undefined;
}

/**
 * Writes into every cluster one Gateway of class istio-remote for every other cluster, with the fingerprint of the peer's
 * CA, so that only that cluster is believed. Run again it changes nothing. Throws LINK_DUPLICATE_CLUSTER, ISTHMUS_TIMEOUT.
 */
export async function link({ clients, namespace, istioNamespace, timeout, print }: LinkOptions): Promise<void> {
  const peers = await Promise.all(clients.map((client) => readPeer(client, namespace, istioNamespace, timeout)));
  refuseEqualIds(peers);
  for (const here of peers) {
    for (const peer of peers) {
      if (peer === here) continue;
      const gateway = remoteGateway(namespace, peer);
      await here.client.apply(resources.gateways, gateway, { fieldManager: 'istioctl' });
      print(`${here.client.transport.config.context}: Gateway ${namespace}/${gateway.metadata.name} applied`);
    }
  }
}

/** Deletes the Gateways that {@link link} made between these clusters; istiod then removes what was imported. */
export async function unlink({ clients, namespace, istioNamespace, print }: Omit<LinkOptions, 'timeout'>): Promise<void> {
  const meshes = await Promise.all(clients.map(async (client) => ({ client, ...(await readMeshIdentity(client, { istioNamespace })) })));
  for (const here of meshes) {
    for (const peer of meshes) {
      if (peer === here) continue;
      const name = remoteName(peer.clusterId);
      const deleted = await here.client.delete(resources.gateways, { name, namespace });
      print(`${here.client.transport.config.context}: Gateway ${namespace}/${name} ${deleted ? 'deleted' : 'was not there'}`);
    }
  }
}

async function readPeer(client: KubeClient, namespace: string, istioNamespace: string, timeout: number): Promise<Peer> {
  const mesh = await readMeshIdentity(client, { istioNamespace });
  const caSha256 = (await readSigningAuthority(client, mesh.istioNamespace))?.sha256;
  const { context } = client.transport.config;
  if ((await client.find(resources.gateways, { name: eastWestName, namespace })) === undefined) {
    throw new IsthmusError('LINK_NOT_EXPOSED', `${context}: there is no Gateway ${namespace}/${eastWestName}`, {
      hint: `isthmus multicluster expose --context ${context} --namespace ${namespace}`,
    });
  }
  return { ...mesh, client, caSha256, address: await waitForProgrammed(client, namespace, timeout) };
}

function refuseEqualIds(peers: readonly Peer[]): void {
  const seen = new Map<string, Peer>();
  for (const peer of peers) {
    const other = seen.get(peer.clusterId);
    if (other !== undefined) {
      const contexts = `${other.client.transport.config.context} and ${peer.client.transport.config.context}`;
      throw new IsthmusError('LINK_DUPLICATE_CLUSTER', `${contexts} have the same cluster id "${peer.clusterId}"`, {
        hint: 'install one of them with another --cluster',
      });
    }
    seen.set(peer.clusterId, peer);
  }
}

function remoteName(clusterId: string): string {
  return `istio-remote-peer-${clusterId}`;
}

function remoteGateway(namespace: string, peer: Peer): Gateway {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      name: remoteName(peer.clusterId),
      namespace,
      labels: { [labels.cluster]: peer.clusterId, [labels.network]: peer.network },
      annotations: {
        [annotations.gatewayServiceAccount]: eastWestName,
        [annotations.gatewayTrustDomain]: peer.trustDomain,
        [annotations.preferredDataPlaneServiceType]: 'loadbalancer',
        ...(peer.caSha256 !== undefined && { [annotations.peerCaSha256]: peer.caSha256 }),
      },
    },
    spec: {
      gatewayClassName: gatewayClasses.remote,
      addresses: [{ type: isIP(peer.address) === 0 ? 'Hostname' : 'IPAddress', value: peer.address }],
      listeners: [{ name: 'xds-tls', port: ports.istiodTls, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
    },
  };
}
