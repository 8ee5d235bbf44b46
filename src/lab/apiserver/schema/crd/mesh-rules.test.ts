import assert from 'node:assert/strict';
import { test } from 'node:test';

import { aggregateFieldErrors } from '../index.ts';
import type { Json } from '../json.ts';
import { admitted, kindOf } from '../testing/captured.ts';

/** What is wrong with an object of the mesh's kinds; empty when it is valid. */
function judge(apiVersion: string, kind: string, spec: Json): string {
  const found = kindOf({ apiVersion, kind });
  assert.ok(found !== undefined, kind);
  const errors = found.schema.validate(admitted(found, { apiVersion, kind, metadata: { name: 'x' }, spec }));
  return errors.length === 0 ? '' : aggregateFieldErrors(errors);
}

const workload = (spec: Json): string => judge('networking.istio.io/v1', 'WorkloadEntry', spec);
const service = (spec: Json): string => judge('networking.istio.io/v1', 'ServiceEntry', { hosts: ['a.b'], ...spec });
const authorization = (spec: Json): string => judge('security.istio.io/v1', 'AuthorizationPolicy', spec);
const peer = (spec: Json): string => judge('security.istio.io/v1', 'PeerAuthentication', spec);
const gateway = (spec: Json): string => judge('gateway.networking.k8s.io/v1', 'Gateway', { gatewayClassName: 'c', ...spec });
const route = (rule: Json, more: Json = {}): string => judge('gateway.networking.k8s.io/v1', 'HTTPRoute', { ...more, rules: [rule] });

const listener = { name: 'a', port: 80, protocol: 'HTTP' };
const backend = { name: 's', port: 80 };

