import { istioNamespace, labels } from '../api/names.ts';
import { IsthmusError } from '../core/index.ts';
import { clientFor, commaList, createCommand, runCommand, withClusterOptions, type ClusterOptions } from './command.ts';
import { parseComponents } from './install/options.ts';
import { uninstallPeering } from './install/uninstall-peering.ts';
import { uninstall } from './install/uninstall.ts';

interface Options extends ClusterOptions {
  readonly components?: string;
}

/** `isthmus uninstall`: everything that install made goes, and captured pods are back to plain traffic; or peering alone. */
export async function run(args: string[]): Promise<void> {
  const description = `Take the mesh out of a cluster: the label ${labels.dataplaneMode} comes off every namespace and pod first, so that nothing stays captured; then all that install made goes, ${istioNamespace} included.`;
  const command = withClusterOptions(createCommand('uninstall', description))
    .option('--components <list>', 'peering: take only that out, and leave the Istio beside it as it is; default all')
    .action(async (options: Options) => {
      const takeOut = options.components === undefined ? uninstall : onlyPeering(options.components);
      using client = clientFor(options);
      const context = client.transport.config.context;
      await takeOut({ client, progress: (step) => process.stdout.write(`${context}: ${step}\n`), timeout: 60_000 });
      process.stdout.write(`${context}: uninstalled\n`);
    });
  await runCommand(command, args);
}

/** The other components need each other: they go together. */
function onlyPeering(list: string): typeof uninstallPeering {
  const components = parseComponents(commaList(list));
  if (components.size === 1 && components.has('peering')) return uninstallPeering;
  throw new IsthmusError('ISTHMUS_USAGE', 'only peering can be taken out by itself', { hint: 'leave --components out to take all out' });
}
