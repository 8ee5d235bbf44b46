import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { AnyObject } from '../../../../api/kubernetes.ts';
import { aggregateFieldErrors, schemaFor } from '../index.ts';
import { isObject, type Json } from '../json.ts';
import { admitted, captured, causesOf, inOrder, kindOf, lastStates } from '../testing/captured.ts';

/** Errors that another part of the server finds: parameters of the call, and Go's dump of a pod's internal form. */
const foundElsewhere = new Set(['cm-dry-bad', 'ssa-nomanager', 'pod-immutable', 'w-match-bad']);

/** A merge patch, as the recorded updates use it. */
function patched(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const before = isObject(target) ? target : {};
  const after = Object.entries({ ...before, ...patch }).filter(([, value]) => value !== null);
  return Object.fromEntries(after.map(([key, value]) => [key, key in patch ? patched(before[key], value) : value]));
}

for (const call of captured) {
  const { id, method, status, answer, body, path } = call;
  if (status !== 422 || !isObject(body) || foundElsewhere.has(id)) continue;
  const old = method === 'POST' ? undefined : lastStates(call).get(path);
  const object = method === 'POST' ? body : patched(old, body);
  const kind = isObject(object) ? kindOf(object) : undefined;
  if (kind === undefined) continue;
  test(`finds wrong in ${id} what a server does`, () => {
    const errors = kind.schema.validate(admitted(kind, object), old as AnyObject | undefined);
    assert.deepEqual(inOrder(errors), causesOf(answer));
    if (errors.length === 1) assert.ok(String(answer['message']).endsWith(` is invalid: ${aggregateFieldErrors(errors)}`));
  });
}

test('accepts what a server accepted', () => {
  let count = 0;
  for (const { id, method, status, body, answer } of captured) {
    if (method !== 'POST' || status !== 201 || !isObject(body)) continue;
    const kind = kindOf(body);
    if (kind?.resource.storageVersionHash === undefined) continue;
    count++;
    const object = admitted(kind, body);
    object.metadata.name = String((answer['metadata'] as Json)['name']);
    assert.deepEqual(kind.schema.validate(object), [], id);
  }
  assert.ok(count > 25, `${count} objects were judged`);
});

const errorsOf = (apiVersion: string, kind: string, object: Json): string => {
  const found = kindOf({ apiVersion, kind });
  assert.ok(found !== undefined);
  return aggregateFieldErrors(found.schema.validate(admitted(found, { metadata: { name: 'x' }, ...object })));
};

const pod = (spec: Json): string => errorsOf('v1', 'Pod', { spec });
const container = { name: 'c', image: 'i' };

const cases: readonly [string, () => string, string][] = [
  [
    'a name that is too long',
    () => errorsOf('v1', 'ConfigMap', { metadata: { name: 'a'.repeat(254) } }),
    'metadata.name: Invalid value: "' + 'a'.repeat(254) + '": must be no more than 253 characters',
  ],
  [
    'a service name that starts with a digit',
    () => errorsOf('v1', 'Service', { metadata: { name: '1a' }, spec: { ports: [{ port: 1 }] } }),
    "metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
  ],
  ['a container without an image', () => pod({ containers: [{ name: 'c' }] }), 'spec.containers[0].image: Required value'],
  ['two containers of one name', () => pod({ containers: [container, container] }), 'spec.containers[1].name: Duplicate value: "c"'],
  [
    'a mount without its volume',
    () => pod({ containers: [{ ...container, volumeMounts: [{ name: 'v', mountPath: '/v' }] }] }),
    'spec.containers[0].volumeMounts[0].name: Not found: "v"',
  ],
  [
    'a probe that does nothing',
    () => pod({ containers: [{ ...container, readinessProbe: {} }] }),
    'spec.containers[0].readinessProbe: Required value: must specify a handler type',
  ],
  [
    'a request above its limit',
    () => pod({ containers: [{ ...container, resources: { limits: { cpu: '1' }, requests: { cpu: '1500m' } } }] }),
    'spec.containers[0].resources.requests: Invalid value: "1500m": must be less than or equal to cpu limit of 1',
  ],
  [
    'an unknown restart policy',
    () => pod({ containers: [container], restartPolicy: 'Sometimes' }),
    'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
  ],
  [
    'a port that is the same twice',
    () =>
      errorsOf('v1', 'Service', {
        spec: {
          ports: [
            { name: 'a', port: 1 },
            { name: 'b', port: 1 },
          ],
        },
      }),
    'spec.ports[1]: Duplicate value: {"port":1,"protocol":"TCP"}',
  ],
  [
    'an address of another family',
    () => errorsOf('discovery.k8s.io/v1', 'EndpointSlice', { addressType: 'IPv6', endpoints: [{ addresses: ['10.0.0.1'] }] }),
    'endpoints[0].addresses[0]: Invalid value: "10.0.0.1": must be an IPv6 address',
  ],
  [
    'a TLS secret without its key',
    () => errorsOf('v1', 'Secret', { type: 'kubernetes.io/tls', data: { 'tls.crt': '' } }),
    'data[tls.key]: Required value',
  ],
  [
    'a rule without verbs',
    () => errorsOf('rbac.authorization.k8s.io/v1', 'Role', { rules: [{ apiGroups: [''], resources: ['pods'], verbs: [] }] }),
    'rules[0].verbs: Required value: verbs must contain at least one value',
  ],
  [
    'a finalizer without a domain',
    () => errorsOf('v1', 'ConfigMap', { metadata: { name: 'x', finalizers: ['hold'] } }),
    'metadata.finalizers: Invalid value: "hold": name is neither a standard finalizer name nor is it fully qualified',
  ],
  [
    'a namespace on a kind that has none',
    () => errorsOf('v1', 'Node', { metadata: { name: 'x', namespace: 'y' } }),
    'metadata.namespace: Forbidden: not allowed on this type',
  ],
];

for (const [what, judge, expected] of cases) {
  test(`refuses ${what}`, () => assert.equal(judge(), expected));
}

test('lets a pod change its images and nothing else', () => {
  const pods = schemaFor({ group: '', version: 'v1', kind: 'Pod' });
  const make = (spec: Json): AnyObject =>
    pods.default(pods.prune({ metadata: { name: 'p', namespace: 'n', resourceVersion: '1' }, spec }, { mode: 'drop' }).object);
  const old = make({ containers: [container] });
  assert.deepEqual(pods.validate(make({ containers: [{ ...container, image: 'j' }] }), old), []);
  const [error] = pods.validate(make({ containers: [{ ...container, command: ['x'] }] }), old);
  assert.match(error?.message ?? '', /^Forbidden: pod updates may not change fields other than `spec\.containers\[\*\]\.image`/);
});
