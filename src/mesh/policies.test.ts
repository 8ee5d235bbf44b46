import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { toJson } from '@bufbuild/protobuf';

import { AuthorizationSchema } from '../api/gen/istio/authorization_pb.js';
import type { AuthorizationPolicy } from '../api/kubernetes.ts';
import { convertAuthorizationPolicy } from './authorization-policy.ts';
import { testMesh, type TestObject } from './testing.ts';

function convert(spec: object, metadata: object = {}): { json: Record<string, unknown> | undefined; unsupported: readonly string[] } {
  const policy: AuthorizationPolicy = {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace: 'demo', ...metadata },
    spec,
  };
  const { authorization, unsupported } = convertAuthorizationPolicy(policy, 'istio-system');
  return { json: authorization && (toJson(AuthorizationSchema, authorization) as Record<string, unknown>), unsupported };
}

const clauses = (...matches: readonly object[][]) => ({ clauses: matches.map((one) => ({ matches: one })) });
const http = { operation: { methods: ['GET'] } };
const port80 = { operation: { ports: ['80'] } };
const fromX = { source: { namespaces: ['x'] } };

describe('an AuthorizationPolicy', () => {
  it('becomes groups of rules, in upstream order: to, from, when', () => {
    const { json, unsupported } = convert({
      action: 'DENY',
      rules: [
        {
          from: [
            { source: { principals: ['*'], notPrincipals: ['spiffe://td/ns/a/sa/b'] } },
            { source: { serviceAccounts: ['sa', 'other/sa'] } },
          ],
          to: [{ operation: { ports: ['80', '443'], notPorts: ['81'] } }],
          when: [{ key: 'source.ip', values: ['10.0.0.0/8'], notValues: ['10.1.2.3'] }],
        },
        {},
      ],
    });
    assert.deepEqual(unsupported, []);
    assert.deepEqual(json?.['rules'], [
      clauses(
        [{ destinationPorts: [80, 443], notDestinationPorts: [81] }],
        [
          { principals: [{ presence: {} }], notPrincipals: [{ exact: 'td/ns/a/sa/b' }] },
          {
            serviceAccounts: [
              { namespace: 'demo', serviceAccount: 'sa' },
              { namespace: 'other', serviceAccount: 'sa' },
            ],
          },
        ],
        [{ sourceIps: [{ address: 'CgAAAA==', length: 8 }], notSourceIps: [{ address: 'CgECAw==', length: 32 }] }],
      ),
      {},
    ]);
  });

  it('has the scope of its selector and namespace', () => {
    const scope = (spec: object, namespace?: string) =>
      convert(spec, namespace === undefined ? {} : { namespace }).json?.['scope'] ?? 'GLOBAL';
    assert.equal(scope({}), 'NAMESPACE');
    assert.equal(scope({ selector: { matchLabels: { a: 'b' } } }, 'istio-system'), 'WORKLOAD_SELECTOR');
    assert.equal(scope({}, 'istio-system'), 'GLOBAL');
  });

  it('that allows nothing says so', () => {
    assert.deepEqual(convert({}).json, { name: 'p', namespace: 'demo', scope: 'NAMESPACE' });
  });

  // What layer 4 cannot judge: an ALLOW rule goes, a DENY rule stays with what is left of it.
  const partly: readonly { what: string; rule: object; deny: object }[] = [
    { what: 'HTTP alone', rule: { to: [http] }, deny: {} },
    { what: 'HTTP beside a source', rule: { to: [http], from: [fromX] }, deny: clauses([{ namespaces: [{ exact: 'x' }] }]) },
    {
      what: 'HTTP and a port in one operation',
      rule: { to: [{ operation: { methods: ['GET'], ports: ['80'] } }] },
      deny: clauses([{ destinationPorts: [80] }]),
    },
    { what: 'HTTP in one of two operations', rule: { to: [port80, http] }, deny: {} },
    {
      what: 'a JWT',
      rule: { from: [{ source: { requestPrincipals: ['*'] } }], to: [port80] },
      deny: clauses([{ destinationPorts: [80] }]),
    },
    {
      what: 'an unknown condition',
      rule: { to: [port80], when: [{ key: 'request.headers[x]', values: ['a'] }] },
      deny: clauses([{ destinationPorts: [80] }]),
    },
    {
      what: 'a port that is none',
      rule: { to: [{ operation: { ports: ['http'] } }], from: [fromX] },
      deny: clauses([{ namespaces: [{ exact: 'x' }] }]),
    },
    {
      what: 'an excepted address that is none',
      rule: { from: [{ source: { namespaces: ['x'], notIpBlocks: ['no'] } }] },
      deny: clauses([{ namespaces: [{ exact: 'x' }] }]),
    },
    {
      what: 'a field of the future',
      rule: { from: [{ source: { namespaces: ['x'], zones: ['z'] } }] },
      deny: clauses([{ namespaces: [{ exact: 'x' }] }]),
    },
    { what: 'an unknown value in a condition', rule: { when: [{ key: 'source.ip', values: ['10.0.0.1', 'no'] }] }, deny: {} },
  ];
  for (const { what, rule, deny } of partly) {
    it(`with ${what} fails closed`, () => {
      const allow = convert({ action: 'ALLOW', rules: [rule] });
      assert.deepEqual(allow.json?.['rules'] ?? [], []);
      assert.equal(allow.unsupported.length, 1);
      const denied = convert({ action: 'DENY', rules: [rule] });
      assert.deepEqual(denied.json?.['rules'], [deny]);
      assert.equal(denied.unsupported.length, 1);
    });
  }

  it('with an action that is not understood denies', () => {
    const { json, unsupported } = convert({ action: 'CUSTOM', rules: [{ to: [port80] }] });
    assert.equal(json?.['action'], 'DENY');
    assert.deepEqual(json['rules'], [clauses([{ destinationPorts: [80] }])]);
    assert.deepEqual(unsupported, ['action: CUSTOM']);
    assert.deepEqual(convert({ action: 'CUSTOM' }).json?.['rules'], [{}]);
  });

  it('is not for ztunnel when it is a waypoint, an audit or a rehearsal', () => {
    assert.equal(convert({ action: 'AUDIT', rules: [{}] }).json, undefined);
    assert.equal(convert({ targetRefs: [{ kind: 'Gateway', name: 'w' }] }).json, undefined);
    assert.equal(convert({ action: 'DENY' }, { annotations: { 'istio.io/dry-run': 'true' } }).json, undefined);
  });
});

