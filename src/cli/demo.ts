import path from 'node:path';
import { performance } from 'node:perf_hooks';

import { Listr, type ListrTask } from 'listr2';

import { istioNamespace } from '../api/names.ts';
import { resources } from '../api/resources.ts';
import { defaultImage } from '../api/version.ts';
import { IsthmusError } from '../core/index.ts';
import { KubeClient } from '../kube/index.ts';
import { createCommand, runCommand } from './command.ts';
import {
  countVersions,
  crossClusterLogLine,
  demoNamespace,
  deploySamples,
  gatewayNamespace,
  globalUrl,
  linkClusters,
  waitForAnswers,
  waitForCheck,
  waitForEntries,
  type DemoCluster,
} from './demo/guide.ts';
import { createMeshCa } from './demo/mesh-ca.ts';
import { install } from './install/install.ts';
import { placePrograms } from './install/place-programs.ts';
import type { ClusterReport } from './multicluster/check.ts';
import { printReport } from './multicluster/report.ts';
import { getTable } from './table.ts';

interface Options {
  readonly keep?: true;
  readonly istiodBinary?: string;
  readonly ztunnelBinary?: string;
}

/** How many clusters the guide has. */
const clusterCount = 2;

/** How many requests the guide sends. */
const guideRequests = 10;

/** Pods of the global service in each cluster, by the sample's manifest. */
const podsPerCluster = 2;

/**
 * `isthmus demo`: the whole guide on this machine, from two clusters to the log line of a request that crossed between
 * them. Every step is the code of the command that the guide names. Exits non-zero if any of it is not true.
 */
export async function run(args: string[]): Promise<void> {
  const command = createCommand('demo', 'Two clusters, one mesh: the whole guide on this machine, then everything is removed.')
    .option('--keep', 'leave it running and print what to try next')
    .option(
      '--istiod-binary <path[,path]>',
      "run this program, Istio's pilot-discovery, as istiod, and peering beside it; two: one for each cluster, - for ours",
    )
    .option('--ztunnel-binary <path[,path]>', "run this program, Istio's ztunnel, as ztunnel; two: one for each cluster, - for ours")
    .action(async (options: Options) => {
      const istiods = await programsOf('--istiod-binary', options.istiodBinary);
      const ztunnels = await programsOf('--ztunnel-binary', options.ztunnelBinary);
      await demo(options.keep ?? false, (cluster) => ({ istiod: istiods[cluster], ztunnel: ztunnels[cluster] }));
    });
  await runCommand(command, args);
}

/** One program for each cluster, undefined for ours. Throws ISTHMUS_USAGE, LAB_PROGRAM. */
async function programsOf(option: string, value: string | undefined): Promise<readonly (string | undefined)[]> {
  const given = value?.split(',').map((file) => (file === '-' ? undefined : file)) ?? [undefined];
  if (given.length > clusterCount)
    throw new IsthmusError('ISTHMUS_USAGE', `${option} names ${String(given.length)} programs for ${String(clusterCount)} clusters`);
  const { checkProgram } = await import('../lab/index.ts');
  for (const file of given) if (file !== undefined) await checkProgram(file);
  return given.length === 1 ? Array.from({ length: clusterCount }, () => given[0]) : given;
}

