import { defaultImage } from '../api/version.ts';
import { IsthmusError } from '../core/index.ts';
import type { KubeClient } from '../kube/index.ts';
import { clientFor, commaList, createCommand, runCommand, withClusterOptions, type ClusterOptions } from './command.ts';
import { install } from './install/install.ts';
import { defaultComponents, isClusterId, parseComponents } from './install/options.ts';
import { placePrograms } from './install/place-programs.ts';

interface Options extends ClusterOptions {
  readonly istioNamespace?: string;
  readonly revision?: string;
  readonly cluster?: string;
  readonly network?: string;
  readonly trustDomain: string;
  readonly image: string;
  readonly timeout: string;
  readonly components?: string;
  readonly istiodBinary?: string;
  readonly ztunnelBinary?: string;
}

/** `isthmus install`: the mesh, or parts of it, into one cluster. */
export async function run(args: string[]): Promise<void> {
  const command = withClusterOptions(createCommand('install', 'Put CRDs, istiod, the CNI agent and ztunnel into a cluster.'))
    .option('--cluster <id>', "cluster id, unique in the mesh; default the context's name, and beside an Istio that is there its own")
    .option(
      '--network <name>',
      'network name, equal in all clusters of a flat network; default flat-network, and beside an Istio that is there its own',
    )
    .option('--trust-domain <domain>', 'SPIFFE trust domain; beside an Istio that is there its own counts', 'cluster.local')
    .option('--image <reference>', 'image of all components', defaultImage)
    .option(
      '--components <list>',
      'of base, istiod, cni, ztunnel, peering; default all that apply; peering alone goes beside an Istio that is there',
    )
    .option('-i, --istioNamespace <name>', 'beside an Istio that is there: namespace of istiod; default: it is looked for in all')
    .option('--revision <name>', 'beside an Istio that is there: revision of istiod, where there are several')
    .option('--istiod-binary <path>', "lab only: run this program, Istio's pilot-discovery, as istiod, and peering beside it")
    .option('--ztunnel-binary <path>', "lab only: run this program, Istio's ztunnel, as ztunnel")
    .option('--timeout <seconds>', 'how long to wait for each component; 0 does not wait', '120')
    .action(async (options: Options) => {
      using client = clientFor(options);
      await installInto(client, options);
    });
  await runCommand(command, args);
}

async function installInto(client: KubeClient, options: Options): Promise<void> {
  const context = client.transport.config.context;
  const timeout = Number(options.timeout) * 1000;
  if (!Number.isFinite(timeout) || timeout < 0)
    throw new IsthmusError('ISTHMUS_USAGE', `--timeout ${options.timeout} is not a number of seconds`);
  const named = options.components === undefined ? undefined : parseComponents(commaList(options.components));
  const progress = (step: string): void => void process.stdout.write(`${context}: ${step}\n`);
  if (named?.size === 1 && named.has('peering')) {
    const { istioNamespace, revision } = options;
    const choice = { istioNamespace, revision };
    const given = {
      clusterId: options.cluster === undefined ? undefined : checkedClusterId(options.cluster),
      network: options.network,
      choice,
    };
    const { installPeeringBeside } = await import('./install/beside.ts');
    const { clusterId, network } = await installPeeringBeside({ client, image: options.image, ...given, progress, timeout });
    process.stdout.write(`${context}: peering installed, cluster id ${clusterId}, network ${network}\n`);
    return;
  }
  const clusterId = checkedClusterId(options.cluster ?? context);
  const { network = 'flat-network', trustDomain, image } = options;
  const programs = await placePrograms(client, { istiod: options.istiodBinary, ztunnel: options.ztunnelBinary });
  const components = named ?? defaultComponents(programs);
  if (components.has('peering') && components.has('istiod') && programs.istiod === undefined)
    throw new IsthmusError('INSTALL_PEERING_BUILT_IN', 'our istiod peers by itself', { hint: 'leave peering out of --components' });
  await install({ client, options: { clusterId, network, trustDomain, image, programs }, components, progress, timeout });
  process.stdout.write(`${context}: installed, cluster id ${clusterId}, network ${network}\n`);
}

/** Throws ISTHMUS_USAGE. */
function checkedClusterId(id: string): string {
  if (isClusterId(id)) return id;
  throw new IsthmusError('ISTHMUS_USAGE', `"${id}" cannot be a cluster id: only lower-case letters, digits and -, at most 63`, {
    hint: 'give --cluster NAME',
  });
}