describe('PeerAuthentication', () => {
  const strict = 'istio-system/istio_converted_static_strict';
  const converted = 'demo/converted_peer_authentication_own';
  const own = (mode: string | undefined, ports: Record<string, string> = {}): TestObject =>
    peer('own', 'demo', { selector: { matchLabels: { app: 'web' } }, mtls: { mode }, portLevelMtls: portModes(ports) });
  const space = (mode: string): TestObject => peer('space', 'demo', { mtls: { mode } });
  const mesh = (mode: string): TestObject => peer('mesh', 'istio-system', { mtls: { mode } });
  const noPrincipal = { notPrincipals: [{ presence: {} }] };
  const exempt80 = [clauses([noPrincipal], [{ notDestinationPorts: [80] }])];
  const strict80 = [clauses([{ ...noPrincipal, destinationPorts: [80] }])];

  const cases: readonly { name: string; objects: readonly TestObject[]; policies: readonly string[]; rules?: readonly object[] }[] = [
    { name: 'is permissive without any', objects: [], policies: [] },
    { name: 'of the mesh', objects: [mesh('STRICT')], policies: [strict] },
    { name: 'of the namespace before that of the mesh', objects: [mesh('STRICT'), space('PERMISSIVE')], policies: [] },
    { name: 'UNSET in the namespace', objects: [mesh('STRICT'), space('UNSET')], policies: [strict] },
    { name: 'of the workload before both', objects: [mesh('STRICT'), space('STRICT'), own('DISABLE')], policies: [] },
    { name: 'of the workload, strict', objects: [space('PERMISSIVE'), own('STRICT')], policies: [strict] },
    { name: 'strict with a permissive port', objects: [own('STRICT', { 80: 'PERMISSIVE' })], policies: [converted], rules: exempt80 },
    { name: 'strict with a disabled port', objects: [own('STRICT', { 80: 'DISABLE' })], policies: [converted], rules: exempt80 },
    { name: 'strict with a strict port', objects: [own('STRICT', { 80: 'STRICT' })], policies: [strict] },
    {
      name: 'permissive with a strict port',
      objects: [own('PERMISSIVE', { 80: 'STRICT', 81: 'DISABLE' })],
      policies: [converted],
      rules: strict80,
    },
    {
      name: 'inherited strict with a permissive port',
      objects: [mesh('STRICT'), own(undefined, { 80: 'PERMISSIVE' })],
      policies: [converted],
      rules: exempt80,
    },
    { name: 'inherited strict with a disabled port', objects: [mesh('STRICT'), own('UNSET', { 80: 'DISABLE' })], policies: [strict] },
    {
      name: 'inherited permissive with a strict port',
      objects: [own(undefined, { 80: 'STRICT' })],
      policies: [converted],
      rules: strict80,
    },
    {
      name: 'with a selector in the root namespace says nothing',
      objects: [peer('root', 'istio-system', { selector: { matchLabels: { app: 'web' } }, mtls: { mode: 'STRICT' } })],
      policies: [],
    },
    {
      name: 'of the oldest, when there are two',
      objects: [
        peer('young', 'demo', { mtls: { mode: 'STRICT' } }, '2026-01-02T00:00:00Z'),
        peer('old', 'demo', { mtls: { mode: 'PERMISSIVE' } }, '2026-01-01T00:00:00Z'),
      ],
      policies: [],
    },
  ];
  for (const { name, objects, policies, rules } of cases) {
    it(name, () => {
      const { mesh: derived, apply } = testMesh();
      apply(...objects, {
        kind: 'Pod',
        metadata: { name: 'p', namespace: 'demo', labels: { app: 'web' } },
        status: { podIP: '10.10.0.2' },
      });
      assert.deepEqual(derived.workloads.get('cluster-1//Pod/demo/p')?.authorizationPolicies, policies);
      for (const policy of policies) assert.ok(derived.authorizations.get(policy), `${policy} is published`);
      assert.equal(derived.authorizations.get(strict) !== undefined, objects.length > 0, 'the static policy is there while any is');
      const authorization = derived.authorizations.get(converted);
      const json = authorization && (toJson(AuthorizationSchema, authorization) as Record<string, unknown>);
      assert.deepEqual(json?.['rules'], rules);
    });
  }

  function portModes(ports: Record<string, string>): object | undefined {
    const entries = Object.entries(ports).map(([port, mode]) => [port, { mode }] as const);
    return entries.length === 0 ? undefined : Object.fromEntries(entries);
  }

  function peer(name: string, namespace: string, spec: object, created = '2026-01-01T00:00:00Z'): TestObject {
    return { kind: 'PeerAuthentication', metadata: { name, namespace, creationTimestamp: created }, spec };
  }
});

describe('the policies of a workload', () => {
  it('are those that select it, of its own and of the root namespace, in order', () => {
    const { mesh, apply } = testMesh();
    const policy = (name: string, namespace: string, labels?: object): TestObject => ({
      kind: 'AuthorizationPolicy',
      metadata: { name, namespace },
      spec: labels === undefined ? {} : { selector: { matchLabels: labels } },
    });
    apply(
      policy('z', 'demo', { app: 'web' }),
      policy('a', 'istio-system', { app: 'web' }),
      policy('other', 'demo', { app: 'db' }),
      policy('elsewhere', 'other', { app: 'web' }),
      policy('whole', 'demo'),
      { kind: 'Pod', metadata: { name: 'p', namespace: 'demo', labels: { app: 'web' } }, status: { podIP: '10.10.0.2' } },
    );
    assert.deepEqual(mesh.workloads.get('cluster-1//Pod/demo/p')?.authorizationPolicies, ['demo/z', 'istio-system/a']);
    assert.equal(mesh.authorizations.size, 5);
  });
});
