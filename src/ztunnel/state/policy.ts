/** Authorization policies as decoded: Istio's AuthorizationPolicy and PeerAuthentication reduced to layer 4. */

export type StringMatch = { readonly kind: 'Exact' | 'Prefix' | 'Suffix'; readonly value: string } | { readonly kind: 'Presence' };

export interface AddressRange {
  readonly address: string;
  readonly length: number;
}

export interface ServiceAccountMatch {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** All given groups must hold; in a group any positive entry, and none of the `not` entries. */
export interface Match {
  readonly namespaces: readonly StringMatch[];
  readonly notNamespaces: readonly StringMatch[];
  readonly principals: readonly StringMatch[];
  readonly notPrincipals: readonly StringMatch[];
  readonly serviceAccounts: readonly ServiceAccountMatch[];
  readonly notServiceAccounts: readonly ServiceAccountMatch[];
  readonly sourceIps: readonly AddressRange[];
  readonly notSourceIps: readonly AddressRange[];
  readonly destinationIps: readonly AddressRange[];
  readonly notDestinationIps: readonly AddressRange[];
  readonly destinationPorts: readonly number[];
  readonly notDestinationPorts: readonly number[];
}

export interface Policy {
  readonly name: string;
  readonly namespace: string;
  readonly scope: 'Global' | 'Namespace' | 'WorkloadSelector';
  readonly action: 'Allow' | 'Deny';
  /** Any rule; in it all clauses; in a clause any match. */
  readonly rules: readonly (readonly (readonly Match[])[])[];
  /** Only logged, never enforced. */
  readonly dryRun: boolean;
}

export function policyKey(policy: Pick<Policy, 'namespace' | 'name'>): string {
  return `${policy.namespace}/${policy.name}`;
}
