import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { AnyObject } from '../../../../api/kubernetes.ts';
import { aggregateFieldErrors, crdSchema, crdToResourceInfo, schemaFor, validateCrd } from '../index.ts';
import { isObject, objectAt, objectsAt, type Json } from '../json.ts';
import { admitted, captured, capturedById, installedCrds, kindOf } from '../testing/captured.ts';
import { toLibraryDialect } from './cel-dialect.ts';
import { regularExpression } from './regular-expression.ts';

for (const { id, method, status, body, answer } of captured) {
  if (method !== 'POST' || status !== 201 || !isObject(body)) continue;
  const kind = kindOf(body);
  if (kind?.crd === undefined) continue;
  test(`reads and completes ${id} as a server does`, () => {
    const object = admitted(kind, body);
    assert.deepEqual(object['spec'], answer['spec']);
    assert.deepEqual(object['status'], answer['status']);
  });
}

test('names unknown fields as a server warns of them', () => {
  const { body } = capturedById('cr-create');
  assert.ok(isObject(body));
  const kind = kindOf(body);
  assert.ok(kind !== undefined);
  assert.deepEqual(kind.schema.prune(body, { mode: 'drop' }).unknownFields, ['spec.junk']);
  const kept = kind.schema.prune({ ...body, metadata: { name: 'a', nam: 'b' } }, { mode: 'keep' });
  assert.deepEqual(kept.unknownFields, ['spec.junk', 'metadata.nam']);
  assert.equal(objectAt(kept.object, 'spec')?.['junk'], 1);
});

/** A definition with one field in its spec, and a value for that field. */
function errorsUnder(schema: Json, value: unknown, old?: unknown): string[] {
  const openAPIV3Schema = { type: 'object', properties: { spec: { type: 'object', properties: { f: schema } } } };
  const crd = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'things.example.org' },
    spec: {
      group: 'example.org',
      scope: 'Cluster',
      names: { plural: 'things', kind: 'Thing' },
      versions: [{ name: 'v1', schema: { openAPIV3Schema } }],
    },
  } as AnyObject;
  const made = (f: unknown): AnyObject => ({
    apiVersion: 'example.org/v1',
    kind: 'Thing',
    metadata: { name: 't', resourceVersion: '1' },
    spec: { f },
  });
  const schemaOf = crdSchema(crd, 'v1');
  const errors = old === undefined ? schemaOf.validate(made(value)) : schemaOf.validate(made(value), made(old));
  return errors.map(({ field, message }) => `${field}: ${message}`);
}

const structure: readonly [Json, unknown, string][] = [
  [{ type: 'string', maxLength: 2 }, 'abc', 'spec.f: Too long: may not be more than 2 bytes'],
  [{ type: 'string', minLength: 2 }, 'a', 'spec.f: Invalid value: "a": spec.f in body should be at least 2 chars long'],
  [{ type: 'string', format: 'date-time' }, 'now', 'spec.f: Invalid value: "now": spec.f in body must be of type date-time: "now"'],
  [{ type: 'integer' }, 1.5, 'spec.f: Invalid value: "number": spec.f in body must be of type integer: "number"'],
  [{ type: 'number', exclusiveMinimum: true, minimum: 0 }, 0, 'spec.f: Invalid value: 0: spec.f in body should be greater than 0'],
  [
    { 'x-kubernetes-int-or-string': true },
    true,
    'spec.f: Invalid value: "boolean": spec.f in body must be of type integer,string: "boolean"',
  ],
  [{ type: 'string' }, null, 'spec.f: Invalid value: "null": spec.f in body must be of type string: "null"'],
  [
    { type: 'object', additionalProperties: { type: 'integer' } },
    { a: 'b' },
    'spec.f.a: Invalid value: "string": spec.f.a in body must be of type integer: "string"',
  ],
  [
    { type: 'object', maxProperties: 1, 'x-kubernetes-preserve-unknown-fields': true },
    { a: 1, b: 2 },
    'spec.f: Too many: 2: must have at most 1 items',
  ],
  [{ type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } }, ['a', 'a'], 'spec.f[1]: Duplicate value: "a"'],
];

