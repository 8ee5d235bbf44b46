import { create } from '@bufbuild/protobuf';

import {
  Action,
  AddressSchema,
  AuthorizationSchema,
  ClauseSchema,
  MatchSchema,
  RuleSchema,
  Scope,
  ServiceAccountMatchSchema,
  StringMatchSchema,
  type Address,
  type Authorization,
  type Clause,
  type Match,
  type Rule,
  type StringMatch,
} from '../api/gen/istio/authorization_pb.js';
import type { AuthorizationPolicy } from '../api/kubernetes.ts';
import { cidrBytes } from './addresses.ts';

/** What becomes of an AuthorizationPolicy at layer 4. */
export interface ConvertedPolicy {
  /** Undefined when ztunnel has nothing to enforce: the policy is a waypoint's, or only audits, or is a dry run. */
  readonly authorization: Authorization | undefined;
  /** Parts that a layer 4 proxy cannot judge, such as `to.operation.methods`; each made the policy stricter. */
  readonly unsupported: readonly string[];
}

type PolicySpec = NonNullable<AuthorizationPolicy['spec']>;
type PolicyRule = NonNullable<PolicySpec['rules']>[number];

/**
 * An AuthorizationPolicy as ztunnel enforces it.
 *
 * It fails closed. Where a rule asks for what layer 4 does not show (HTTP, JWTs), or has a value that is not understood:
 * an ALLOW rule is left out, so that it allows nothing; in a DENY rule that part is left out, so that it denies more. An
 * action that is not understood (CUSTOM) denies. (Upstream leaves a DENY rule that is all HTTP without effect, and ignores
 * values that it cannot parse and CUSTOM policies.)
 */
export function convertAuthorizationPolicy(policy: AuthorizationPolicy, rootNamespace: string): ConvertedPolicy {
  const { metadata, spec = {} } = policy;
  const nothing = { authorization: undefined, unsupported: [] };
  if (spec.targetRef !== undefined || (spec.targetRefs ?? []).length > 0) return nothing;
  if (spec.action === 'AUDIT' || metadata.annotations?.['istio.io/dry-run'] === 'true') return nothing;
  const namespace = metadata.namespace ?? '';
  const unsupported: string[] = [];
  const action = (spec.action ?? 'ALLOW') === 'ALLOW' ? Action.ALLOW : Action.DENY;
  if (action === Action.DENY && spec.action !== 'DENY') unsupported.push(`action: ${String(spec.action)}`);
  const rules = (spec.rules ?? []).flatMap((rule) => convertRule(rule, action, namespace, unsupported) ?? []);
  const denies = action === Action.DENY && spec.action !== 'DENY' && rules.length === 0;
  return {
    authorization: create(AuthorizationSchema, {
      name: metadata.name,
      namespace,
      scope: scopeOf(policy, rootNamespace),
      action,
      rules: denies ? [create(RuleSchema)] : rules,
    }),
    unsupported,
  };
}

/** The labels that a policy selects, undefined for one that selects its whole namespace. */
export function policySelector({ spec }: AuthorizationPolicy): Readonly<Record<string, string>> | undefined {
  const labels = spec?.selector?.matchLabels ?? {};
  return Object.keys(labels).length === 0 ? undefined : labels;
}

function scopeOf(policy: AuthorizationPolicy, rootNamespace: string): Scope {
  if (policySelector(policy) !== undefined) return Scope.WORKLOAD_SELECTOR;
  return policy.metadata.namespace === rootNamespace ? Scope.GLOBAL : Scope.NAMESPACE;
}

/** Undefined: the rule is left out. A rule without clauses matches everything. */
function convertRule(rule: PolicyRule, action: Action, namespace: string, unsupported: string[]): Rule | undefined {
  const before = unsupported.length;
  const to = (rule.to ?? []).map(({ operation }) =>
    convertFields(operation ?? {}, operationFields, namespace, 'to.operation', unsupported),
  );
  const from = (rule.from ?? []).map(({ source }) => convertFields(source ?? {}, sourceFields, namespace, 'from.source', unsupported));
  const when = (rule.when ?? []).map((condition) => [convertCondition(condition, namespace, unsupported)]);
  const clauses = [to, from, ...when].filter((matches) => matches.length > 0);
  if (action === Action.DENY) {
    // A match that lost all of its fields asks for nothing: whatever else its clause asks for, it is met.
    return create(RuleSchema, { clauses: clauses.filter((matches) => !matches.some(isEmpty)).map(clauseOf) });
  }
  const allowed = clauses.map((matches) => matches.filter((match) => !isEmpty(match)));
  if (unsupported.length > before || allowed.some((matches) => matches.length === 0)) return undefined;
  return create(RuleSchema, { clauses: allowed.map(clauseOf) });
}

function clauseOf(matches: Match[]): Clause {
  return create(ClauseSchema, { matches });
}

function isEmpty(match: Match): boolean {
  return Object.values(match).every((field) => !Array.isArray(field) || field.length === 0);
}

