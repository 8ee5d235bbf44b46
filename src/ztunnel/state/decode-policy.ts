import {
  Action,
  Scope,
  type Address as WireAddress,
  type Authorization,
  type Match as WireMatch,
  type StringMatch as WireStringMatch,
} from '../../api/gen/istio/authorization_pb.js';
import { IsthmusError } from '../../core/index.ts';
import { addressFromBytes } from './address.ts';
import type { AddressRange, Match, Policy, StringMatch } from './policy.ts';

/**
 * A policy as istiod sends it. An entry that cannot be understood (an address of odd length, a string match without a
 * kind) rejects the whole policy with ZTUNNEL_RESOURCE_REJECTED. Upstream drops such an entry, which may leave its list
 * empty and so make the policy match everything.
 */
export function decodePolicy(wire: Authorization): Policy {
  return {
    name: wire.name,
    namespace: wire.namespace,
    scope: scopeOf(wire.scope),
    action: actionOf(wire.action),
    rules: wire.rules.map(({ clauses }) => clauses.map(({ matches }) => matches.map(decodeMatch))),
    dryRun: wire.dryRun,
  };
}

function decodeMatch(wire: WireMatch): Match {
  return {
    namespaces: wire.namespaces.map(decodeString),
    notNamespaces: wire.notNamespaces.map(decodeString),
    principals: wire.principals.map(decodeString),
    notPrincipals: wire.notPrincipals.map(decodeString),
    serviceAccounts: wire.serviceAccounts.map(({ namespace, serviceAccount }) => ({ namespace, serviceAccount })),
    notServiceAccounts: wire.notServiceAccounts.map(({ namespace, serviceAccount }) => ({ namespace, serviceAccount })),
    sourceIps: wire.sourceIps.map(decodeRange),
    notSourceIps: wire.notSourceIps.map(decodeRange),
    destinationIps: wire.destinationIps.map(decodeRange),
    notDestinationIps: wire.notDestinationIps.map(decodeRange),
    destinationPorts: wire.destinationPorts,
    notDestinationPorts: wire.notDestinationPorts,
  };
}

function decodeString(wire: WireStringMatch): StringMatch {
  const { matchType } = wire;
  switch (matchType.case) {
    case 'exact':
      return { kind: 'Exact', value: matchType.value };
    case 'prefix':
      return { kind: 'Prefix', value: matchType.value };
    case 'suffix':
      return { kind: 'Suffix', value: matchType.value };
    case 'presence':
      return { kind: 'Presence' };
    case undefined:
      throw rejected('string match without a kind');
  }
}

function decodeRange(wire: WireAddress): AddressRange {
  const address = addressFromBytes(wire.address);
  if (address === undefined) throw rejected(`address of ${wire.address.length} bytes`);
  if (wire.length > wire.address.length * 8) throw rejected(`prefix length ${wire.length} for ${address}`);
  return { address, length: wire.length };
}

function scopeOf(scope: Scope): Policy['scope'] {
  switch (scope) {
    case Scope.GLOBAL:
      return 'Global';
    case Scope.NAMESPACE:
      return 'Namespace';
    case Scope.WORKLOAD_SELECTOR:
      return 'WorkloadSelector';
    default:
      throw rejected(`unknown scope ${String(scope)}`);
  }
}

function actionOf(action: Action): Policy['action'] {
  switch (action) {
    case Action.ALLOW:
      return 'Allow';
    case Action.DENY:
      return 'Deny';
    default:
      throw rejected(`unknown action ${String(action)}`);
  }
}

function rejected(what: string): IsthmusError {
  return new IsthmusError('ZTUNNEL_RESOURCE_REJECTED', what);
}