for (const [schema, value, expected] of structure) {
  test(`refuses ${JSON.stringify(value)} under ${JSON.stringify(schema)}`, () => assert.deepEqual(errorsUnder(schema, value), [expected]));
}

test('does not judge again what an update leaves as it was', () => {
  const schema = { type: 'object', properties: { a: { type: 'string', maxLength: 1 }, b: { type: 'string' } } };
  assert.deepEqual(errorsUnder(schema, { a: 'long', b: 'new' }, { a: 'long', b: 'old' }), []);
  assert.deepEqual(errorsUnder(schema, { a: 'longer' }, { a: 'long' }), ['spec.f.a: Too long: may not be more than 1 bytes']);
});

const rules: readonly [string, Json, unknown, unknown, string[]][] = [
  [
    'an integer',
    { type: 'integer', 'x-kubernetes-validations': [{ rule: 'self > 3', message: 'too small' }] },
    3,
    undefined,
    ['spec.f: Invalid value: 3: too small'],
  ],
  [
    'no message',
    { type: 'string', 'x-kubernetes-validations': [{ rule: "self != 'a'" }] },
    'a',
    undefined,
    ['spec.f: Invalid value: "a": failed rule: self != \'a\''],
  ],
  [
    'a computed message',
    { type: 'string', 'x-kubernetes-validations': [{ rule: "self == 'x'", messageExpression: "self + ' is no x'" }] },
    'a',
    undefined,
    ['spec.f: Invalid value: "a": a is no x'],
  ],
  [
    'a field of its own',
    {
      type: 'object',
      properties: { a: { type: 'string' } },
      'x-kubernetes-validations': [{ rule: 'has(self.a)', fieldPath: '.a', reason: 'FieldValueRequired', message: 'give one' }],
    },
    {},
    undefined,
    ['spec.f.a: Required value: give one'],
  ],
  [
    'a value that is not there',
    { type: 'object', properties: { a: { type: 'integer' } }, 'x-kubernetes-validations': [{ rule: 'self.a > 1', message: 'm' }] },
    {},
    undefined,
    ['spec.f: Invalid value: No such key: a evaluating rule: m'],
  ],
  [
    'a reserved word',
    {
      type: 'object',
      properties: { namespace: { type: 'string' }, 'a-b': { type: 'string' } },
      'x-kubernetes-validations': [{ rule: 'self.__namespace__ == self.a__dash__b' }],
    },
    { namespace: 'x', 'a-b': 'x' },
    undefined,
    [],
  ],
  [
    'a change',
    { type: 'string', 'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'fixed' }] },
    'b',
    'a',
    ['spec.f: Invalid value: "b": fixed'],
  ],
  [
    'a change that is none',
    { type: 'string', 'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'fixed' }] },
    'b',
    undefined,
    [],
  ],
  [
    'items by their keys',
    {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['k'],
      items: {
        type: 'object',
        required: ['k'],
        properties: {
          k: { type: 'string' },
          v: { type: 'integer', 'x-kubernetes-validations': [{ rule: 'self >= oldSelf', message: 'shrank' }] },
        },
      },
    },
    [
      { k: 'b', v: 1 },
      { k: 'a', v: 1 },
    ],
    [
      { k: 'a', v: 2 },
      { k: 'b', v: 1 },
    ],
    ['spec.f[1].v: Invalid value: 1: shrank'],
  ],
  [
    'quantities',
    { type: 'string', 'x-kubernetes-validations': [{ rule: "isQuantity(self) && quantity(self).isLessThan(quantity('1Gi'))" }] },
    '512Mi',
    undefined,
    [],
  ],
  [
    'times',
    {
      type: 'string',
      format: 'date-time',
      'x-kubernetes-validations': [{ rule: "self > timestamp('2026-01-01T00:00:00Z')", message: 'old' }],
    },
    '2025-01-01T00:00:00Z',
    undefined,
    ['spec.f: Invalid value: "2025-01-01T00:00:00Z": old'],
  ],
  [
    'flags within an expression',
    { type: 'string', 'x-kubernetes-validations': [{ rule: "self.matches(r'^(?i)[a-z]+$')", message: 'm' }] },
    'ABC',
    undefined,
    [],
  ],
];

for (const [what, schema, value, old, expected] of rules) {
  test(`evaluates a rule with ${what}`, () => assert.deepEqual(errorsUnder(schema, value, old), expected));
}

test('asks for fields of items as Kubernetes does', () => {
  for (const [rule, rewritten] of [
    ['has(self[0].matches) ? 1 : 0', "('matches' in self[0]) ? 1 : 0"],
    ['has(self.a) && has(self.b[0].c.d)', "has(self.a) && ('d' in self.b[0].c)"],
    ["self == 'has(x[0].y)'", "self == 'has(x[0].y)'"],
    ["self.matches('.matches(')", "self.matchesRe2('.matches(')"],
  ] as const) {
    assert.equal(toLibraryDialect(rule), rewritten);
  }
});

test('reads the expressions of Go', () => {
  for (const [pattern, text, matches] of [
    ['^(?i)abc$', 'ABC', true],
    ['a(?i:b)c', 'aBC', false],
    ['(x(?i)y)z', 'xYz', true],
    ['(x(?i)y)z', 'xYZ', false],
    ['\\Aa\\z', 'a', true],
    ['(?P<n>a)', 'a', true],
  ] as const) {
    assert.equal(regularExpression(pattern).test(text), matches, `${pattern} ${text}`);
  }
});

test('lists a resource for each served version, under the hash of the stored one', () => {
  const crd = installedCrds.find((candidate) => candidate.metadata.name === 'telemetries.telemetry.istio.io');
  assert.ok(crd !== undefined);
  const infos = crdToResourceInfo(crd);
  assert.deepEqual(
    infos.map((info) => info.version),
    ['v1', 'v1alpha1'],
  );
  assert.equal(new Set(infos.map((info) => info.storageVersionHash)).size, 1);
});

const definition = (change: (spec: Json) => void): AnyObject => {
  const crd = structuredClone(capturedById('crd-create').body) as AnyObject;
  change(crd['spec'] as Json);
  return schemaFor({ group: 'apiextensions.k8s.io', version: 'v1', kind: 'CustomResourceDefinition' }).default(crd);
};
const openApi = (spec: Json): Json => objectAt(objectAt(objectsAt(spec, 'versions')[0], 'schema'), 'openAPIV3Schema') ?? {};

const definitions: readonly [string, (spec: Json) => void, RegExp][] = [
  [
    'a second stored version',
    (spec) => void (spec['versions'] = [...objectsAt(spec, 'versions'), { ...objectsAt(spec, 'versions')[0], name: 'v2' }]),
    /must have exactly one version marked as storage version/,
  ],
  [
    'no schema',
    (spec) => void (spec['versions'] = [{ name: 'v1', served: true, storage: true }]),
    /^spec\.versions\[0\]\.schema\.openAPIV3Schema: Required value: schemas are required$/,
  ],
  [
    'a property without a type',
    (spec) => void (openApi(spec)['properties'] = { spec: {} }),
    /properties\[spec\]\.type: Required value: must not be empty for specified object fields/,
  ],
  [
    'a rule that is no expression',
    (spec) => void (openApi(spec)['x-kubernetes-validations'] = [{ rule: 'self.' }]),
    /x-kubernetes-validations\[0\]\.rule: Invalid value: "self\.": compilation failed: /,
  ],
  [
    'a rule about a change of what has no identity',
    (spec) =>
      void (openApi(spec)['properties'] = {
        l: { type: 'array', items: { type: 'string', 'x-kubernetes-validations': [{ rule: 'self == oldSelf' }] } },
      }),
    /oldSelf cannot be used on the uncorrelatable portion of the schema/,
  ],
  [
    'a default that its own schema refuses',
    (spec) => void (openApi(spec)['properties'] = { f: { type: 'integer', default: 'x' } }),
    /properties\[f\]\.default: Invalid value: "string"/,
  ],
  [
    'a conversion webhook',
    (spec) => void (spec['conversion'] = { strategy: 'Webhook' }),
    /spec\.conversion\.strategy: Unsupported value: "Webhook": supported values: "None"/,
  ],
];

for (const [what, change, expected] of definitions) {
  test(`refuses a definition with ${what}`, () => assert.match(aggregateFieldErrors(validateCrd(definition(change))), expected));
}
