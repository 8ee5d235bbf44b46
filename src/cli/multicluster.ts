import { describeError, IsthmusError } from '../core/index.ts';
import { KubeClient } from '../kube/index.ts';
import { clientFor, commaList, createCommand, runCommand, withClusterOptions, type ClusterOptions } from './command.ts';
import { checkClusters, severityOf, waitForClusters, type ClusterReport } from './multicluster/check.ts';
import { expose } from './multicluster/expose.ts';
import type { Severity } from './multicluster/findings.ts';
import { gatewayNamespace } from './multicluster/link-checks.ts';
import { link, writeLink } from './multicluster/link.ts';
import { findMesh, readMeshIdentity } from './multicluster/mesh-identity.ts';
import { printReport, reportJson } from './multicluster/report.ts';
import { readStatus, statusTable } from './multicluster/status.ts';
import { unlink } from './multicluster/unlink.ts';
import { Option, type Command } from 'commander';

interface MeshOptions extends ClusterOptions {
  readonly istioNamespace?: string;
  readonly revision?: string;
}

interface ExposeOptions extends MeshOptions {
  readonly namespace: string;
  readonly contexts?: readonly string[];
  readonly createNamespace?: true;
  readonly generate?: true;
  readonly wait?: true;
  readonly timeout: number;
}

interface LinkOptions extends MeshOptions {
  readonly namespace: string;
  readonly contexts?: readonly string[];
  readonly peerContext?: readonly string[];
  readonly peer?: string;
  readonly address?: readonly string[];
  readonly peerNetwork?: string;
  readonly peerTrustDomain?: string;
  readonly peerCaSha256?: string;
  readonly generate?: true;
  readonly dryRun?: true;
  readonly timeout: number;
}

interface UnlinkOptions extends MeshOptions {
  readonly namespace?: string;
  readonly contexts?: readonly string[];
  readonly peer?: readonly string[];
  readonly dryRun?: true;
  readonly timeout: number;
}

interface CheckOptions extends MeshOptions {
  readonly contexts?: readonly string[];
  readonly precheck?: true;
  readonly verbose?: true;
  readonly output?: string;
  readonly failOn: string;
  readonly wait?: true;
  readonly timeout: number;
}

interface StatusOptions extends MeshOptions {
  readonly contexts?: readonly string[];
  readonly output?: string;
}

/** `isthmus multicluster expose | link | unlink | status | check`, with istioctl's options. */
export async function run(args: string[]): Promise<void> {
  const command = createCommand('multicluster', 'Expose, link and check clusters, with our istiod or beside an Istio of others.');

  withMeshOptions(command.command('expose').description('Create the east-west gateway, through which peers reach the control plane.'))
    .option('--contexts <a,b,…>', 'expose several clusters', commaList)
    .option('-n, --namespace <name>', 'namespace of the gateway', gatewayNamespace)
    .option('--create-namespace', 'make the namespace if it is not there')
    .option('--generate', 'print the Gateway as YAML instead of applying it')
    .option('--wait', 'wait until it is programmed')
    .addOption(timeoutOption('how long --wait waits', 60))
    .action(async (options: ExposeOptions) => {
      using clients = clientsFor(options);
      const { namespace, timeout } = options;
      for (const client of clients.all) {
        await expose({
          client,
          namespace,
          timeout,
          ...choiceOf(options),
          createNamespace: options.createNamespace ?? false,
          generate: options.generate ?? false,
          wait: options.wait ?? false,
          print,
        });
      }
    });

  withMeshOptions(command.command('link').description('Let clusters import from each other, or one import from others.'))
    .option('--contexts <a,b,…>', 'link each of these clusters to each other one', commaList)
    .option('--peer-context <a,b,…>', 'one direction: let --context import from these clusters', commaList)
    .option('--peer <cluster id>', 'one direction, to a cluster that the kubeconfig does not have; needs --address')
    .option('--address <[cluster=]host[:port],…>', 'where a peer is reached instead of at its east-west gateway', commaList)
    .option('--peer-network <name>', "with --peer: the peer's network; default this cluster's")
    .option('--peer-trust-domain <name>', "with --peer: the peer's trust domain; default this cluster's")
    .option('--peer-ca-sha256 <hex>', "with --peer: fingerprint of the peer's CA; without it the first one seen is pinned")
    .option('-n, --namespace <name>', 'namespace of the gateways', gatewayNamespace)
    .option('--generate', 'print the Gateways as YAML instead of applying them')
    .option('--dry-run', 'say what would be applied')
    .addOption(timeoutOption("how long to wait for each cluster's gateway to have an address", 60))
    .action(linkClusters);

  withMeshOptions(command.command('unlink').description('Remove links, and wait until what came over them is gone.'))
    .option('--contexts <a,b,…>', 'remove the links between these clusters, both directions', commaList)
    .option('--peer <cluster id,…>', 'remove the links of --context to these clusters, which need not exist any more', commaList)
    .option('-n, --namespace <name>', 'only links in this namespace; default all')
    .option('--dry-run', 'say what would be deleted')
    .addOption(timeoutOption('how long to wait until the entries are removed; 0 does not wait', 60))
    .action(unlinkClusters);

  withMeshOptions(command.command('status').description('Show the peers of clusters, and what came from them.'))
    .option('--contexts <a,b,…>', 'show several clusters', commaList)
    .option('-o, --output <format>', 'json or yaml; default a table', oneOf('json', 'yaml'))
    .action(async (options: StatusOptions) => {
      using clients = clientsFor(options);
      const clusters = await readStatus(clients.all, choiceOf(options));
      if (options.output === undefined) process.stdout.write(statusTable(clusters, Date.now()));
      else await printValue({ clusters }, options.output);
    });

  withMeshOptions(
    command
      .command('check')
      .description('Check control plane, data plane, gateways and peers. Exit code 0: well, 1: warnings, 2: failures.'),
  )
    .option('--contexts <a,b,…>', 'check several clusters, and whether they fit each other', commaList)
    .option('-p, --precheck', 'before linking: leaves out the peers')
    .option('-v, --verbose', 'details of every check')
    .option('-o, --output <format>', 'json', oneOf('json'))
    .option(
      '--fail-on <severity>',
      'warning or failure: the least that makes the exit code other than 0',
      oneOf('warning', 'failure'),
      'warning',
    )
    .option('--wait', 'check again after every change, until all is well')
    .addOption(timeoutOption('how long --wait waits', 120))
    .action(check);

  await runCommand(command, args);
}

