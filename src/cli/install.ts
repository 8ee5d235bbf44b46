import { defaultImage } from '../api/version.ts';
import { IsthmusError } from '../core/index.ts';
import { clientFor, createCommand, runCommand, withClusterOptions, type ClusterOptions } from './command.ts';
import { install } from './install/install.ts';

interface Options extends ClusterOptions {
  readonly cluster?: string;
  readonly network: string;
  readonly trustDomain: string;
  readonly image: string;
  readonly timeout: string;
}

/** `isthmus install`: the mesh into one cluster. */
export async function run(args: string[]): Promise<void> {
  const command = withClusterOptions(createCommand('install', 'Put CRDs, istiod, the CNI agent and ztunnel into a cluster.'))
    .option('--cluster <id>', "cluster id, unique in the mesh; default the context's name")
    .option('--network <name>', 'network name, equal in all clusters of a flat network', 'flat-network')
    .option('--trust-domain <domain>', 'SPIFFE trust domain', 'cluster.local')
    .option('--image <reference>', 'image of all components', defaultImage)
    .option('--timeout <seconds>', 'how long to wait for each component; 0 does not wait', '120')
    .action(async (options: Options) => {
      using client = clientFor(options);
      const context = client.transport.config.context;
      const clusterId = checkedClusterId(options.cluster ?? context);
      const timeout = Number(options.timeout);
      if (!Number.isFinite(timeout) || timeout < 0)
        throw new IsthmusError('ISTHMUS_USAGE', `--timeout ${options.timeout} is not a number of seconds`);
      await install({
        client,
        options: { clusterId, network: options.network, trustDomain: options.trustDomain, image: options.image },
        progress: (step) => process.stdout.write(`${context}: ${step}\n`),
        timeout: timeout * 1000,
      });
      process.stdout.write(`${context}: installed, cluster id ${clusterId}, network ${options.network}\n`);
    });
  await runCommand(command, args);
}

/** A cluster id becomes part of object names and label values, so it has to be a DNS label. */
function checkedClusterId(id: string): string {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(id)) return id;
  throw new IsthmusError('ISTHMUS_USAGE', `"${id}" cannot be a cluster id: only lower-case letters, digits and -, at most 63`, {
    hint: 'give --cluster NAME',
  });
}
