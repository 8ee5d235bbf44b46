import { create } from '@bufbuild/protobuf';

import {
  Action,
  AuthorizationSchema,
  ClauseSchema,
  MatchSchema,
  RuleSchema,
  Scope,
  StringMatchSchema,
  type Authorization,
  type Match,
} from '../api/gen/istio/authorization_pb.js';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PeerAuthentication } from '../api/kubernetes.ts';
import { matches } from './selectors.ts';

/** The policy that denies whoever has no identity, for workloads that are STRICT on all ports. */
export const staticStrictName = 'istio_converted_static_strict';

type Mode = 'STRICT' | 'PERMISSIVE' | 'DISABLE';

/** What PeerAuthentications ask of the workloads they concern. */
export interface MutualTls {
  /** Of the workload as a whole. */
  readonly mode: Mode;
  /** Ports with another mode, when there is a PeerAuthentication for them: the policy that says so. */
  readonly ports:
    { readonly policy: PeerAuthentication; readonly exempt: readonly number[]; readonly strict: readonly number[] } | undefined;
}

/**
 * The mutual TLS of a workload: its own PeerAuthentication, else its namespace's, else the mesh's, else PERMISSIVE; at
 * each level the oldest counts, and UNSET means the level above. `own` and `mesh` are those of the workload's and of the
 * root namespace.
 */
export function mutualTls(options: {
  readonly own: readonly PeerAuthentication[];
  readonly mesh: readonly PeerAuthentication[];
  readonly isRoot: boolean;
  readonly labels: Readonly<Record<string, string>>;
}): MutualTls {
  const { own, mesh, isRoot, labels } = options;
  const parent = namespaceMode(isRoot ? [] : own) ?? namespaceMode(mesh) ?? 'PERMISSIVE';
  const policy = isRoot ? undefined : oldest(own.filter((one) => selectorOf(one) !== undefined && matches(selectorOf(one) ?? {}, labels)));
  if (policy === undefined) return { mode: parent, ports: undefined };
  return withPorts(policy, parent);
}

/** The mode and the ports of one PeerAuthentication with a selector, below `parent`. */
function withPorts(policy: PeerAuthentication, parent: Mode): MutualTls {
  const own = modeOf(policy.spec?.mtls?.mode);
  const mode = own ?? parent;
  const ports = Object.entries(policy.spec?.portLevelMtls ?? {});
  const withMode = (...modes: Mode[]): number[] =>
    ports.flatMap(([port, level]) => (modes.some((one) => one === level.mode) ? [Number(port)] : [])).sort((a, b) => a - b);
  // As upstream: below an inherited STRICT, a port is only let off by saying PERMISSIVE.
  const exempt = mode !== 'STRICT' ? [] : own === undefined ? withMode('PERMISSIVE') : withMode('PERMISSIVE', 'DISABLE');
  const strict = mode === 'STRICT' ? [] : withMode('STRICT');
  return { mode, ports: exempt.length + strict.length === 0 ? undefined : { policy, exempt, strict } };
}

/** Name of the policy made from a PeerAuthentication with modes by port. */
export function convertedName({ metadata }: PeerAuthentication): string {
  return `converted_peer_authentication_${metadata.name}`;
}

/** Keys (`<namespace>/<name>`) of the policies that hold a workload to its mutual TLS. */
export function mutualTlsPolicies({ mode, ports }: MutualTls, rootNamespace: string): string[] {
  if (ports !== undefined) return [`${ports.policy.metadata.namespace ?? ''}/${convertedName(ports.policy)}`];
  return mode === 'STRICT' ? [`${rootNamespace}/${staticStrictName}`] : [];
}

export function staticStrict(rootNamespace: string): Authorization {
  return denial(staticStrictName, rootNamespace, [[{ notPrincipals: [anyone()] }]]);
}

/**
 * The policy for the ports of one PeerAuthentication that differ; undefined when none does. `own` and `mesh` are the
 * PeerAuthentications of its and of the root namespace.
 */
export function convertPeerAuthentication(
  policy: PeerAuthentication,
  context: { readonly own: readonly PeerAuthentication[]; readonly mesh: readonly PeerAuthentication[]; readonly rootNamespace: string },
): Authorization | undefined {
  const { namespace = '' } = policy.metadata;
  if (namespace === context.rootNamespace || selectorOf(policy) === undefined) return undefined;
  const { ports } = withPorts(policy, namespaceMode(context.own) ?? namespaceMode(context.mesh) ?? 'PERMISSIVE');
  if (ports === undefined) return undefined;
  const name = convertedName(policy);
  if (ports.exempt.length > 0) {
    const exempt = ports.exempt.map((port) => ({ notDestinationPorts: [port] }));
    return denial(name, namespace, [[{ notPrincipals: [anyone()] }, ...exempt]]);
  }
  return denial(
    name,
    namespace,
    ports.strict.map((port) => [{ notPrincipals: [anyone()], destinationPorts: [port] }]),
  );
}

/** Denies what meets all matches of any one rule. */
function denial(name: string, namespace: string, rules: readonly (readonly MessageInitShape<typeof MatchSchema>[])[]): Authorization {
  return create(AuthorizationSchema, {
    name,
    namespace,
    scope: Scope.WORKLOAD_SELECTOR,
    action: Action.DENY,
    rules: rules.map((clauses) =>
      create(RuleSchema, { clauses: clauses.map((match) => create(ClauseSchema, { matches: [create(MatchSchema, match)] })) }),
    ),
  });
}

function anyone(): Match['principals'][number] {
  return create(StringMatchSchema, { matchType: { case: 'presence', value: {} } });
}

function namespaceMode(policies: readonly PeerAuthentication[]): Mode | undefined {
  return modeOf(oldest(policies.filter((policy) => selectorOf(policy) === undefined))?.spec?.mtls?.mode);
}

function modeOf(mode: string | undefined): Mode | undefined {
  if (mode === undefined || mode === 'UNSET') return undefined;
  // A mode that is not understood is the strict one.
  return mode === 'PERMISSIVE' || mode === 'DISABLE' ? mode : 'STRICT';
}

function selectorOf({ spec }: PeerAuthentication): Readonly<Record<string, string>> | undefined {
  const labels = spec?.selector?.matchLabels ?? {};
  return Object.keys(labels).length === 0 ? undefined : labels;
}

/** The first of equals. */
function oldest(policies: readonly PeerAuthentication[]): PeerAuthentication | undefined {
  return policies.reduce<PeerAuthentication | undefined>(
    (best, policy) =>
      best === undefined || (policy.metadata.creationTimestamp ?? '') < (best.metadata.creationTimestamp ?? '') ? policy : best,
    undefined,
  );
}
