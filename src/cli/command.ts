import { Command, CommanderError } from 'commander';

import { IsthmusError } from '../core/index.ts';
import { KubeClient } from '../kube/index.ts';

/** A commander program for one command; mistakes become ISTHMUS_USAGE instead of an exit inside the library. */
export function createCommand(name: string, description: string): Command {
  return new Command(`isthmus ${name}`)
    .description(description)
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .helpCommand(false);
}

/** Parses the arguments after the command's name and runs the action that they select. */
export async function runCommand(command: Command, args: readonly string[]): Promise<void> {
  try {
    await command.parseAsync([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return;
    if (error.code === 'commander.help') {
      process.stderr.write(command.helpInformation());
      throw new IsthmusError('ISTHMUS_USAGE', 'a subcommand is missing');
    }
    const message = error.message.replace(/^error: /, '');
    throw new IsthmusError('ISTHMUS_USAGE', message, { hint: `${command.name()} --help` });
  }
}

export interface ClusterOptions {
  readonly context?: string;
  readonly kubeconfig?: string;
}

/** The options by which every command that talks to a cluster is told which one: istioctl's names. */
export function withClusterOptions(command: Command): Command {
  return command
    .option('--context <name>', "kubeconfig context; default the kubeconfig's current one")
    .option('-c, --kubeconfig <file>', 'kubeconfig file; default $KUBECONFIG, then ~/.kube/config');
}

/** A client for the cluster that the options name. Throws KUBE_CONFIG. */
export function clientFor(options: ClusterOptions): KubeClient {
  return KubeClient.fromKubeconfig({ path: options.kubeconfig, context: options.context });
}

/** Splits `a,b` and drops blanks; throws ISTHMUS_USAGE when nothing is left. */
export function commaList(value: string): readonly string[] {
  const parts = value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (parts.length === 0) throw new IsthmusError('ISTHMUS_USAGE', `"${value}" names nothing; give a list like a,b`);
  return parts;
}