async function linkClusters(options: LinkOptions): Promise<void> {
  const { namespace, timeout, peer, peerContext } = options;
  const common = { namespace, timeout, print, generate: options.generate ?? false, dryRun: options.dryRun ?? false };
  const ways = [options.contexts, peerContext, peer].filter((way) => way !== undefined);
  if (ways.length !== 1) {
    throw new IsthmusError('ISTHMUS_USAGE', 'give one of --contexts, --peer-context and --peer', {
      hint: 'isthmus multicluster link --help',
    });
  }
  if (peer !== undefined) {
    const [address, ...more] = options.address ?? [];
    if (address === undefined || more.length > 0) {
      throw new IsthmusError('ISTHMUS_USAGE', '--peer needs one --address', { hint: '--address HOST or HOST:PORT' });
    }
    using client = clientFor(options);
    const mesh = await readMeshIdentity(client, choiceOf(options));
    await writeLink({
      ...common,
      client,
      peer: {
        clusterId: checkedId(peer),
        network: options.peerNetwork ?? mesh.network,
        trustDomain: options.peerTrustDomain ?? mesh.trustDomain,
        address: address.startsWith(`${peer}=`) ? address.slice(peer.length + 1) : address,
        caSha256: options.peerCaSha256,
      },
    });
    return;
  }
  const addresses = addressesOf(options.address ?? []);
  using here = options.contexts === undefined ? clientsFor({ ...options, contexts: undefined }) : clientsFor({ ...options, atLeast: 2 });
  using there = peerContext === undefined ? undefined : clientsFor({ ...options, contexts: peerContext });
  await link({ ...common, ...choiceOf(options), addresses, clients: here.all, ...(there && { peers: there.all }) });
}

async function unlinkClusters(options: UnlinkOptions): Promise<void> {
  const { namespace, timeout, peer } = options;
  const common = { namespace, timeout, print, dryRun: options.dryRun ?? false };
  if ((options.contexts === undefined) === (peer === undefined)) {
    throw new IsthmusError('ISTHMUS_USAGE', 'give either --contexts or --peer', { hint: 'isthmus multicluster unlink --help' });
  }
  if (peer !== undefined) {
    using client = clientFor(options);
    await unlink({ ...common, client, peers: peer.map(checkedId) });
    return;
  }
  using clients = clientsFor({ ...options, atLeast: 2 });
  const ids = await Promise.all(clients.all.map(async (client) => (await findMesh(client, choiceOf(options))).clusterId));
  for (const [at, client] of clients.all.entries()) {
    await unlink({ ...common, client, peers: [...new Set(ids.filter((id) => id !== ids[at]))] });
  }
}

