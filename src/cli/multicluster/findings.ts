/** What a finding means for peering: a warning lets requests through, a failure does not. */
export type Severity = 'warning' | 'failure';

/**
 * Everything that `isthmus multicluster check` may find, with how much it weighs. A code is stable: scripts and
 * docs/errors/check.md refer to it, so it is never renamed or given a second meaning. Findings are not errors: the command
 * itself went well.
 */
export const findingCodes = {
  // control plane
  CHECK_ISTIOD_NOT_READY: 'failure',
  CHECK_ISTIOD_TOO_OLD: 'failure',
  CHECK_AMBIENT_OFF: 'failure',
  CHECK_VIP_ALLOCATION_OFF: 'failure',
  CHECK_LOCAL_NAME_SPREADS: 'warning',
  CHECK_PEERING_NOT_RUNNING: 'failure',
  CHECK_PEERING_NOT_READY: 'failure',
  // data plane
  CHECK_ZTUNNEL_NOT_READY: 'failure',
  CHECK_ZTUNNEL_TOO_OLD: 'failure',
  CHECK_CNI_NOT_READY: 'failure',
  CHECK_DNS_CAPTURE_OFF: 'failure',
  // identity of the cluster
  CHECK_CLUSTER_ID_INVALID: 'failure',
  CHECK_CLUSTER_IDS_EQUAL: 'failure',
  CHECK_TRUST_DOMAINS_DIFFER: 'failure',
  CHECK_ROOTS_DIFFER: 'failure',
  CHECK_INTERMEDIATES_EQUAL: 'warning',
  CHECK_PIN_DIFFERS: 'failure',
  // network
  CHECK_NETWORK_UNSET: 'failure',
  CHECK_NETWORKS_DIFFER: 'failure',
  CHECK_POD_RANGES_OVERLAP: 'failure',
  // links
  CHECK_EASTWEST_MISSING: 'warning',
  CHECK_EASTWEST_NOT_READY: 'failure',
  CHECK_EASTWEST_NOT_PROGRAMMED: 'failure',
  CHECK_PEERS_MISSING: 'warning',
  CHECK_PEER_NOT_CONNECTED: 'failure',
  CHECK_PEER_NOT_SYNCED: 'failure',
  CHECK_PEER_PARTLY_REFUSED: 'warning',
  // services and entries
  CHECK_NAMESPACE_NOT_IN_MESH: 'warning',
  CHECK_ENTRIES_STALE: 'warning',
  CHECK_ENTRIES_FOREIGN: 'warning',
} as const satisfies Readonly<Record<string, Severity>>;

export type FindingCode = keyof typeof findingCodes;

/** Something that is not as peering needs it. */
export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  /** What is wrong, about which object; one sentence without a full stop. */
  readonly cause: string;
  /** The command that mends it, to be run as it is; where only a human can decide, the one that shows what to decide about. */
  readonly command: string;
}

/** A finding with the severity of its code. */
export function finding(code: FindingCode, cause: string, command: string): Finding {
  return { code, severity: findingCodes[code], cause, command };
}

/** One line of the report; the texts are the guide's where it has them, since scripts read them. */
export interface CheckLine {
  /** `License Check`, `Pod Check (istiod)`, … */
  readonly check: string;
  /** What the line says: that all is well, or what is not. */
  readonly message: string;
  /** Shown with `-v`. */
  readonly details: readonly string[];
  readonly findings: readonly Finding[];
  /** Not one of the guide's six: beside our own istiod it is shown only with findings or `-v`. */
  readonly isExtra: boolean;
}

/** The weight of the worst of some findings; `ok` for none. */
export function worstOf(findings: readonly Finding[]): Severity | 'ok' {
  if (findings.some(({ severity }) => severity === 'failure')) return 'failure';
  return findings.length > 0 ? 'warning' : 'ok';
}
