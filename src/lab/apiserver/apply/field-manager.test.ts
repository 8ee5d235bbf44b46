import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import type { AnyObject } from '../../../api/kubernetes.ts';
import { asObject, deepEqual } from '../json.ts';
import { schemaFor } from '../schema/index.ts';
import { StatusError } from '../status.ts';
import { applyConfiguration, recordUpdate } from './field-manager.ts';
import { FieldSet, printPath } from './field-set.ts';
import { toFieldSet } from './typed-value.ts';

const schema = schemaFor({ group: '', version: 'v1', kind: 'Service' });
const strategyOf = schema.mergeStrategy.bind(schema);

function service(spec: Record<string, unknown>, labels?: Record<string, string>): AnyObject {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name: 's', namespace: 'n', ...(labels !== undefined && { labels }) }, spec };
}

function apply(live: AnyObject, manager: string, config: AnyObject, force = false): AnyObject {
  return applyConfiguration(live, config, {
    strategyOf,
    id: { manager, operation: 'Apply', subresource: '', apiVersion: 'v1' },
    resetFields: [['status']],
    now: '2026-01-01T00:00:00Z',
    force,
  }).object;
}

function update(live: AnyObject, manager: string, next: AnyObject): AnyObject {
  return recordUpdate(live, next, {
    strategyOf,
    id: { manager, operation: 'Update', subresource: '', apiVersion: 'v1' },
    resetFields: [['status']],
    now: '2026-01-01T00:00:00Z',
  });
}

const empty: AnyObject = { apiVersion: 'v1', kind: 'Service', metadata: { name: 's', namespace: 'n' } };
const port = (number: number, name: string): Record<string, unknown> => ({ port: number, protocol: 'TCP', name });

describe('server-side apply', () => {
  test('two managers share a list: each owns its items, and takes away only its own', () => {
    let live = apply(empty, 'one', service({ ports: [port(80, 'a')] }));
    live = apply(live, 'two', service({ ports: [port(90, 'b')] }));
    assert.deepEqual(asObject(live['spec'])['ports'], [port(80, 'a'), port(90, 'b')]);
    live = apply(live, 'one', service({ ports: [port(81, 'c')] }));
    assert.deepEqual(asObject(live['spec'])['ports'], [port(90, 'b'), port(81, 'c')]);
  });

  test("another manager's value is a conflict, unless it is the same one", () => {
    const live = apply(empty, 'one', service({ type: 'ClusterIP' }));
    apply(live, 'two', service({ type: 'ClusterIP' }));
    assert.throws(
      () => apply(live, 'two', service({ type: 'NodePort' })),
      (error: unknown) => {
        assert.ok(error instanceof StatusError);
        assert.equal(error.code, 409);
        assert.equal(error.message, 'Apply failed with 1 conflict: conflict with "one": .spec.type');
        return true;
      },
    );
    const forced = apply(live, 'two', service({ type: 'NodePort' }), true);
    assert.equal(asObject(forced['spec'])['type'], 'NodePort');
    assert.deepEqual(
      forced.metadata.managedFields?.map(({ manager }) => manager),
      ['two'],
    );
  });

  test('what a manager does not state any more goes, unless somebody else states it', () => {
    let live = apply(empty, 'one', service({ type: 'ClusterIP', externalName: 'x' }));
    live = apply(live, 'two', service({ type: 'ClusterIP' }));
    live = apply(live, 'one', service({ sessionAffinity: 'None' }));
    assert.deepEqual(live['spec'], { type: 'ClusterIP', sessionAffinity: 'None' });
  });

  test('what nobody applied stays', () => {
    let live = apply(empty, 'one', service({ type: 'ClusterIP' }, { a: '1', b: '2' }));
    live = update(live, 'server', { ...live, spec: { ...asObject(live['spec']), clusterIP: '10.0.0.1' } });
    live = apply(live, 'one', service({}, { a: '1' }));
    assert.deepEqual(live['spec'], { clusterIP: '10.0.0.1' });
    assert.deepEqual(live.metadata.labels, { a: '1' });
  });

  test('an update takes the fields that it changes, and a removal takes them from everybody', () => {
    let live = apply(empty, 'one', service({ type: 'ClusterIP', externalName: 'x' }));
    live = update(live, 'two', { ...live, spec: { type: 'NodePort' } });
    assert.deepEqual(
      live.metadata.managedFields?.map(({ manager, fieldsV1 }) => [manager, fieldsV1]),
      [['two', { 'f:spec': { 'f:type': {} } }]],
    );
  });
});