/** Puts values of one field of a policy into a match; false when one of them is not understood. */
type Field = (match: Match, values: readonly string[], namespace: string) => boolean;

const sourceFields: Readonly<Record<string, Field>> = {
  ipBlocks: (match, values) => put(match.sourceIps, values.map(addressOf)),
  notIpBlocks: (match, values) => put(match.notSourceIps, values.map(addressOf)),
  namespaces: (match, values) => put(match.namespaces, values.map(stringMatch)),
  notNamespaces: (match, values) => put(match.notNamespaces, values.map(stringMatch)),
  principals: (match, values) => put(match.principals, values.map(principalMatch)),
  notPrincipals: (match, values) => put(match.notPrincipals, values.map(principalMatch)),
  serviceAccounts: (match, values, namespace) =>
    put(
      match.serviceAccounts,
      values.map((value) => serviceAccountMatch(value, namespace)),
    ),
  notServiceAccounts: (match, values, namespace) =>
    put(
      match.notServiceAccounts,
      values.map((value) => serviceAccountMatch(value, namespace)),
    ),
};

const operationFields: Readonly<Record<string, Field>> = {
  ports: (match, values) => put(match.destinationPorts, values.map(portOf)),
  notPorts: (match, values) => put(match.notDestinationPorts, values.map(portOf)),
};

/** Keys of `when` to the fields for `values` and `notValues`. */
const conditionFields: Readonly<Record<string, readonly [Field, Field]>> = {
  'source.ip': [
    (match, values) => put(match.sourceIps, values.map(addressOf)),
    (match, values) => put(match.notSourceIps, values.map(addressOf)),
  ],
  'source.namespace': [
    (match, values) => put(match.namespaces, values.map(stringMatch)),
    (match, values) => put(match.notNamespaces, values.map(stringMatch)),
  ],
  'source.principal': [
    (match, values) => put(match.principals, values.map(principalMatch)),
    (match, values) => put(match.notPrincipals, values.map(principalMatch)),
  ],
  'destination.ip': [
    (match, values) => put(match.destinationIps, values.map(addressOf)),
    (match, values) => put(match.notDestinationIps, values.map(addressOf)),
  ],
  'destination.port': [
    (match, values) => put(match.destinationPorts, values.map(portOf)),
    (match, values) => put(match.notDestinationPorts, values.map(portOf)),
  ],
};

function convertFields(
  object: object,
  fields: Readonly<Record<string, Field>>,
  namespace: string,
  at: string,
  unsupported: string[],
): Match {
  const match = create(MatchSchema);
  for (const [name, values] of Object.entries(object) as [string, readonly string[] | undefined][]) {
    if (values === undefined || values.length === 0) continue;
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (field?.(match, values, namespace) !== true) unsupported.push(`${at}.${name}`);
  }
  return match;
}

function convertCondition(condition: NonNullable<PolicyRule['when']>[number], namespace: string, unsupported: string[]): Match {
  const { key, values = [], notValues = [] } = condition;
  const fields = Object.hasOwn(conditionFields, key) ? conditionFields[key] : undefined;
  const match = create(MatchSchema);
  const understood =
    fields !== undefined &&
    (values.length === 0 || fields[0](match, values, namespace)) &&
    (notValues.length === 0 || fields[1](match, notValues, namespace));
  if (understood) return match;
  unsupported.push(`when ${key}`);
  return create(MatchSchema);
}

function put<T>(field: T[], values: readonly (T | undefined)[]): boolean {
  if (values.includes(undefined)) return false;
  field.push(...values.filter((value) => value !== undefined));
  return true;
}

function stringMatch(value: string): StringMatch {
  if (value === '*') return create(StringMatchSchema, { matchType: { case: 'presence', value: {} } });
  if (value.startsWith('*')) return create(StringMatchSchema, { matchType: { case: 'suffix', value: value.slice(1) } });
  if (value.endsWith('*')) return create(StringMatchSchema, { matchType: { case: 'prefix', value: value.slice(0, -1) } });
  return create(StringMatchSchema, { matchType: { case: 'exact', value } });
}

function principalMatch(value: string): StringMatch {
  return stringMatch(value.startsWith('spiffe://') ? value.slice('spiffe://'.length) : value);
}

function serviceAccountMatch(value: string, policyNamespace: string) {
  const at = value.indexOf('/');
  const [namespace, serviceAccount] = at < 0 ? [policyNamespace, value] : [value.slice(0, at), value.slice(at + 1)];
  return create(ServiceAccountMatchSchema, { namespace, serviceAccount });
}

function addressOf(value: string): Address | undefined {
  const parsed = cidrBytes(value);
  return parsed === undefined ? undefined : create(AddressSchema, parsed);
}

function portOf(value: string): number | undefined {
  return /^\d{1,5}$/.test(value) && Number(value) <= 65535 ? Number(value) : undefined;
}
