import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';

import { authorityFingerprint, clusterIntermediate, createSharedRoot, readSharedRoot } from './index.ts';

function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-root-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return join(directory, 'ca');
}

suite('a root that clusters share', () => {
  test('is made once; its key is for its owner only', async (t) => {
    const directory = temporaryDirectory(t);
    const root = await createSharedRoot(directory, {});
    await assert.rejects(createSharedRoot(directory, {}), { code: 'PKI_ROOT_EXISTS' });
    assert.equal(readFileSync(join(directory, 'root-cert.pem'), 'utf8'), root.material.roots);
    assert.equal(statSync(join(directory, 'root-key.pem')).mode & 0o777, 0o600);
    assert.equal(authorityFingerprint(await readSharedRoot(directory)), authorityFingerprint(root));
    await createSharedRoot(directory, { force: true });
    assert.notEqual(authorityFingerprint(await readSharedRoot(directory)), authorityFingerprint(root));
  });

  test('gives each cluster an intermediate that stays until it is renewed', async (t) => {
    const directory = temporaryDirectory(t);
    await assert.rejects(clusterIntermediate(directory, { cluster: 'one' }), { code: 'PKI_ROOT_MISSING' });
    await createSharedRoot(directory, {});
    const first = await clusterIntermediate(directory, { cluster: 'one' });
    const again = await clusterIntermediate(directory, { cluster: 'one' });
    const other = await clusterIntermediate(directory, { cluster: 'two' });
    const renewed = await clusterIntermediate(directory, { cluster: 'one', renew: true });
    assert.deepEqual([first.made, again.made, other.made, renewed.made], [true, false, true, true]);
    assert.equal(authorityFingerprint(again.authority), authorityFingerprint(first.authority));
    assert.notEqual(authorityFingerprint(other.authority), authorityFingerprint(first.authority));
    assert.notEqual(authorityFingerprint(renewed.authority), authorityFingerprint(first.authority));
  });

  test('an intermediate of a replaced root is not used silently', async (t) => {
    const directory = temporaryDirectory(t);
    await createSharedRoot(directory, {});
    await clusterIntermediate(directory, { cluster: 'one' });
    await createSharedRoot(directory, { force: true });
    await assert.rejects(clusterIntermediate(directory, { cluster: 'one' }), { code: 'PKI_CA_INVALID' });
    assert.equal((await clusterIntermediate(directory, { cluster: 'one', renew: true })).made, true);
  });
});
