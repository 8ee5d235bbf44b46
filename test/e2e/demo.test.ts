/** `isthmus demo` as a newcomer meets it: twice in a row, after a kill -9, and with everything that may be in its way. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';

import { hostSnapshot, isthmus, processesWith, TestLab } from './lab-fixture.ts';

const lab = new TestLab(26541);

function assertGuideOutput(output: string): void {
  assert.match(output, /^istiod-[a-z0-9]+-[a-z0-9]{5}\s+1\/1\s+Running/m);
  assert.match(output, /^✅ Peers Check: all clusters connected$/m);
  assert.match(output, /^autogen\.demo\.global-service\s+\["global-service\.demo\.mesh\.internal"\]\s+STATIC/m);
  assert.match(output, /^autogenflat\.cluster-2\.demo\.global-service-\S+\.eacd81ea03fd\s+\d+m?s\s+10\.20\.\d+\.\d+$/m);
  const counts = [...output.matchAll(/^\s+(\d+) version: v[12]$/gm)].map(([, count]) => Number(count));
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    10,
    output,
  );
  assert.match(output, /access\tconnection complete\tsrc\.addr=10\.10\.\S+ .* dst\.addr=10\.20\.\d+\.\d+:15008 .*direction="outbound"/);
}

describe('isthmus demo', { concurrency: false }, () => {
  let hostBefore = '';

  before(() => {
    hostBefore = hostSnapshot();
  });

  after(async () => {
    await lab.remove();
    assert.equal(hostSnapshot(), hostBefore, 'the demo left something on the machine');
    assert.deepEqual(processesWith(lab.dir), [], 'the demo left processes behind');
  });

  test('a demo that is killed leaves nothing that the next one minds', async () => {
    const first = lab.spawn('demo');
    const output: string[] = [];
    first.stdout?.setEncoding('utf8').on('data', (text: string) => output.push(text));
    const { promise, resolve } = Promise.withResolvers<undefined>();
    first.stdout?.on('data', () => {
      if (output.join('').includes('Install the mesh')) resolve(undefined);
    });
    await Promise.race([promise, once(first, 'exit')]);
    first.kill('SIGKILL');
    const result = await lab.try(isthmus, ['demo']);
    assert.equal(result.code, 0, result.stdout + result.stderr);
    assertGuideOutput(result.stdout);
    assert.deepEqual(processesWith(lab.dir), []);
  });

  test('lab down without a lab, lab up twice: one clear line each', async () => {
    const down = await lab.try(isthmus, ['lab', 'down']);
    assert.notEqual(down.code, 0);
    assert.match(down.stderr, /^isthmus: .*\[LAB_NOT_RUNNING\].*\n$/);
    await lab.isthmus('lab', 'up');
    const up = await lab.try(isthmus, ['lab', 'up']);
    assert.notEqual(up.code, 0);
    assert.match(up.stderr, /^isthmus: .*\[LAB_ALREADY_RUNNING\].*\n$/);
    const demo = await lab.try(isthmus, ['demo']);
    assert.notEqual(demo.code, 0, "the demo took over a user's lab");
    await lab.isthmus('lab', 'down');
  });

  test('a taken port: one clear line', async () => {
    const server = createServer().listen(26541, '127.0.0.1');
    await once(server, 'listening');
    const up = await lab.try(isthmus, ['lab', 'up']);
    server.close();
    assert.notEqual(up.code, 0);
    assert.match(up.stderr, /^isthmus: .*26541.*\[LAB_PORT_TAKEN\].*\n$/);
  });
});
