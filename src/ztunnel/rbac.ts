import { rangeContains } from './state/address.ts';
import type { AddressRange, Match, Policy, ServiceAccountMatch, StringMatch } from './state/policy.ts';
import { policyKey } from './state/policy.ts';

/** What a policy can see of a connection. */
export interface RbacConnection {
  /** SPIFFE URI of the mTLS peer; undefined for plaintext. */
  readonly identity: string | undefined;
  /** The TCP peer: the client pod, or the waypoint in between. */
  readonly sourceIp: string;
  readonly destinationIp: string;
  /** The application's port, never 15008. */
  readonly destinationPort: number;
}

export type RbacDecision =
  | { readonly allowed: true; readonly dryRun: readonly DryRunMatch[] }
  | { readonly allowed: false; readonly dryRun: readonly DryRunMatch[]; readonly reason: string };

/** A policy in dry run that would have matched; it is logged and nothing else. */
export interface DryRunMatch {
  readonly action: Policy['action'];
  readonly policy: string;
}

/**
 * Decides whether a connection may pass, in upstream's order: any matching DENY refuses; without an enforced ALLOW policy
 * everything else passes; otherwise one ALLOW has to match. `reason` is the text that upstream logs.
 */
export function decide(policies: readonly Policy[], connection: RbacConnection): RbacDecision {
  const dryRun = policies
    .filter((policy) => policy.dryRun && policyMatches(policy, connection))
    .map((policy) => ({ action: policy.action, policy: policyKey(policy) }));
  const enforced = policies.filter((policy) => !policy.dryRun);
  const denial = enforced.find((policy) => policy.action === 'Deny' && policyMatches(policy, connection));
  if (denial !== undefined) return { allowed: false, dryRun, reason: `explicitly denied by: ${policyKey(denial)}` };
  const allows = enforced.filter((policy) => policy.action === 'Allow');
  if (allows.length === 0 || allows.some((policy) => policyMatches(policy, connection))) return { allowed: true, dryRun };
  return { allowed: false, dryRun, reason: 'allow policies exist, but none allowed' };
}

/** Any rule; no rules match nothing. In a rule all clauses: none match everything. */
export function policyMatches(policy: Pick<Policy, 'rules'>, connection: RbacConnection): boolean {
  return policy.rules.some((clauses) => clauses.every((matches) => clauseMatches(matches, connection)));
}

/** Any match; no matches at all match everything, while a match without a condition matches nothing. */
function clauseMatches(matches: readonly Match[], connection: RbacConnection): boolean {
  return matches.length === 0 || matches.some((match) => !isEmpty(match) && matchMatches(match, connection));
}

function isEmpty(match: Match): boolean {
  return Object.values(match).every((list: readonly unknown[]) => list.length === 0);
}

function matchMatches(match: Match, { identity, sourceIp, destinationIp, destinationPort }: RbacConnection): boolean {
  const peer = parseIdentity(identity);
  return (
    group(match.namespaces, match.notNamespaces, (wanted) => stringMatches(wanted, peer?.namespace ?? '')) &&
    // Without an identity no principal matches, and so every `not` passes: that is how STRICT refuses plaintext.
    group(match.principals, match.notPrincipals, (wanted) => peer !== undefined && stringMatches(wanted, peer.principal)) &&
    group(
      match.serviceAccounts,
      match.notServiceAccounts,
      (wanted: ServiceAccountMatch) =>
        peer !== undefined && wanted.namespace === peer.namespace && wanted.serviceAccount === peer.serviceAccount,
    ) &&
    group(match.sourceIps, match.notSourceIps, (range: AddressRange) => rangeContains(range, sourceIp)) &&
    group(match.destinationIps, match.notDestinationIps, (range: AddressRange) => rangeContains(range, destinationIp)) &&
    group(match.destinationPorts, match.notDestinationPorts, (port: number) => port === destinationPort)
  );
}

function group<T>(positive: readonly T[], negative: readonly T[], holds: (entry: T) => boolean): boolean {
  return (positive.length === 0 || positive.some(holds)) && !negative.some(holds);
}

function stringMatches(match: StringMatch, value: string): boolean {
  switch (match.kind) {
    case 'Exact':
      return value === match.value;
    case 'Prefix':
      return value.startsWith(match.value);
    case 'Suffix':
      return value.endsWith(match.value);
    case 'Presence':
      return value !== '';
  }
}

function parseIdentity(identity: string | undefined): { principal: string; namespace: string; serviceAccount: string } | undefined {
  if (identity === undefined) return undefined;
  const principal = identity.replace(/^spiffe:\/\//, '');
  const parts = /^[^/]*\/ns\/([^/]*)\/sa\/([^/]*)$/.exec(principal);
  return { principal, namespace: parts?.[1] ?? '', serviceAccount: parts?.[2] ?? '' };
}
