import { Option } from 'commander';

import { IsthmusError } from '../core/index.ts';
import type { LabStatus } from '../lab/index.ts';
import { createCommand, runCommand } from './command.ts';

interface UpOptions {
  readonly clusters: string;
  readonly port?: string;
  readonly network: 'flat' | 'separate';
}

/** `isthmus lab up | down | status`, and the lab's own processes (`supervise`, `apiserver`, `controllers`, `node`). */
export async function run(args: string[]): Promise<void> {
  const command = createCommand('lab', 'Local clusters on one flat network, for trying and testing the mesh.');
  command
    .command('up')
    .description('start the clusters and write a kubeconfig')
    .option('--clusters <count>', 'how many', '2')
    .option(
      '--port <port>',
      "loopback port of the first cluster's API server, the next cluster has the next; default $ISTHMUS_LAB_PORT, then 16441",
    )
    .addOption(
      new Option('--network <mode>', 'flat: pods of all clusters reach each other; separate: only the nodes do')
        .choices(['flat', 'separate'])
        .default('flat'),
    )
    .action(up);
  command.command('down').description('end the clusters and remove their files').action(down);
  command
    .command('status')
    .description('clusters, nodes and processes')
    .addOption(new Option('-o, --output <format>', 'json for programs').choices(['text', 'json']).default('text'))
    .action(status);
  for (const name of ['supervise', 'apiserver', 'controllers', 'node'] as const) {
    command
      .command(name, { hidden: true })
      .argument('[config]')
      .action(async (config: string = '') => {
        const { labProcesses } = await import('../lab/index.ts');
        await labProcesses[name](config);
      });
  }
  await runCommand(command, args);
}

async function up(options: UpOptions): Promise<void> {
  const { labUp } = await import('../lab/index.ts');
  const lab = await labUp({
    clusters: wholeNumber(options.clusters, '--clusters'),
    ...(options.port !== undefined && { port: wholeNumber(options.port, '--port') }),
    network: options.network,
    progress: (message) => process.stderr.write(`isthmus: ${message}\n`),
  });
  process.stdout.write(`Ready: contexts ${lab.contexts.join(', ')}\nexport KUBECONFIG=${lab.kubeconfig}\n`);
}

async function down(): Promise<void> {
  const { labDown } = await import('../lab/index.ts');
  const { was } = await labDown();
  process.stdout.write(was === 'running' ? 'The lab is down.\n' : 'The lab had ended by itself; its files are removed.\n');
}

async function status({ output }: { readonly output: 'text' | 'json' }): Promise<void> {
  const { labStatus } = await import('../lab/index.ts');
  const found = await labStatus();
  process.stdout.write(output === 'json' ? `${JSON.stringify(found, undefined, 2)}\n` : statusText(found));
}

function statusText({ directory, kubeconfig, clusters, processes }: LabStatus): string {
  const lines = [
    `lab in ${directory}: ${processes.count} processes, ${megabytes(processes.memoryKilobytes)} of memory`,
    `export KUBECONFIG=${kubeconfig}`,
  ];
  for (const { name, server, node, api, processes: own } of clusters) {
    const health =
      'error' in api
        ? `API server does not answer: ${api.error}`
        : `node ${api.nodeReady ? 'Ready' : 'NotReady'}, ${api.podsReady} of ${api.pods} pods ready`;
    lines.push('', `${name}  ${server}  ${node}  ${health}`, '  PROCESS      PID      RESTARTS  RSS');
    for (const { name: process, pid, restarts, rssKilobytes } of own) {
      lines.push(`  ${process.padEnd(11)}  ${String(pid ?? '-').padEnd(7)}  ${String(restarts).padEnd(8)}  ${megabytes(rssKilobytes)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function megabytes(kilobytes: number): string {
  return `${Math.round(kilobytes / 1024)} MiB`;
}

function wholeNumber(value: string, option: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new IsthmusError('ISTHMUS_USAGE', `${option} takes a number, not "${value}"`);
  return Number(value);
}