async function check(options: CheckOptions): Promise<void> {
  using clients = clientsToCheck(options);
  const failOn: Severity = options.failOn === 'failure' ? 'failure' : 'warning';
  const what = { clients: clients.all, peers: options.precheck !== true, ...choiceOf(options) };
  const checking = options.wait === true ? waitForClusters({ ...what, timeout: options.timeout, failOn }) : checkClusters(what);
  const reports = await checking.catch((error: unknown) => {
    throw cannotCheck(error);
  });
  if (options.output === undefined) printReports(reports, options.verbose ?? false);
  else await printValue(reportJson(reports), options.output);
  const severity = severityOf(reports);
  if (severity === 'failure') throw new IsthmusError('MULTICLUSTER_CHECK_FAILED', 'multicluster check found issues');
  if (severity === 'warning' && failOn === 'warning') process.exitCode = 1;
}

function clientsToCheck(options: CheckOptions): Clients {
  try {
    return clientsFor(options);
  } catch (error) {
    throw cannotCheck(error);
  }
}

/** Exit code 1 is that of warnings: a cluster that cannot be checked is worse. */
function cannotCheck(error: unknown): IsthmusError {
  return new IsthmusError('MULTICLUSTER_CHECK_FAILED', `cannot check: ${describeError(error)}`, { cause: error });
}

function printReports(reports: readonly ClusterReport[], verbose: boolean): void {
  for (const report of reports) {
    if (reports.length > 1) print(`=== Cluster: ${report.context} ===`);
    printReport(report, verbose);
  }
}

function withMeshOptions(command: Command): Command {
  return withClusterOptions(command)
    .option('-i, --istioNamespace <name>', 'namespace of istiod; default: it is looked for in all')
    .option('--revision <name>', 'revision of istiod, where there are several');
}

function choiceOf({ istioNamespace, revision }: MeshOptions): { istioNamespace?: string | undefined; revision?: string | undefined } {
  return { istioNamespace, revision };
}

/** `cluster-2=host:port` by cluster; throws ISTHMUS_USAGE for one without a cluster. */
function addressesOf(list: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    list.map((text): [string, string] => {
      const [, cluster, address] = /^([^=]+)=(.+)$/.exec(text) ?? [];
      if (cluster !== undefined && address !== undefined) return [cluster, address];
      throw new IsthmusError('ISTHMUS_USAGE', `--address ${text} does not say of which cluster`, {
        hint: 'give CLUSTER=HOST or CLUSTER=HOST:PORT',
      });
    }),
  );
}

/** A cluster id becomes a part of names. */
function checkedId(id: string): string {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(id)) return id;
  throw new IsthmusError('ISTHMUS_USAGE', `"${id}" cannot be a cluster id`, { hint: 'use lower-case letters, digits and -, at most 63' });
}

/** `--timeout`, in milliseconds for the code and in seconds for who reads --help. */
function timeoutOption(description: string, defaultSeconds: number): Option {
  return new Option('--timeout <seconds>', description).argParser(seconds).default(defaultSeconds * 1000, String(defaultSeconds));
}

/** Milliseconds of a number of seconds. */
function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value * 1000;
  throw new IsthmusError('ISTHMUS_USAGE', `"${text}" is not a number of seconds`);
}

function oneOf(...values: readonly string[]): (text: string) => string {
  return (text) => {
    if (values.includes(text)) return text;
    throw new IsthmusError('ISTHMUS_USAGE', `"${text}" is none of ${values.join(', ')}`);
  };
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function printValue(value: unknown, format: string): Promise<void> {
  if (format === 'yaml') process.stdout.write((await import('yaml')).stringify(JSON.parse(JSON.stringify(value))));
  else process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

interface Clients extends Disposable {
  readonly all: readonly KubeClient[];
}

/** A client for each of the contexts, or for the one that --context or the kubeconfig names. */
function clientsFor(options: ClusterOptions & { readonly contexts?: readonly string[] | undefined; readonly atLeast?: number }): Clients {
  const contexts = options.contexts ?? [options.context];
  if (contexts.length < (options.atLeast ?? 1)) {
    throw new IsthmusError('ISTHMUS_USAGE', '--contexts names one cluster only', { hint: 'give two or more: --contexts=a,b' });
  }
  const stack = new DisposableStack();
  const all = contexts.map((context) => stack.use(KubeClient.fromKubeconfig({ path: options.kubeconfig, context })));
  return { all, [Symbol.dispose]: () => stack.dispose() };
}