/** Without empty maps: whether they are there is nothing that a Service keeps. */
const config = fc
  .record({
    labels: fc.option(fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('1', '2'), { minKeys: 1 })),
    type: fc.option(fc.constantFrom('ClusterIP', 'NodePort')),
    ports: fc.option(fc.uniqueArray(fc.constantFrom(80, 81, 82, 83), { minLength: 1, maxLength: 4 })),
    selector: fc.option(fc.dictionary(fc.constantFrom('app', 'tier'), fc.constantFrom('x', 'y'), { minKeys: 1 })),
  })
  .map(({ labels, type, ports, selector }) =>
    service(
      {
        sessionAffinity: 'None',
        ...(type !== null && { type }),
        ...(ports !== null && { ports: ports.map((number) => port(number, `p${number}`)) }),
        ...(selector !== null && { selector }),
      },
      labels ?? undefined,
    ),
  );

describe('laws of server-side apply', () => {
  const history = fc.array(fc.record({ manager: fc.constantFrom('one', 'two', 'three'), config }), { minLength: 1, maxLength: 8 });

  test('after any history, an apply gives what it states, and again it changes nothing', () => {
    fc.assert(
      fc.property(history, config, (steps, last) => {
        let live = empty;
        for (const { manager, config: stated } of steps) live = apply(live, manager, stated, true);
        const after = apply(live, 'one', last, true);
        // Everything stated is there: stating it once more for a newcomer changes no field.
        const { object, changed } = applyConfiguration(after, last, {
          strategyOf,
          id: { manager: 'newcomer', operation: 'Apply', subresource: '', apiVersion: 'v1' },
          resetFields: [],
          now: undefined,
          force: false,
        });
        assert.equal(changed, false, JSON.stringify(object['spec']));
        assert.ok(deepEqual(apply(after, 'one', last, true), after));
      }),
    );
  });

  test('a manager that states nothing any more leaves what the others state', () => {
    fc.assert(
      fc.property(history, (steps) => {
        let live = empty;
        for (const { manager, config: stated } of steps) live = apply(live, manager, stated, true);
        const others = (live.metadata.managedFields ?? []).filter(({ manager }) => manager !== 'one');
        const after = apply(live, 'one', empty, true);
        const present = toFieldSet(after, strategyOf);
        for (const { fieldsV1 } of others) {
          for (const path of FieldSet.fromFieldsV1(fieldsV1).paths()) {
            const kept = FieldSet.of([path]).difference(present);
            assert.ok(kept.isEmpty, `${printPath(path)} is gone`);
          }
        }
      }),
    );
  });
});

void test('managedFields survive their JSON', () => {
  const element = fc.oneof(
    fc.constantFrom('f:a', 'f:b', 'f:c.d/e'),
    fc.constantFrom('k:{"name":"x"}', 'k:{"port":80,"protocol":"TCP"}'),
    fc.constantFrom('v:"x"', 'v:1'),
  );
  const paths = fc.array(fc.array(element, { minLength: 1, maxLength: 4 }), { maxLength: 12 });
  fc.assert(
    fc.property(paths, (list) => {
      const set = FieldSet.of(list);
      const back = FieldSet.fromFieldsV1(JSON.parse(JSON.stringify(set.toFieldsV1())));
      assert.deepEqual([...back.paths()].sort(), [...set.paths()].sort());
    }),
  );
});

void test('sets are sets', () => {
  const paths = fc.array(fc.array(fc.constantFrom('f:a', 'f:b', 'f:c'), { minLength: 1, maxLength: 3 }), { maxLength: 10 });
  const keys = (set: FieldSet): Set<string> => new Set([...set.paths()].map((path) => path.join()));
  fc.assert(
    fc.property(paths, paths, (left, right) => {
      const [a, b] = [FieldSet.of(left), FieldSet.of(right)];
      assert.deepEqual(keys(a.union(b)), keys(a).union(keys(b)));
      assert.deepEqual(keys(a.intersection(b)), keys(a).intersection(keys(b)));
      assert.deepEqual(keys(a.difference(b)), keys(a).difference(keys(b)));
      const below = (path: string): boolean => [...keys(b)].some((other) => path === other || path.startsWith(`${other},`));
      assert.deepEqual(keys(a.recursiveDifference(b)), new Set([...keys(a)].filter((path) => !below(path))));
    }),
  );
});
