import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';

import { isolated } from '../testing.ts';
import { makeNodes, testInside } from './testing.ts';

isolated(import.meta.filename, () => {
  test('sandboxes and containers on a node', { timeout: 60_000 }, async () => {
    const [node] = await makeNodes(1);
    assert.ok(node);
    assert.equal(await testInside(node.namespaces, path.join(import.meta.dirname, 'inside/container.ts')), 0);
  });
});
