import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Graph, source } from '../collections/index.ts';
import type { MissingNamespace } from './missing-namespaces.ts';
import { PeerFindings } from './peer-findings.ts';
import type { Refusal } from './validate.ts';

test('findings are those of the peer that they concern, as they are now', () => {
  const graph = new Graph({ onFailure: ({ error }) => assert.fail(String(error)) });
  const missingNamespaces = source<MissingNamespace>(graph, { name: 'missing' });
  const refusals = source<Refusal>(graph, { name: 'refusals' });
  const findings = new PeerFindings({ missingNamespaces, refusals });
  const late: MissingNamespace = { name: 'late', state: 'absent', peers: ['two', 'three'], services: ['web'], isToBeMade: false };
  missingNamespaces.set('late', late);
  let changes = 0;
  const stop = findings.follow(() => changes++);
  refusals.set('two|two//Pod/demo/a', { code: 'PEERING_SELECTOR', message: 'strange' });
  refusals.set('two|two//Pod/demo/b', { code: 'PEERING_SELECTOR', message: 'strange' });
  refusals.set('three|three//Pod/demo/a', { code: 'PEERING_SELECTOR', message: 'strange' });
  assert.deepEqual([...findings.refused('two').keys()], ['two//Pod/demo/a', 'two//Pod/demo/b']);
  assert.deepEqual([...findings.refused('three').keys()], ['three//Pod/demo/a']);
  assert.equal(findings.refused('four').size, 0);
  assert.equal(findings.refused(undefined).size, 0);
  refusals.delete('two|two//Pod/demo/a');
  assert.deepEqual([...findings.refused('two').keys()], ['two//Pod/demo/b']);

  missingNamespaces.set('gone', { ...late, name: 'gone', state: 'deleting', peers: ['two'] });
  assert.match(
    findings.namespaces('two') ?? '',
    /^namespace gone is being deleted: .*; namespace late does not exist here, .*--create-namespaces$/,
  );
  assert.match(findings.namespaces('three') ?? '', /^namespace late does not exist here/);
  assert.equal(findings.namespaces('four'), undefined);
  const before = changes;
  missingNamespaces.delete('late');
  assert.equal(findings.namespaces('three'), undefined);
  assert.ok(changes > before);
  stop();
});
