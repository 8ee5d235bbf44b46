import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { deepEqual, isObject, type JsonObject } from '../json.ts';
import { schemaFor } from '../schema/index.ts';
import { StatusError } from '../status.ts';
import { jsonPatch, JsonPatchError } from './json-patch.ts';
import { mergePatch } from './merge-patch.ts';
import { strategicMergePatch } from './strategic-merge-patch.ts';

describe('JSON patch', () => {
  const document = { a: [1, 2, 3], 'x/y': { '~': 1 }, b: { c: null } };
  const applied: readonly (readonly [name: string, patch: unknown, result: unknown])[] = [
    ['add to the end of a list', [{ op: 'add', path: '/a/-', value: 4 }], { ...document, a: [1, 2, 3, 4] }],
    ['insert into a list', [{ op: 'add', path: '/a/1', value: 9 }], { ...document, a: [1, 9, 2, 3] }],
    ['escaped keys', [{ op: 'replace', path: '/x~1y/~0', value: 2 }], { ...document, 'x/y': { '~': 2 } }],
    ['remove', [{ op: 'remove', path: '/a/0' }], { ...document, a: [2, 3] }],
    ['move', [{ op: 'move', from: '/a/0', path: '/b/d' }], { ...document, a: [2, 3], b: { c: null, d: 1 } }],
    ['copy', [{ op: 'copy', from: '/b', path: '/e' }], { ...document, e: { c: null } }],
    ['the whole document', [{ op: 'replace', path: '', value: 1 }], 1],
    ['a test that holds', [{ op: 'test', path: '/b', value: { c: null } }], document],
    ['a test that nothing is there', [{ op: 'test', path: '/b/d', value: null }], document],
    [
      'a key that is special to JavaScript',
      [{ op: 'add', path: '/__proto__', value: 1 }],
      JSON.parse('{"a":[1,2,3],"x/y":{"~":1},"b":{"c":null},"__proto__":1}'),
    ],
  ];
  for (const [name, patch, result] of applied) {
    test(name, () => {
      const before = structuredClone(document);
      assert.ok(deepEqual(jsonPatch(document, patch), result));
      assert.deepEqual(document, before, 'the target is not changed');
    });
  }
  const refused: readonly (readonly [name: string, patch: unknown])[] = [
    ['a test that does not hold', [{ op: 'test', path: '/a', value: [1] }]],
    ['a test that nothing is there, where something is', [{ op: 'test', path: '/b', value: null }]],
    ['a test of something that is not there', [{ op: 'test', path: '/z', value: 1 }]],
    ['a test where not even the parent is there', [{ op: 'test', path: '/z/y', value: null }]],
    ['nothing to remove', [{ op: 'remove', path: '/z' }]],
    ['nothing to replace', [{ op: 'replace', path: '/z', value: 1 }]],
    ['beyond the end of a list', [{ op: 'add', path: '/a/4', value: 1 }]],
    ['into a scalar', [{ op: 'add', path: '/a/0/x', value: 1 }]],
    ['an unknown operation', [{ op: 'merge', path: '/a', value: 1 }]],
    ['an add without a value', [{ op: 'add', path: '/z' }]],
    ['no list', { op: 'add' }],
  ];
  for (const [name, patch] of refused) {
    test(name, () => {
      assert.throws(() => jsonPatch(document, patch), JsonPatchError);
    });
  }
});

void test('a merge patch gives what it says and leaves the rest (RFC 7386)', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (target, patch) => {
      const result = mergePatch(target, patch);
      assert.ok(deepEqual(mergePatch(result, patch), result), 'twice is once');
      if (!isObject(patch) || !isObject(target) || !isObject(result)) return;
      for (const key of Object.keys(target)) if (!Object.hasOwn(patch, key)) assert.ok(deepEqual(result[key], target[key]));
      for (const [key, value] of Object.entries(patch)) if (value === null) assert.ok(!Object.hasOwn(result, key));
    }),
  );
});

describe('strategic merge patch of a Deployment', () => {
  const schema = schemaFor({ group: 'apps', version: 'v1', kind: 'Deployment' });
  const containers = (...list: JsonObject[]): JsonObject => ({ spec: { template: { spec: { containers: list } } } });
  const patched = (original: JsonObject, patch: JsonObject): JsonObject =>
    strategicMergePatch(original, patch, (path) => schema.mergeStrategy(path));
  const original = containers({ name: 'a', image: 'a:1', ports: [{ containerPort: 80 }] }, { name: 'b', image: 'b:1' });

  test('items are merged by their key, and new ones stand first', () => {
    assert.deepEqual(
      patched(original, containers({ name: 'b', image: 'b:2' }, { name: 'c', image: 'c:1' })),
      containers({ name: 'a', image: 'a:1', ports: [{ containerPort: 80 }] }, { name: 'b', image: 'b:2' }, { name: 'c', image: 'c:1' }),
    );
  });
  test('$patch: delete takes an item away', () => {
    assert.deepEqual(patched(original, containers({ name: 'a', $patch: 'delete' })), containers({ name: 'b', image: 'b:1' }));
  });
  test('$patch: replace in a list makes it the whole list', () => {
    assert.deepEqual(
      patched(original, containers({ $patch: 'replace' }, { name: 'z', image: 'z' })),
      containers({ name: 'z', image: 'z' }),
    );
  });
  test('$setElementOrder orders, as kubectl apply asks for it', () => {
    const patch = {
      spec: {
        template: { spec: { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }], containers: [{ name: 'a', image: 'a:2' }] } },
      },
    };
    assert.deepEqual(
      patched(original, patch),
      containers({ name: 'b', image: 'b:1' }, { name: 'a', image: 'a:2', ports: [{ containerPort: 80 }] }),
    );
  });
  test('$retainKeys drops the fields of another strategy', () => {
    const before = { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } };
    assert.deepEqual(patched(before, { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } }), {
      spec: { strategy: { type: 'Recreate' } },
    });
  });
  test('$deleteFromPrimitiveList takes values out of a list of values', () => {
    const before = { metadata: { finalizers: ['x/a', 'x/b'] } };
    assert.deepEqual(patched(before, { metadata: { '$deleteFromPrimitiveList/finalizers': ['x/a'] } }), {
      metadata: { finalizers: ['x/b'] },
    });
  });
  test('lists without a merge key are replaced, null takes away', () => {
    const before = containers({ name: 'a', command: ['x', 'y'], image: 'a' });
    assert.deepEqual(patched(before, containers({ name: 'a', command: ['z'], image: null })), containers({ name: 'a', command: ['z'] }));
  });
  test('an item without its key is refused', () => {
    assert.throws(() => patched(original, containers({ image: 'x' })), StatusError);
  });
});
