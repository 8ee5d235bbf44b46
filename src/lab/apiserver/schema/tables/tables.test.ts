import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { AnyObject } from '../../../../api/kubernetes.ts';
import { toTable } from '../index.ts';
import { objectAt, objectsAt, type Json } from '../json.ts';
import { captured, kindOf, lastStates, type Captured } from '../testing/captured.ts';
import { humanDuration } from './age.ts';
import { jsonPath } from './json-path.ts';

/** The objects that a recorded table shows, as they were at that time. */
function shown(call: Captured): AnyObject[] {
  const states = [...lastStates(call).values()];
  return objectsAt(call.answer, 'rows').map((row) => {
    const uid = objectAt(objectAt(row, 'object'), 'metadata')?.['uid'];
    const found = states.findLast((state) => objectAt(state, 'metadata')?.['uid'] === uid);
    assert.ok(found !== undefined, `${call.id} shows an object that no call made`);
    // The cast: recorded objects have metadata.
    return found as AnyObject;
  });
}

/** Heads of which the lab says something of its own. */
const ownWords: Readonly<Record<string, readonly string[]>> = {
  Pod: ['Ready', 'Status', 'Restarts'],
  WorkloadEntry: ['Age', 'Address'],
  ServiceEntry: ['Hosts', 'Location', 'Resolution', 'Age'],
};

for (const call of captured.filter(({ answer }) => answer['kind'] === 'Table')) {
  test(`prints ${call.id} as a server does`, () => {
    const objects = shown(call);
    const kind = kindOf(objects[0] ?? {});
    assert.ok(kind !== undefined);
    const now = Date.parse(objects[0]?.metadata.creationTimestamp ?? '');
    const table = toTable(kind.resource, objects, {
      includeObject: 'Metadata',
      now,
      listMetadata: objectAt(call.answer, 'metadata') ?? {},
      ...(kind.crd === undefined ? {} : { crd: kind.crd }),
    });
    const words = ownWords[kind.resource.kind] ?? [];
    const heads = (columns: readonly unknown[]): Json[] =>
      (columns as Json[]).map((column) => (words.includes(String(column['name'])) ? { ...column, description: '' } : column));
    assert.deepEqual(heads(table.columnDefinitions), heads(objectsAt(call.answer, 'columnDefinitions')));
    assert.deepEqual(table.rows, call.answer['rows']);
  });
}

const podTable = (status: Json, more: Json = {}, spec: Json = {}): readonly unknown[] => {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', ...more },
    spec: { containers: [{ name: 'c' }], ...spec },
    status,
  } as AnyObject;
  const kind = kindOf(pod);
  assert.ok(kind !== undefined);
  return toTable(kind.resource, [pod], { includeObject: 'None', now: Date.parse('2026-11-23T12:10:00Z') }).rows[0]?.cells.slice(1, 4) ?? [];
};

const cases: readonly [string, readonly unknown[], readonly unknown[]][] = [
  [
    'a container that cannot start',
    podTable({ phase: 'Pending', containerStatuses: [{ state: { waiting: { reason: 'ErrImagePull' } } }] }),
    ['0/1', 'ErrImagePull', '0'],
  ],
  [
    'a container that crashed five minutes ago',
    podTable({
      phase: 'Running',
      containerStatuses: [
        {
          restartCount: 3,
          state: { waiting: { reason: 'CrashLoopBackOff' } },
          lastState: { terminated: { finishedAt: '2026-11-23T12:05:00Z' } },
        },
      ],
    }),
    ['0/1', 'CrashLoopBackOff', '3 (5m ago)'],
  ],
  [
    'a pod that goes',
    podTable(
      { phase: 'Running', containerStatuses: [{ ready: true, state: { running: {} } }] },
      { deletionTimestamp: '2026-11-23T12:00:00Z' },
    ),
    ['1/1', 'Terminating', '0'],
  ],
  [
    'a pod that is done',
    podTable({ phase: 'Succeeded', containerStatuses: [{ state: { terminated: { exitCode: 0, reason: 'Completed' } } }] }),
    ['0/1', 'Completed', '0'],
  ],
  [
    'a container that was killed',
    podTable({ phase: 'Failed', containerStatuses: [{ state: { terminated: { exitCode: 137, signal: 9 } } }] }),
    ['0/1', 'Signal:9', '0'],
  ],
  [
    'a pod in its first steps',
    podTable({ phase: 'Pending', initContainerStatuses: [{ name: 'i', state: { running: {} } }] }, {}, { initContainers: [{ name: 'i' }] }),
    ['0/1', 'Init:0/1', '0'],
  ],
  [
    'a pod with a sidecar',
    podTable(
      {
        phase: 'Running',
        conditions: [{ type: 'Initialized', status: 'True' }],
        initContainerStatuses: [{ name: 's', started: true, ready: true, state: { running: {} } }],
        containerStatuses: [{ ready: true, state: { running: {} } }],
      },
      {},
      { initContainers: [{ name: 's', restartPolicy: 'Always' }] },
    ),
    ['2/2', 'Running', '0'],
  ],
];

for (const [what, cells, expected] of cases) test(`shows ${what}`, () => assert.deepEqual(cells, expected));

test('writes durations as kubectl does', () => {
  const second = 1000;
  const [minute, hour, day] = [60 * second, 3600 * second, 86_400 * second];
  for (const [duration, text] of [
    [0, '0s'],
    [-5 * second, '<invalid>'],
    [94 * second, '94s'],
    [119 * second, '119s'],
    [120 * second, '2m'],
    [3 * minute + 47 * second, '3m47s'],
    [12 * minute + 5 * second, '12m'],
    [179 * minute, '179m'],
    [5 * hour + 7 * minute, '5h7m'],
    [47 * hour, '47h'],
    [3 * day + hour, '3d1h'],
    [100 * day, '100d'],
    [3 * 365 * day + 4 * day, '3y4d'],
    [9 * 365 * day, '9y'],
  ] as const) {
    assert.equal(humanDuration(duration), text);
  }
});

test('finds what printer columns ask for', () => {
  const object = {
    a: [
      { type: 'x', v: 1 },
      { type: 'y', v: 2 },
    ],
    'b.c': { d: 'e' },
    f: false,
  };
  for (const [path, found] of [
    ['.a[*].v', [1, 2]],
    ['.a[?(@.type=="y")].v', [2]],
    ["{.a[?(@.type!='y')].v}", [1]],
    ['.a[-1].type', ['y']],
    ['.b\\.c.d', ['e']],
    ["['b.c']['d']", ['e']],
    ['.f', [false]],
    ['.nothing.here', []],
  ] as const) {
    assert.deepEqual(jsonPath(path)(object), found, path);
  }
  assert.throws(() => jsonPath('.a[?(len(@))]'), SyntaxError);
});
