import { istioNamespace, labels } from '../api/names.ts';
import { clientFor, createCommand, runCommand, withClusterOptions, type ClusterOptions } from './command.ts';
import { uninstall } from './install/uninstall.ts';

/** `isthmus uninstall`: everything that install made goes, and captured pods are back to plain traffic. */
export async function run(args: string[]): Promise<void> {
  const description = `Take the mesh out of a cluster: the label ${labels.dataplaneMode} comes off every namespace and pod first, so that nothing stays captured; then all that install made goes, ${istioNamespace} included.`;
  const command = withClusterOptions(createCommand('uninstall', description)).action(async (options: ClusterOptions) => {
    using client = clientFor(options);
    const context = client.transport.config.context;
    await uninstall({ client, progress: (step) => process.stdout.write(`${context}: ${step}\n`), timeout: 60_000 });
    process.stdout.write(`${context}: uninstalled\n`);
  });
  await runCommand(command, args);
}
