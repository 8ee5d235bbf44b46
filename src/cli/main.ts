import { flushCompileCache } from 'node:module';
import process from 'node:process';

import { describeError, IsthmusError } from '../core/index.ts';
import { globalOptionsLast } from './global-options.ts';

interface Command {
  readonly load: () => Promise<{ run(args: string[]): Promise<void> }>;
  readonly summary: string;
  /** Not in the image (docs/image.md). */
  readonly checkoutOnly?: boolean;
}

/** In the image everything is JavaScript already. */
const inImage = import.meta.filename.endsWith('.js');

/**
 * Each command is a module of its own, loaded only when it is called: a node runs many isthmus processes, and none
 * should pay for the code of the others. `run` gets the arguments after the command's name.
 */
const commands: Readonly<Record<string, Command>> = {
  demo: { load: () => import('./demo.ts'), summary: 'the whole guide on this machine: two clusters, one mesh', checkoutOnly: true },
  lab: { load: () => import('./lab.ts'), summary: 'local clusters on one flat network: up, down, status', checkoutOnly: true },
  ca: { load: () => import('./ca.ts'), summary: 'a shared root and an intermediate CA per cluster' },
  install: { load: () => import('./install.ts'), summary: 'put the mesh into a cluster' },
  uninstall: { load: () => import('./uninstall.ts'), summary: 'take the mesh out of a cluster' },
  multicluster: { load: () => import('./multicluster.ts'), summary: 'expose, link, unlink and check clusters, and show their peers' },
  version: { load: () => import('./version.ts'), summary: 'the version of this program' },
  istiod: { load: () => import('./istiod.ts'), summary: 'the control plane process' },
  peering: { load: () => import('./peering.ts'), summary: 'peering beside an Istio of others: one process a cluster' },
  ztunnel: { load: () => import('./ztunnel.ts'), summary: 'the node proxy process' },
  cni: { load: () => import('./cni.ts'), summary: 'the CNI agent process, and the CNI plugin' },
};

function usage(): string {
  const listed = Object.entries(commands).filter(([, { checkoutOnly }]) => checkoutOnly !== true || !inImage);
  const width = Math.max(...listed.map(([name]) => name.length));
  const lines = listed.map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return `usage: isthmus COMMAND\n\n${lines.join('\n')}\n\nisthmus COMMAND --help tells more.\n`;
}

async function main(args: string[]): Promise<void> {
  const [name, ...rest] = globalOptionsLast(args);
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(usage());
    return;
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    throw new IsthmusError('ISTHMUS_USAGE', `unknown command "${name}"`, { hint: 'isthmus help lists the commands' });
  }
  if (command.checkoutOnly === true && inImage) {
    throw new IsthmusError('ISTHMUS_USAGE', `"${name}" is not in the image`, { hint: 'run it from a checkout of Isthmus' });
  }
  await (await command.load()).run(rest);
}

/** 64 for wrong usage, as istioctl has it; 2 when `multicluster check` has found failures, 1 being its warnings; else 1. */
function exitCodeOf(error: unknown): number {
  if (!(error instanceof IsthmusError)) return 1;
  if (error.code === 'ISTHMUS_USAGE') return 64;
  return error.code === 'MULTICLUSTER_CHECK_FAILED' ? 2 : 1;
}

// Node writes its compile cache when a process ends well; one that runs until it is killed would leave nothing for the next,
// which then starts slower and keeps 15 MB more: what strips the types from TypeScript.
setTimeout(flushCompileCache, 3_000).unref();

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`isthmus: ${describeError(error)}\n`);
  process.exitCode = exitCodeOf(error);
}