const cases: readonly [string, string, string][] = [
  ['an absolute socket', workload({ address: 'unix:///run/x' }), ''],
  ['an abstract socket', workload({ address: 'unix://@x' }), ''],
  [
    'a relative socket',
    workload({ address: 'unix://run/x' }),
    'spec.address: Invalid value: "unix://run/x": UDS must be an absolute path or abstract socket',
  ],
  ['a folder for a socket', workload({ address: 'unix:///run/' }), 'spec.address: Invalid value: "unix:///run/": UDS may not be a dir'],
  ['a socket with ports', workload({ address: 'unix:///x', ports: { a: 1 } }), 'spec: Invalid value: UDS may not include ports'],
  ['a bad name of a port', workload({ address: '1.2.3.4', ports: { 'a-': 1 } }), 'spec.ports: Invalid value: port name must be valid'],
  ['a wildcard host', service({ hosts: ['*'] }), 'spec.hosts[0]: Invalid value: "*": hostname cannot be wildcard'],
  ['a range without resolution', service({ addresses: ['10.0.0.0/8'] }), ''],
  [
    'a range with DNS',
    service({ addresses: ['10.0.0.0/8'], resolution: 'DNS' }),
    'spec: Invalid value: CIDR addresses are allowed only for NONE/STATIC resolution types',
  ],
  ['endpoints without resolution', service({ endpoints: [{ address: '1.1.1.1' }] }), 'spec: Invalid value: NONE mode cannot set endpoints'],
  [
    'round robin over two',
    service({ resolution: 'DNS_ROUND_ROBIN', endpoints: [{ address: 'a.b' }, { address: 'c.d' }] }),
    'spec: Invalid value: DNS_ROUND_ROBIN mode cannot have multiple endpoints',
  ],
  ['an endpoint with a network only', service({ resolution: 'STATIC', endpoints: [{ network: 'n' }] }), ''],
  [
    'one port twice',
    service({
      ports: [
        { name: 'a', number: 1 },
        { name: 'b', number: 1 },
      ],
    }),
    'spec.ports: Invalid value: port number cannot be duplicated',
  ],
  [
    'one name of a port twice',
    service({
      ports: [
        { name: 'a', number: 1 },
        { name: 'a', number: 2 },
      ],
    }),
    'spec.ports[1]: Duplicate value: {"name":"a"}',
  ],
  [
    'a selector and a target',
    authorization({ selector: { matchLabels: { a: 'b' } }, targetRefs: [{ kind: 'Service', name: 's' }] }),
    'spec: Invalid value: only one of targetRefs or selector can be set',
  ],
  [
    'a target of another namespace',
    authorization({ targetRefs: [{ kind: 'Service', name: 's', namespace: 'n' }] }),
    'spec.targetRefs[0].namespace: Invalid value: "n": cross namespace referencing is not currently supported',
  ],
  [
    'accounts and principals',
    authorization({ rules: [{ from: [{ source: { serviceAccounts: ['a'], principals: ['b'] } }] }] }),
    'spec.rules[0].from[0].source: Invalid value: Cannot set serviceAccounts with namespaces or principals',
  ],
  ['ports without a selector', peer({ portLevelMtls: { 80: { mode: 'STRICT' } } }), 'spec: Invalid value: portLevelMtls requires selector'],
  [
    'a port beyond the last',
    peer({ selector: { matchLabels: { a: 'b' } }, portLevelMtls: { 70000: { mode: 'STRICT' } } }),
    'spec.portLevelMtls: Invalid value: port must be between 1-65535',
  ],
  [
    'an unknown mode',
    peer({ mtls: { mode: 'SOFT' } }),
    '[spec.mtls.mode: Unsupported value: "SOFT": supported values: "UNSET", "DISABLE", "PERMISSIVE", "STRICT", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]',
  ],
  [
    'TLS on plain HTTP',
    gateway({ listeners: [{ ...listener, tls: { mode: 'Passthrough' } }] }),
    "spec.listeners: Invalid value: tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
  ],
  ['the mesh’s own protocol', gateway({ listeners: [{ name: 'h', port: 15008, protocol: 'HBONE', tls: { mode: 'Passthrough' } }] }), ''],
  [
    'two listeners on one port',
    gateway({ listeners: [listener, { ...listener, name: 'b' }] }),
    'spec.listeners: Invalid value: Combination of port, protocol and hostname must be unique for each listener',
  ],
  [
    'two listeners for two hosts',
    gateway({
      listeners: [
        { ...listener, hostname: 'a.b' },
        { ...listener, name: 'b', hostname: 'c.d' },
      ],
    }),
    '',
  ],
  [
    'a certificate that is missing',
    gateway({ listeners: [{ name: 's', port: 443, protocol: 'HTTPS', tls: {} }] }),
    'spec.listeners[0].tls: Invalid value: certificateRefs or options must be specified when mode is Terminate',
  ],
  ['a host name as an address', gateway({ addresses: [{ type: 'Hostname', value: 'a.example.com' }], listeners: [listener] }), ''],
  [
    'an address twice',
    gateway({ addresses: [{ value: '1.1.1.1' }, { value: '1.1.1.1' }], listeners: [listener] }),
    'spec.addresses: Invalid value: IPAddress values must be unique',
  ],
  ['a backend', route({ backendRefs: [backend] }), ''],
  [
    'a service without its port',
    route({ backendRefs: [{ name: 's' }] }),
    'spec.rules[0].backendRefs[0]: Invalid value: Must have port for Service reference',
  ],
  [
    'a path that climbs',
    route({ matches: [{ path: { value: '/a/../b' } }] }),
    "spec.rules[0].matches[0].path: Invalid value: must not contain '/../' when type one of ['Exact', 'PathPrefix']",
  ],
  [
    'a filter with the wrong field',
    route({ filters: [{ type: 'URLRewrite', requestMirror: { backendRef: backend } }] }),
    '[spec.rules[0].filters[0]: Invalid value: filter.requestMirror must be nil if the filter.type is not RequestMirror, spec.rules[0].filters[0]: Invalid value: filter.urlRewrite must be specified for URLRewrite filter.type]',
  ],
  [
    'a redirect with backends',
    route({ backendRefs: [backend], filters: [{ type: 'RequestRedirect', requestRedirect: { statusCode: 301 } }] }),
    'spec.rules[0]: Invalid value: RequestRedirect filter must not be used together with backendRefs',
  ],
  [
    'a backend that may take longer than the request',
    route({ backendRefs: [backend], timeouts: { request: '1s', backendRequest: '2s' } }),
    'spec.rules[0].timeouts: Invalid value: backendRequest timeout cannot be longer than request timeout',
  ],
  [
    'two parents of one name',
    route({}, { parentRefs: [{ name: 'g' }, { name: 'g', sectionName: 's' }] }),
    'spec.parentRefs: Invalid value: sectionName must be specified when parentRefs includes 2 or more references to the same parent',
  ],
  [
    'one parent twice',
    route({}, { parentRefs: [{ name: 'g' }, { name: 'g' }] }),
    'spec.parentRefs: Invalid value: sectionName must be unique when parentRefs includes 2 or more references to the same parent',
  ],
];

for (const [what, found, expected] of cases) {
  test(`${expected === '' ? 'allows' : 'refuses'} ${what}`, () => assert.equal(found, expected));
}
