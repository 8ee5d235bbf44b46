import { createLogger, IsthmusError, runUntilStopped } from '../core/index.ts';

const usage = `usage: isthmus cni [plugin]

The node agent: puts the pods of its node into the mesh or takes them out, as their labels say. It is configured by
environment variables: NODE_NAME, POD_NAME, POD_NAMESPACE, HOST_IP, AMBIENT_DNS_CAPTURE, EXCLUDE_NAMESPACES and others
(docs/cni.md).

  plugin   the CNI plugin instead, as a container runtime calls it
`;

/** `isthmus cni`: the node agent, or the CNI plugin. */
export async function run(args: string[]): Promise<void> {
  const [command, ...rest] = args;
  if (command === '--help' || command === '-h') {
    process.stdout.write(usage);
    return;
  }
  if (rest.length > 0 || (command !== undefined && command !== 'plugin')) {
    throw new IsthmusError('ISTHMUS_USAGE', `unknown argument "${args.join(' ')}"`, { hint: 'isthmus cni --help tells more' });
  }
  const { configFromEnvironment, runCniAgent, runCniPlugin } = await import('../cni/index.ts');
  if (command === 'plugin') {
    await runCniPlugin();
    return;
  }
  const { KubeClient } = await import('../kube/index.ts');
  const log = createLogger('cni');
  const config = configFromEnvironment(process.env);
  using client = KubeClient.inCluster();
  await runUntilStopped(log, (signal) => runCniAgent({ config, client, log }, signal));
}
