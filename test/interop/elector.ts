import { createLogger } from '../../src/core/index.ts';
import { KubeClient, leadWhileElected } from '../../src/kube/index.ts';

/** A process that can be killed while it leads: `elector.ts KUBECONFIG IDENTITY`. It says on its output when it leads. */
const [path, identity = ''] = process.argv.slice(2);
const client = KubeClient.fromKubeconfig({ path });
const lead = async (signal: AbortSignal): Promise<void> => {
  console.log('leading');
  const { promise, resolve } = Promise.withResolvers<undefined>();
  signal.addEventListener('abort', () => resolve(undefined));
  await promise;
};
await leadWhileElected(
  { client, namespace: 'default', name: 'elected', identity, log: createLogger('elector') },
  lead,
  new AbortController().signal,
);
