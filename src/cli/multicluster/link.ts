import { isIP } from 'node:net';

import { stringify } from 'yaml';

import type { Gateway } from '../../api/kubernetes.ts';
import { annotations, gatewayClasses, labels, ports } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { IsthmusError } from '../../core/index.ts';
import type { KubeClient } from '../../kube/index.ts';
import { eastWestName, waitForProgrammed } from './expose.ts';
import type { IstiodChoice } from './find-istio.ts';
import { readMeshIdentity, readSigningAuthority, type MeshIdentity } from './mesh-identity.ts';

export interface LinkOptions extends IstiodChoice {
  /** Clusters that get a link to each peer. */
  readonly clients: readonly KubeClient[];
  /** Clusters that are linked to; default `clients`, so that each is linked to each other. */
  readonly peers?: readonly KubeClient[];
  readonly namespace: string;
  /** Where a peer is reached instead of at its east-west gateway, `host` or `host:port` by cluster id. */
  readonly addresses?: ReadonlyMap<string, string> | undefined;
  /** How long to wait for each cluster's gateway address, milliseconds. */
  readonly timeout: number;
  /** Print the Gateways as YAML instead of applying them. */
  readonly generate?: boolean;
  /** Say what would be done. */
  readonly dryRun?: boolean;
  /** Where the results go, a line each. */
  readonly print: (line: string) => void;
}

/** What a link says about the cluster that it leads to. */
export interface PeerDescription extends Pick<MeshIdentity, 'clusterId'> {
  /** Undefined: the peer may be in any. */
  readonly network: string | undefined;
  readonly trustDomain: string | undefined;
  /** `host`, `host:port` or `[v6]:port`. */
  readonly address: string;
  /** Undefined: the first authority seen is pinned. */
  readonly caSha256: string | undefined;
}

interface Found extends PeerDescription {
  readonly client: KubeClient;
}

/**
 * Writes into every cluster one Gateway of class istio-remote for every peer, with the fingerprint of the peer's CA, so that only that cluster
 * is believed. Run again it changes nothing. Throws LINK_DUPLICATE_CLUSTER, LINK_NOT_EXPOSED, PEERING_NOT_INSTALLED, ISTHMUS_TIMEOUT.
 */
export async function link({ clients, namespace, addresses, timeout, print, ...options }: LinkOptions): Promise<void> {
  const peerClients = options.peers ?? clients;
  const choice = { istioNamespace: options.istioNamespace, revision: options.revision };
  const [here, peers] = await Promise.all([
    Promise.all(clients.map(async (client) => ({ client, clusterId: (await readMeshIdentity(client, choice)).clusterId }))),
    Promise.all(peerClients.map((client) => readPeer(client, { choice, namespace, addresses, timeout }))),
  ]);
  const all = [...here, ...peers.filter(({ client }) => !clients.includes(client))];
  refuseEqualIds(all);
  for (const { client, clusterId } of here) {
    for (const peer of peers) {
      if (peer.clusterId !== clusterId) await writeLink({ client, namespace, peer, print, ...options });
    }
  }
}

/** One link to a peer that is described instead of read: for those who have no access to it. Throws NAMESPACE_MISSING. */
export async function writeLink(options: {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly peer: PeerDescription;
  readonly generate?: boolean;
  readonly dryRun?: boolean;
  readonly print: (line: string) => void;
}): Promise<void> {
  const { client, namespace, peer, print } = options;
  const { context } = client.transport.config;
  const gateway = remoteGateway(namespace, peer);
  if (options.generate === true) {
    print(`# ${context}\n${stringify(gateway).trimEnd()}\n---`);
    return;
  }
  const name = `${namespace}/${gateway.metadata.name}`;
  if (options.dryRun === true) {
    print(`${context}: Gateway ${name} would be applied, for ${peer.clusterId} at ${peer.address}`);
    return;
  }
  if ((await client.find(resources.namespaces, { name: namespace })) === undefined) {
    throw new IsthmusError('NAMESPACE_MISSING', `namespace "${namespace}" does not exist in ${context}`, {
      hint: `kubectl create namespace ${namespace} --context ${context}`,
    });
  }
  await client.apply(resources.gateways, gateway, { fieldManager: 'istioctl' });
  print(`${context}: Gateway ${name} applied`);
}

