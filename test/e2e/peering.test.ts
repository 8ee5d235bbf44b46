/**
 * Peering, one table of things that happen, in every way in which Isthmus can be run. After each, an independent checker compares the
 * entries with what the API servers export; all the time, a client in each cluster sends requests, and none may go to a pod that was gone for
 * more than 5 s.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { resources } from '../../src/api/resources.ts';
import { KubeClient, waitForObjects } from '../../src/kube/index.ts';
import { hostSnapshot, processesWith, TestLab } from './lab-fixture.ts';
import { cases, restore } from './peering/cases.ts';
import { modes } from './peering/modes.ts';
import { measurements } from './peering/report.ts';
import { World } from './peering/world.ts';

const contexts = ['cluster-1', 'cluster-2'];

for (const [index, mode] of modes.entries()) {
  describe(`peering with ${mode.name}`, { concurrency: false, skip: mode.skip }, () => {
    let hostBefore = '';
    let lab: TestLab | undefined;
    let world: World | undefined;

    before(async () => {
      hostBefore = hostSnapshot();
      const made = (lab = new TestLab(26841 + 100 * index));
      await made.isthmus('lab', 'up');
      await made.isthmus('ca', 'create-root', '--dir', `${made.dir}/ca`);
      await Promise.all(
        contexts.map(async (context) => {
          await made.isthmus('ca', 'issue-intermediate', '--dir', `${made.dir}/ca`, '--cluster', context, '--context', context);
          await mode.install(made, context);
        }),
      );
      const gateways = ['--contexts', contexts.join(), '--namespace', 'istio-eastwest'];
      await made.isthmus('multicluster', 'expose', ...gateways, '--create-namespace', '--wait');
      await made.isthmus('multicluster', 'link', ...gateways);
      for (const context of contexts) await untilPeered(made, context);
      world = new World(made, mode);
      await world.start();
    });

    after(async () => {
      world?.stop();
      await lab?.remove();
      assert.equal(hostSnapshot(), hostBefore, 'the lab left something on the machine');
      if (lab !== undefined) assert.deepEqual(processesWith(lab.dir), [], 'the lab left processes behind');
    });

    for (const { name, run } of cases) {
      test(name, async () => {
        const there = world;
        assert.ok(there);
        if (there.records.at(-1)?.error !== undefined) await restore(there);
        await there.run(name, () => run(there));
      });
    }

    test('measured', (t) => {
      assert.ok(world);
      for (const line of measurements(world)) t.diagnostic(line);
    });
  });
}

async function untilPeered({ kubeconfig }: TestLab, context: string): Promise<void> {
  using client = KubeClient.fromKubeconfig({ path: kubeconfig, context });
  await waitForObjects({ client, type: resources.gateways, what: `${context}: the peer's state`, timeout: 60_000 }, (gateways) =>
    gateways.some(({ status }) =>
      status?.conditions?.some(({ type, status: is }) => type === 'gloo.solo.io/PeeringSucceeded' && is === 'True'),
    ),
  );
}
