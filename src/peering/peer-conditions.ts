import type { Gateway } from '../api/kubernetes.ts';
import { conditionTypes } from '../api/names.ts';
import { maxMessage, namespacesReady, resourcesAccepted, type ConditionState } from './gateway-status.ts';
import type { PeerFindings } from './peer-findings.ts';
import type { PeerLink } from './peer-link.ts';
import type { Refusal } from './validate.ts';

/** What of a peer its conditions tell. */
export interface PeerState {
  readonly link: Pick<PeerLink, 'connection' | 'refused'>;
  /** The cluster under whose id things were imported. */
  readonly cluster: string | undefined;
  readonly isImported: boolean;
  readonly isExpired: boolean;
}

/** The conditions of a link's Gateway, as it is now; `refusal` is why nothing of the peer is believed. */
export function conditionsOf(peer: PeerState, refusal: Refusal | undefined, findings: PeerFindings | undefined): ConditionState[] {
  const { connection } = peer.link;
  const withoutEntry = findings?.refused(peer.cluster) ?? new Map<string, Refusal>();
  const refused = peer.link.refused.size + withoutEntry.size;
  const [first] =
    peer.link.refused.size > 0
      ? peer.link.refused
      : [...withoutEntry.entries().take(1)].map(([uid, why]) => [`workload ${uid}`, why] as const);
  const missing = findings?.namespaces(peer.cluster);
  return [
    {
      type: conditionTypes.peerConnected,
      ...(connection.kind === 'connected'
        ? { status: 'True', reason: 'Connected', message: 'connected to peer' }
        : connection.kind === 'connecting'
          ? { status: 'False', reason: 'Pending', message: 'not connected to peer' }
          : { status: 'False', reason: connection.reason.code, message: `not connected to peer: ${connection.reason.message}` }),
    },
    {
      type: conditionTypes.peeringSucceeded,
      ...(refusal !== undefined
        ? { status: 'False', reason: refusal.code, message: refusal.message }
        : peer.isExpired
          ? { status: 'False', reason: 'PEERING_LEASE_EXPIRED', message: 'the peer was away for too long: its endpoints were removed' }
          : peer.isImported
            ? { status: 'True', reason: 'Synced', message: 'initial sync with the peer finished' }
            : { status: 'False', reason: 'Pending', message: 'the peer has not told all its services and workloads yet' }),
    },
    {
      type: resourcesAccepted,
      ...(first === undefined
        ? { status: 'True', reason: 'Accepted', message: 'all that the peer sent is believed' }
        : { status: 'False', reason: first[1].code, message: `${refused} refused, such as ${first[0]}: ${first[1].message}` }),
    },
    {
      type: namespacesReady,
      ...(missing === undefined
        ? { status: 'True', reason: 'Ready', message: 'no service of the peer waits for a namespace' }
        : { status: 'False', reason: 'PEERING_NAMESPACE_MISSING', message: missing }),
    },
  ];
}

/** The first condition that says that something is wrong, not only that it is not known yet. */
export function troubleOf<T extends { readonly status: string; readonly reason: string }>(conditions: readonly T[]): T | undefined {
  return conditions.find(({ status, reason }) => status === 'False' && reason !== 'Pending');
}

/** The message as a condition has it. */
export function textOf({ reason, message }: { readonly reason: string; readonly message: string }): string {
  return `${reason} ${message.slice(0, maxMessage)}`;
}

/** What whoever led before has told, by the conditions that it wrote: no second Event says it. */
export function toldBy(gateway: Gateway | undefined): string | undefined {
  const types: readonly string[] = [conditionTypes.peerConnected, conditionTypes.peeringSucceeded, resourcesAccepted];
  const written = types.flatMap((type) => gateway?.status?.conditions?.find((condition) => condition.type === type) ?? []);
  const trouble = troubleOf(written);
  if (trouble !== undefined) return textOf(trouble);
  return written.length === types.length && written.every(({ status }) => status === 'True') ? '' : undefined;
}