async function demo(keep: boolean, binariesOf: (cluster: number) => DemoCluster['binaries']): Promise<void> {
  const { labDown, labStatus, labUp } = await import('../lab/index.ts');
  const begun = performance.now();
  const phases: { readonly name: string; readonly ms: number }[] = [];
  const clusters: DemoCluster[] = [];
  const reports = new Map<DemoCluster, ClusterReport>();
  let kubeconfig = '';
  let memory = '';
  const running = { lab: false };

  const phase = (name: string, work: (show: (text: string) => void) => Promise<void>): ListrTask => ({
    title: name,
    task: async (_, task) => {
      const start = performance.now();
      await work((text) => {
        task.output = text;
      });
      const ms = performance.now() - start;
      phases.push({ name, ms });
      task.title = `${name} (${seconds(ms)})`;
    },
  });

  const tasks = new Listr(
    [
      phase('Start two clusters on one flat network', async (show) => {
        const started = await labUp({ clusters: clusterCount, diesWithCaller: !keep, progress: show });
        running.lab = true;
        kubeconfig = started.kubeconfig;
        started.contexts.forEach((name, index) => {
          const binaries = binariesOf(index);
          clusters.push({
            name,
            client: KubeClient.fromKubeconfig({ path: kubeconfig, context: name }),
            version: `v${String(index + 1)}`,
            binaries,
            entryNamespace: binaries.istiod === undefined ? istioNamespace : demoNamespace,
          });
        });
      }),
      phase('Install the mesh: shared root, CRDs, istiod, CNI agent, ztunnel', async (show) => {
        await createMeshCa(path.join(path.dirname(kubeconfig), 'ca'), clusters);
        await Promise.all(
          clusters.map(async ({ client, name, binaries }) => {
            const programs = await placePrograms(client, binaries);
            await install({
              client,
              options: { clusterId: name, network: 'flat-network', trustDomain: 'cluster.local', image: defaultImage, programs },
              progress: (step) => show(`${name}: ${step}`),
              timeout: 60_000,
            });
          }),
        );
      }),
      phase('Link the clusters: east-west gateways and peers', async (show) => {
        await linkClusters(clusters, show);
        for (const cluster of clusters) reports.set(cluster, await waitForCheck(cluster));
      }),
      phase('Deploy the sample apps into the mesh', async () => {
        await Promise.all(clusters.map(deploySamples));
      }),
      phase('Wait for the global service in both clusters', async () => {
        await Promise.all(
          clusters.map((cluster) =>
            waitForEntries(
              cluster,
              clusters.filter((other) => other !== cluster),
              podsPerCluster,
            ),
          ),
        );
        await waitForAnswers(first(clusters), clusters);
      }),
    ],
    { concurrent: false, exitOnError: true, rendererOptions: { collapseSubtasks: false }, fallbackRenderer: 'simple' },
  );

  try {
    await tasks.run();
    await show(clusters, reports);
    const { processes } = await labStatus();
    memory = `${Math.round(processes.memoryKilobytes / 1024)} MiB in ${processes.count} processes`;
    if (keep) printNextSteps(kubeconfig);
  } finally {
    for (const { client } of clusters) client[Symbol.dispose]();
    if (running.lab && !keep) {
      const start = performance.now();
      await labDown();
      phases.push({ name: 'Remove everything', ms: performance.now() - start });
    }
  }
  process.stdout.write('\nTime per phase\n');
  for (const { name, ms } of phases) process.stdout.write(`  ${seconds(ms).padStart(7)}  ${name}\n`);
  process.stdout.write(`  ${seconds(performance.now() - begun).padStart(7)}  in all; ${memory}, shared pages counted once\n`);
}

/** Prints what the guide prints, each from the cluster it comes from. Throws DEMO_UNTRUE when an answer is missing. */
async function show(clusters: readonly DemoCluster[], reports: ReadonlyMap<DemoCluster, ClusterReport>): Promise<void> {
  type Kind = (typeof resources)[keyof typeof resources];
  const section = async (command: string, type: Kind, namespaceOf: (cluster: DemoCluster) => string): Promise<void> => {
    for (const cluster of clusters) {
      const { client, name } = cluster;
      const namespace = namespaceOf(cluster);
      process.stdout.write(`\n$ kubectl get ${command} -n ${namespace} --context ${name}\n${await getTable(client, type, namespace)}`);
    }
  };
  await section('pods', resources.pods, () => istioNamespace);
  await section('gateway', resources.gateways, () => gatewayNamespace);
  for (const cluster of clusters) {
    process.stdout.write(`\n$ isthmus multicluster check --context ${cluster.name}\n`);
    const report = reports.get(cluster);
    if (report !== undefined) printReport(report, false);
  }
  await section('serviceentry', resources.serviceEntries, ({ entryNamespace }) => entryNamespace);
  await section('workloadentry', resources.workloadEntries, ({ entryNamespace }) => entryNamespace);

  const from = first(clusters);
  const counts = await countVersions(from, guideRequests);
  process.stdout.write(`\n${String(guideRequests)} requests from sleep in ${from.name} to ${globalUrl}\n`);
  for (const [version, count] of [...counts].sort()) process.stdout.write(`${String(count).padStart(7)} version: ${version}\n`);
  const answered = [...counts.values()].reduce((sum, count) => sum + count, 0);
  if (answered !== guideRequests)
    throw new IsthmusError('DEMO_UNTRUE', `only ${String(answered)} of ${String(guideRequests)} requests were answered`);

  const other = clusters.find((cluster) => cluster !== from) ?? from;
  const line = await crossClusterLogLine(from, other);
  process.stdout.write(
    `\n$ kubectl logs -n ${istioNamespace} ds/ztunnel --context ${from.name}   (from ${demoNamespace}/sleep straight to a pod of ${other.name})\n${line}\n`,
  );
}

function printNextSteps(kubeconfig: string): void {
  process.stdout.write(`
The clusters keep running. What to try next:
  export KUBECONFIG=${kubeconfig}
  kubectl --context cluster-1 get pods -A
  kubectl --context cluster-1 exec -n ${demoNamespace} deploy/sleep -- curl -s ${globalUrl}
  kubectl --context cluster-1 scale -n ${demoNamespace} deploy/global-service --replicas=0
  isthmus lab status
  isthmus lab down
`);
}

function first<T>(items: readonly T[]): T {
  const [item] = items;
  if (item === undefined) throw new IsthmusError('ISTHMUS_INTERNAL', 'the lab has no cluster');
  return item;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
