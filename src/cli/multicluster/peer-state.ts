import type { Condition, Gateway } from '../../api/kubernetes.ts';
import { annotations, conditionTypes, labels } from '../../api/names.ts';
import { readPeerGateway, resourcesAccepted } from '../../peering/index.ts';

/** One link as its Gateway shows it. */
export interface PeerState {
  readonly gateway: Gateway;
  /** `<namespace>/<name>` of the Gateway. */
  readonly key: string;
  readonly cluster: string;
  /** `host:port`; empty while the Gateway has none. */
  readonly address: string;
  readonly network: string | undefined;
  readonly trustDomain: string | undefined;
  /** Hex SHA-256 of the authorities that are believed to be the peer's. */
  readonly pins: readonly string[];
  readonly connected: Condition | undefined;
  readonly synced: Condition | undefined;
  readonly accepted: Condition | undefined;
}

/** Reads a Gateway that is a link, with what peering has noted on it; undefined for any other, and for one that is being deleted. */
export function readPeerState(gateway: Gateway): PeerState | undefined {
  const peer = readPeerGateway(gateway);
  if (peer === undefined) return undefined;
  const condition = (type: string): Condition | undefined =>
    gateway.status?.conditions?.find((one) => one.type === type) as Condition | undefined;
  return {
    gateway,
    key: peer.key,
    cluster: peer.cluster ?? gateway.metadata.name,
    address: peer.url?.replace('https://', '') ?? '',
    network: gateway.metadata.labels?.[labels.network],
    trustDomain: gateway.metadata.annotations?.[annotations.gatewayTrustDomain],
    pins: peer.pins,
    connected: condition(conditionTypes.peerConnected),
    synced: condition(conditionTypes.peeringSucceeded),
    accepted: condition(resourcesAccepted),
  };
}

/** Connected, and all that the peer has told was believed once. */
export function isPeered({ connected, synced }: PeerState): boolean {
  return connected?.status === 'True' && synced?.status === 'True';
}
