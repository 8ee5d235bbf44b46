import assert from 'node:assert/strict';
import { test } from 'node:test';

import { globalOptionsLast } from './global-options.ts';

const cases: readonly (readonly [given: string, wanted: string])[] = [
  ['--context=a multicluster expose --namespace b', 'multicluster expose --namespace b --context=a'],
  ['--context a multicluster expose -n b', 'multicluster expose -n b --context a'],
  ['multicluster -i c check', 'multicluster check -i c'],
  ['install --context a --cluster b', 'install --cluster b --context a'],
  ['lab up --port 1', 'lab up --port 1'],
  ['ztunnel --gateway', 'ztunnel --gateway'],
  ['--help', '--help'],
  ['--context', '--context'],
  ['', ''],
];

for (const [given, wanted] of cases) {
  test(`isthmus ${given}`, () => {
    const split = (text: string): string[] => (text === '' ? [] : text.split(' '));
    assert.deepEqual(globalOptionsLast(split(given)), split(wanted));
  });
}