async function readPeer(
  client: KubeClient,
  options: Pick<LinkOptions, 'namespace' | 'addresses' | 'timeout'> & { readonly choice: IstiodChoice },
): Promise<Found> {
  const { namespace, addresses, timeout, choice } = options;
  const { clusterId, network, trustDomain, istioNamespace } = await readMeshIdentity(client, choice);
  const caSha256 = (await readSigningAuthority(client, istioNamespace))?.sha256;
  const described = { client, clusterId, network, trustDomain, caSha256 };
  const given = addresses?.get(clusterId);
  if (given !== undefined) return { ...described, address: given };
  const { context } = client.transport.config;
  if ((await client.find(resources.gateways, { name: eastWestName, namespace })) === undefined) {
    throw new IsthmusError('LINK_NOT_EXPOSED', `${context}: there is no Gateway ${namespace}/${eastWestName}`, {
      hint: `isthmus multicluster expose --context ${context} --namespace ${namespace}, or say where ${clusterId} is reached: --address ${clusterId}=HOST:PORT`,
    });
  }
  return { ...described, address: await waitForProgrammed(client, namespace, timeout) };
}

function refuseEqualIds(clusters: readonly { readonly client: KubeClient; readonly clusterId: string }[]): void {
  const seen = new Map<string, KubeClient>();
  for (const { clusterId, client } of clusters) {
    const other = seen.get(clusterId);
    if (other !== undefined) {
      const contexts = `${other.transport.config.context} and ${client.transport.config.context}`;
      throw new IsthmusError('LINK_DUPLICATE_CLUSTER', `${contexts} have the same cluster id "${clusterId}"`, {
        hint: `give one of them another id; isthmus multicluster check --contexts ${contexts.replace(' and ', ',')} shows how`,
      });
    }
    seen.set(clusterId, client);
  }
}

/** Name of the Gateway that links to a cluster. */
function remoteName(clusterId: string): string {
  return `istio-remote-peer-${clusterId}`;
}

function remoteGateway(namespace: string, peer: PeerDescription): Gateway {
  const { host, port } = splitAddress(peer.address);
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      name: remoteName(peer.clusterId),
      namespace,
      labels: { [labels.cluster]: peer.clusterId, ...(peer.network !== undefined && { [labels.network]: peer.network }) },
      annotations: {
        [annotations.gatewayServiceAccount]: eastWestName,
        ...(peer.trustDomain !== undefined && { [annotations.gatewayTrustDomain]: peer.trustDomain }),
        [annotations.preferredDataPlaneServiceType]: 'loadbalancer',
        ...(peer.caSha256 !== undefined && { [annotations.peerCaSha256]: peer.caSha256 }),
      },
    },
    spec: {
      gatewayClassName: gatewayClasses.remote,
      addresses: [{ type: isIP(host) === 0 ? 'Hostname' : 'IPAddress', value: host }],
      listeners: [{ name: 'xds-tls', port, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
    },
  };
}

/** Throws ISTHMUS_USAGE for what is neither `host` nor `host:port`. */
function splitAddress(address: string): { readonly host: string; readonly port: number } {
  if (isIP(address) !== 0) return { host: address, port: ports.istiodTls };
  const [, host = '', port] = /^\[?([^[\]]+?)\]?(?::(\d{1,5}))?$/.exec(address) ?? [];
  const number = port === undefined ? ports.istiodTls : Number(port);
  if (host === '' || (host.includes(':') && isIP(host) === 0) || number < 1 || number > 65_535) {
    throw new IsthmusError('ISTHMUS_USAGE', `"${address}" is no address`, { hint: 'give HOST or HOST:PORT' });
  }
  return { host, port: number };
}
