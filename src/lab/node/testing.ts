import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { makeNodeNetwork } from '../network/fabric.ts';
import { planClusters, type ClusterPlan } from '../network/plan.ts';
import { paths } from '../paths.ts';
import { NodeNamespaces } from '../supervisor/node-filesystem.ts';

/** For tests: nodes as the supervisor makes them, in namespaces of the test's own (`isolated`). */
export async function makeNodes(count: number): Promise<readonly { plan: ClusterPlan; namespaces: NodeNamespaces }[]> {
  const checkout = path.resolve(import.meta.dirname, '../../..');
  const folder = mkdtempSync(path.join(tmpdir(), 'isthmus-nodes-'));
  const plans = planClusters(count, 20_000);
  await makeNodeNetwork(plans, 'flat');
  const nodes = [];
  for (const plan of plans) {
    const at = (name: string): string => {
      const made = path.join(folder, plan.name, name);
      mkdirSync(made, { recursive: true });
      return made;
    };
    const namespaces = await NodeNamespaces.create({
      plan,
      checkout,
      mountPoint: at('mnt'),
      clusterDirectory: at('cluster'),
      compileCache: at('cache'),
    });
    nodes.push({ plan, namespaces });
  }
  return nodes;
}

/** Runs a test file inside a node and resolves with its exit code; its report goes to ours. */
export async function testInside(namespaces: NodeNamespaces, file: string): Promise<number | null> {
  const inNode = (host: string): string => path.join(paths.checkout, path.relative(path.resolve(import.meta.dirname, '../../..'), host));
  const [program = '', ...args] = namespaces.enter([inNode(process.execPath), '--test-reporter=spec', '--test-force-exit', inNode(file)]);
  // Without what Node's test runner tells its own children, which would make the report binary.
  const env: NodeJS.ProcessEnv = { ...process.env, NODE_NO_WARNINGS: '1' };
  delete env['NODE_TEST_CONTEXT'];
  const child = spawn(program, args, { stdio: 'inherit', env });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code;
}
