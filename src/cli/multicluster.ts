import { istioNamespace } from '../api/names.ts';
import { IsthmusError } from '../core/index.ts';
import { KubeClient } from '../kube/index.ts';
import { clientFor, commaList, createCommand, runCommand, withClusterOptions, type ClusterOptions } from './command.ts';
import { checkCluster, printReport } from './multicluster/check.ts';
import { expose } from './multicluster/expose.ts';
import { link, unlink } from './multicluster/link.ts';

interface ExposeOptions extends ClusterOptions {
  readonly namespace: string;
  readonly istioNamespace: string;
  readonly generate?: true;
  readonly wait?: true;
}

interface LinkOptions extends ClusterOptions {
  readonly namespace: string;
  readonly istioNamespace: string;
  readonly contexts: readonly string[];
  readonly timeout: string;
}

interface CheckOptions extends ClusterOptions {
  readonly istioNamespace: string;
  readonly contexts?: readonly string[];
  readonly precheck?: true;
  readonly verbose?: true;
}

/** `isthmus multicluster expose | link | unlink | check`, with istioctl's options. */
export async function run(args: string[]): Promise<void> {
  const command = createCommand('multicluster', 'Expose, link and check clusters.');

  withClusterOptions(command.command('expose').description('Create the east-west gateway, through which peers reach istiod.'))
    .option('-n, --namespace <name>', 'namespace of the gateway; must exist', 'istio-eastwest')
    .option('-i, --istioNamespace <name>', 'namespace of istiod', istioNamespace)
    .option('--generate', 'print the Gateway as YAML instead of applying it')
    .option('--wait', 'wait until it is programmed')
    .action(async (options: ExposeOptions) => {
      using client = clientFor(options);
      await expose({
        client,
        namespace: options.namespace,
        istioNamespace: options.istioNamespace,
        generate: options.generate ?? false,
        wait: options.wait ?? false,
        print,
      });
    });

  withClusterOptions(command.command('link').description('Link every cluster of --contexts to every other one.'))
    .requiredOption('--contexts <a,b,…>', 'kubeconfig contexts of the clusters', commaList)
    .option('-n, --namespace <name>', 'namespace of the gateways', 'istio-eastwest')
    .option('-i, --istioNamespace <name>', 'namespace of istiod', istioNamespace)
    .option('--timeout <seconds>', "how long to wait for each cluster's gateway to have an address", '60')
    .action(async (options: LinkOptions) => {
      await withClients(options.contexts, options.kubeconfig, (clients) =>
        link({
          clients,
          namespace: options.namespace,
          istioNamespace: options.istioNamespace,
          print,
          timeout: Number(options.timeout) * 1000,
        }),
      );
    });

  withClusterOptions(command.command('unlink').description('Remove the links between the clusters of --contexts.'))
    .requiredOption('--contexts <a,b,…>', 'kubeconfig contexts of the clusters', commaList)
    .option('-n, --namespace <name>', 'namespace of the gateways', 'istio-eastwest')
    .option('-i, --istioNamespace <name>', 'namespace of istiod', istioNamespace)
    .action(async (options: LinkOptions) => {
      await withClients(options.contexts, options.kubeconfig, (clients) =>
        unlink({ clients, namespace: options.namespace, istioNamespace: options.istioNamespace, print }),
      );
    });

  withClusterOptions(command.command('check').description('Check control plane, data plane, gateways and peers; exit 0 only if all pass.'))
    .option('--contexts <a,b,…>', 'check several clusters', commaList)
    .option('-i, --istioNamespace <name>', 'namespace of istiod', istioNamespace)
    .option('-p, --precheck', 'before linking: leaves out the peers')
    .option('-v, --verbose', 'details of every check')
    .action(async (options: CheckOptions) => {
      const contexts = options.contexts ?? [options.context];
      let passed = true;
      for (const context of contexts) {
        using client = clientFor({ ...options, ...(context !== undefined && { context }) });
        if (contexts.length > 1) process.stdout.write(`=== Cluster: ${client.transport.config.context} ===\n`);
        const report = await checkCluster({ client, istioNamespace: options.istioNamespace, peers: options.precheck !== true });
        passed = printReport(report, options.verbose ?? false) && passed;
      }
      if (!passed) throw new IsthmusError('MULTICLUSTER_CHECK_FAILED', 'multicluster check found issues');
    });

  await runCommand(command, args);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function withClients(
  contexts: readonly string[],
  path: string | undefined,
  work: (clients: readonly KubeClient[]) => Promise<void>,
): Promise<void> {
  if (contexts.length < 2)
    throw new IsthmusError('ISTHMUS_USAGE', '--contexts names one cluster only', { hint: 'give two or more: --contexts=a,b' });
  using stack = new DisposableStack();
  await work(contexts.map((context) => stack.use(KubeClient.fromKubeconfig({ path, context }))));
}
