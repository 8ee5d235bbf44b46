import { labels } from '../../api/names.ts';
import { alignColumns } from '../table.ts';
import { readClusterFacts, type ClusterFacts } from './cluster-facts.ts';
import type { IstiodChoice } from './find-istio.ts';
import { readPeerState, type PeerState } from './peer-state.ts';
import type { KubeClient } from '../../kube/index.ts';

/** One cluster's view of its peers. Keys are those of `status -o json`. */
export interface ClusterStatus {
  /** Of the kubeconfig. */
  readonly context: string;
  readonly cluster: string;
  readonly network: string | undefined;
  readonly peers: readonly PeerStatus[];
}

/** One link, and what came over it. */
export interface PeerStatus {
  readonly peer: string;
  /** `<namespace>/<name>`. */
  readonly gateway: string;
  /** `host:port`; empty: none yet. */
  readonly address: string;
  readonly connected: ConditionStatus;
  readonly synced: ConditionStatus;
  /** Global services that the peer has endpoints of, and those endpoints, as entries of this cluster. */
  readonly services: number;
  readonly endpoints: number;
  /** What the peer sent and is not believed; undefined while nobody says. */
  readonly refused: number | undefined;
  /** RFC 3339: since when it is connected, or not. */
  readonly since: string | undefined;
}

export interface ConditionStatus {
  readonly status: 'True' | 'False' | 'Unknown';
  /** CamelCase, or a code of docs/errors/peering.md. */
  readonly reason: string | undefined;
  readonly message: string | undefined;
}

/** What clusters' Gateways and entries say now. Throws as {@link readClusterFacts}. */
export async function readStatus(clients: readonly KubeClient[], choice: IstiodChoice): Promise<readonly ClusterStatus[]> {
  return await Promise.all(clients.map(async (client) => clusterStatus(await readClusterFacts(client, choice))));
}

function clusterStatus(facts: ClusterFacts): ClusterStatus {
  const { context, mesh, remote } = facts;
  const peers = remote
    .flatMap((gateway) => readPeerState(gateway) ?? [])
    .sort((a, b) => (a.cluster < b.cluster ? -1 : a.cluster > b.cluster ? 1 : 0))
    .map((peer) => peerStatus(peer, facts));
  return { context, cluster: mesh.clusterId, network: mesh.network, peers };
}

function peerStatus({ cluster, key, address, connected, synced, accepted }: PeerState, { workloadEntries }: ClusterFacts): PeerStatus {
  const entries = workloadEntries.filter(({ metadata }) => metadata.labels?.[labels.peer] === cluster);
  const services = new Set(
    entries.map(
      ({ metadata }) => `${metadata.labels?.[labels.parentServiceNamespace] ?? ''}/${metadata.labels?.[labels.parentService] ?? ''}`,
    ),
  );
  return {
    peer: cluster,
    gateway: key,
    address,
    connected: conditionStatus(connected),
    synced: conditionStatus(synced),
    services: services.size,
    // The entry without an address stands for the peer's gateway.
    endpoints: entries.filter(({ spec }) => spec.address !== undefined && spec.address !== '').length,
    refused: accepted === undefined ? undefined : accepted.status === 'True' ? 0 : Number(/^\d+/.exec(accepted.message)?.[0] ?? 1),
    since: connected?.lastTransitionTime,
  };
}

function conditionStatus(condition: PeerState['connected']): ConditionStatus {
  const { status = 'Unknown', reason, message } = condition ?? {};
  return { status, reason, message };
}

const header = ['CLUSTER', 'PEER', 'ADDRESS', 'CONNECTED', 'SYNCED', 'SERVICES', 'ENDPOINTS', 'REFUSED', 'SINCE'];

/** The statuses as a table; `now` in milliseconds. A cluster without peers has a row too. */
export function statusTable(clusters: readonly ClusterStatus[], now: number): string {
  const rows = clusters.flatMap(({ cluster, peers }) =>
    peers.length === 0
      ? [[cluster, '<none>']]
      : peers.map((one) => [
          cluster,
          one.peer,
          one.address === '' ? '<none>' : one.address,
          conditionText(one.connected),
          conditionText(one.synced),
          String(one.services),
          String(one.endpoints),
          one.refused === undefined ? '-' : String(one.refused),
          one.since === undefined ? '-' : ageText(now - Date.parse(one.since)),
        ]),
  );
  return alignColumns([header, ...rows]);
}

function conditionText({ status, reason }: ConditionStatus): string {
  return status === 'True' || reason === undefined ? status : `${status} (${reason})`;
}

/** As kubectl shows ages, in the largest unit that says enough. */
function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${String(seconds)}s`;
  if (seconds < 7200) return `${String(Math.floor(seconds / 60))}m`;
  if (seconds < 172_800) return `${String(Math.floor(seconds / 3600))}h`;
  return `${String(Math.floor(seconds / 86_400))}d`;
}
