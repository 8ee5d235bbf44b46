import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { decide, policyMatches, type RbacConnection } from './rbac.ts';
import { match, policy } from './state/builders.fixture.ts';
import type { Match, Policy } from './state/policy.ts';

const mtls: RbacConnection = {
  identity: 'spiffe://td/ns/demo/sa/sleep',
  sourceIp: '10.0.0.1',
  destinationIp: '10.0.1.1',
  destinationPort: 8080,
};
const plaintext: RbacConnection = { ...mtls, identity: undefined };

describe('matching', () => {
  const cases: Record<string, { match: Partial<Match>; mtls: boolean; plaintext: boolean }> = {
    'a principal': { match: { principals: [{ kind: 'Exact', value: 'td/ns/demo/sa/sleep' }] }, mtls: true, plaintext: false },
    'a principal with its scheme, which none has': {
      match: { principals: [{ kind: 'Exact', value: 'spiffe://td/ns/demo/sa/sleep' }] },
      mtls: false,
      plaintext: false,
    },
    'a prefix': { match: { principals: [{ kind: 'Prefix', value: 'td/ns/demo/' }] }, mtls: true, plaintext: false },
    'a suffix': { match: { principals: [{ kind: 'Suffix', value: '/sa/sleep' }] }, mtls: true, plaintext: false },
    'any principal': { match: { principals: [{ kind: 'Presence' }] }, mtls: true, plaintext: false },
    'no principal (STRICT)': { match: { notPrincipals: [{ kind: 'Presence' }] }, mtls: false, plaintext: true },
    'not this principal': { match: { notPrincipals: [{ kind: 'Exact', value: 'td/ns/demo/sa/sleep' }] }, mtls: false, plaintext: true },
    'a namespace': { match: { namespaces: [{ kind: 'Exact', value: 'demo' }] }, mtls: true, plaintext: false },
    'not a namespace': { match: { notNamespaces: [{ kind: 'Exact', value: 'demo' }] }, mtls: false, plaintext: true },
    'a service account': { match: { serviceAccounts: [{ namespace: 'demo', serviceAccount: 'sleep' }] }, mtls: true, plaintext: false },
    'a service account of another namespace': {
      match: { serviceAccounts: [{ namespace: 'prod', serviceAccount: 'sleep' }] },
      mtls: false,
      plaintext: false,
    },
    'a source': { match: { sourceIps: [{ address: '10.0.0.0', length: 24 }] }, mtls: true, plaintext: true },
    'another source': { match: { sourceIps: [{ address: '10.0.1.0', length: 24 }] }, mtls: false, plaintext: false },
    'a source of the other family': { match: { sourceIps: [{ address: '::', length: 0 }] }, mtls: false, plaintext: false },
    'not a source': { match: { notSourceIps: [{ address: '10.0.0.1', length: 32 }] }, mtls: false, plaintext: false },
    'a destination': { match: { destinationIps: [{ address: '10.0.1.1', length: 32 }] }, mtls: true, plaintext: true },
    'a port': { match: { destinationPorts: [80, 8080] }, mtls: true, plaintext: true },
    'not a port': { match: { notDestinationPorts: [8080] }, mtls: false, plaintext: false },
    'all groups together': {
      match: { destinationPorts: [8080], principals: [{ kind: 'Presence' }], sourceIps: [{ address: '10.0.0.1', length: 32 }] },
      mtls: true,
      plaintext: false,
    },
    'a list and its exception': {
      match: { namespaces: [{ kind: 'Prefix', value: 'de' }], notNamespaces: [{ kind: 'Exact', value: 'demo' }] },
      mtls: false,
      plaintext: false,
    },
    'a match that says nothing, which matches nothing': { match: {}, mtls: false, plaintext: false },
  };
  for (const [what, { match: given, ...expected }] of Object.entries(cases)) {
    test(what, () => {
      const rules = [[[match(given)]]];
      assert.deepEqual({ mtls: policyMatches({ rules }, mtls), plaintext: policyMatches({ rules }, plaintext) }, expected);
    });
  }

  const yes = match({ destinationPorts: [8080] });
  const no = match({ destinationPorts: [1] });
  const nesting: Record<string, { rules: Policy['rules']; expected: boolean }> = {
    'no rules: never': { rules: [], expected: false },
    'a rule without clauses: always': { rules: [[]], expected: true },
    'a clause without matches: always': { rules: [[[]]], expected: true },
    'any rule': { rules: [[[no]], [[yes]]], expected: true },
    'all clauses': { rules: [[[yes], [no]]], expected: false },
    'any match of a clause': { rules: [[[no, yes]]], expected: true },
  };
  for (const [what, { rules, expected }] of Object.entries(nesting)) {
    test(what, () => {
      assert.equal(policyMatches({ rules }, mtls), expected);
    });
  }
});

describe('deciding', () => {
  const all: Policy['rules'] = [[]];
  const never: Policy['rules'] = [];
  const allow = (rules: Policy['rules'], dryRun = false): Policy => policy({ name: 'allow', action: 'Allow', rules, dryRun });
  const deny = (rules: Policy['rules'], dryRun = false): Policy => policy({ name: 'deny', action: 'Deny', rules, dryRun });
  const cases: Record<string, { policies: Policy[]; reason?: string }> = {
    'no policies': { policies: [] },
    'a DENY that does not match': { policies: [deny(never)] },
    'a DENY that matches': { policies: [deny(all)], reason: 'explicitly denied by: demo/deny' },
    'DENY before ALLOW': { policies: [allow(all), deny(all)], reason: 'explicitly denied by: demo/deny' },
    'an ALLOW that matches': { policies: [allow(all)] },
    'an ALLOW that does not match': { policies: [allow(never)], reason: 'allow policies exist, but none allowed' },
    'one of two ALLOWs': { policies: [allow(never), allow(all)] },
    'a DENY in dry run': { policies: [deny(all, true)] },
    'an ALLOW in dry run does not close the door': { policies: [allow(never, true)] },
    'an ALLOW in dry run does not open it either': {
      policies: [allow(never), allow(all, true)],
      reason: 'allow policies exist, but none allowed',
    },
  };
  for (const [what, { policies, reason }] of Object.entries(cases)) {
    test(what, () => {
      const decision = decide(policies, mtls);
      assert.equal(decision.allowed, reason === undefined);
      assert.equal(decision.allowed ? undefined : decision.reason, reason);
    });
  }

  test('a dry run is told', () => {
    assert.deepEqual(decide([deny(all, true), allow(never, true)], mtls).dryRun, [{ action: 'Deny', policy: 'demo/deny' }]);
  });

  test('more DENY policies never let more through, more ALLOW policies never less once there is one', () => {
    const ports = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 });
    const some = fc.array(fc.record({ action: fc.constantFrom('Allow' as const, 'Deny' as const), ports }), { maxLength: 5 });
    const build = ({ action, ports: of }: { action: Policy['action']; ports: number[] }): Policy =>
      policy({ action, rules: [[[match({ destinationPorts: of })]]] });
    fc.assert(
      fc.property(some, ports, fc.integer({ min: 1, max: 4 }), (given, more, destinationPort) => {
        const connection = { ...mtls, destinationPort };
        const policies = given.map(build);
        const before = decide(policies, connection).allowed;
        if (!before) assert.equal(decide([...policies, build({ action: 'Deny', ports: more })], connection).allowed, false);
        if (before && policies.some(({ action }) => action === 'Allow')) {
          assert.equal(decide([...policies, build({ action: 'Allow', ports: more })], connection).allowed, true);
        }
      }),
    );
  });
});
