import assert from 'node:assert/strict';
import { test } from 'node:test';

import { istiodManifests } from './istiod.ts';

interface Rule {
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

const options = { clusterId: 'cluster-1', network: 'flat-network', trustDomain: 'cluster.local', image: 'isthmus' };
const rules = (kind: string): Rule[] =>
  istiodManifests(options).flatMap((object) => (object.kind === kind ? (object as unknown as { rules: Rule[] }).rules : []));

test('istiod reads one Secret, makes it, and never changes or sees another', () => {
  assert.ok(rules('ClusterRole').every(({ resources }) => !resources.includes('secrets')));
  const secrets = rules('Role').filter(({ resources }) => resources.includes('secrets'));
  assert.deepEqual(
    secrets.map(({ resourceNames, verbs }) => [resourceNames, verbs]),
    [
      [undefined, ['create']],
      [['istio-ca-secret'], ['get']],
    ],
  );
});

test('istiod deletes nothing in the cluster but the entries of peers', () => {
  const deleting = rules('ClusterRole').filter(({ verbs }) => verbs.includes('delete') || verbs.includes('*'));
  assert.deepEqual(
    deleting.flatMap(({ resources }) => resources),
    ['serviceentries', 'workloadentries'],
  );
});
