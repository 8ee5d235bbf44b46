/**
 * A candidate as a process of its own: `candidate.ts KUBECONFIG IDENTITY`. Says `started`, `leading` and `not leading` on stdout.
 */
import { stdout } from 'node:process';

import { aborted, createLogger, runUntilStopped } from '../../src/core/index.ts';
import { KubeClient, leadWhileElected } from '../../src/kube/index.ts';

const [, , path, identity = ''] = process.argv;
const log = createLogger(identity);
stdout.write('started\n');
using client = KubeClient.fromKubeconfig({ path });
await runUntilStopped(log, (signal) =>
  leadWhileElected(
    { client, namespace: 'default', name: 'lock', identity, log },
    async (leading) => {
      stdout.write('leading\n');
      await aborted(leading);
      stdout.write('not leading\n');
    },
    signal,
  ),
);
