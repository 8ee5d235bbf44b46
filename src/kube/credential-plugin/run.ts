import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import path from 'node:path';

import { IsthmusError } from '../../core/index.ts';
import type { ExecConfig } from './config.ts';
import { execInfo } from './exec-credential.ts';

/** More than any token or chain; a program that prints more is the wrong one. */
const maxOutputBytes = 1024 * 1024;
/** How long a plugin has to end by itself once it is told to, and output to come to an end after the plugin. */
const graceMs = 1_000;

/**
 * Runs a plugin once and resolves with what it printed on stdout; its stderr is ours. Throws KUBE_EXEC_NOT_FOUND, KUBE_EXEC_FAILED,
 * KUBE_EXEC_TIMEOUT when it runs longer than `timeoutMs`, and the signal's reason.
 */
export async function runPlugin(
  config: ExecConfig,
  options: { readonly interactive: boolean; readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<string> {
  options.signal.throwIfAborted();
  const file = findCommand(config);
  const child = spawn(file, config.args, {
    env: { ...process.env, ...config.env, KUBERNETES_EXEC_INFO: execInfo(config, options.interactive) },
    stdio: [options.interactive ? 'inherit' : 'ignore', 'pipe', 'inherit'],
  });
  const timeout = new AbortController();
  const timer = setTimeout(() => {
    const message = `the credential plugin ${config.command} did not end within ${options.timeoutMs / 1000} s`;
    timeout.abort(new IsthmusError('KUBE_EXEC_TIMEOUT', message, { hint: 'run the command of users[].user.exec by hand' }));
  }, options.timeoutMs);
  try {
    return await outputOf(child, config, AbortSignal.any([options.signal, timeout.signal]));
  } finally {
    clearTimeout(timer);
  }
}

async function outputOf(child: ChildProcess, config: ExecConfig, signal: AbortSignal): Promise<string> {
  const { promise: ended, resolve, reject } = Promise.withResolvers<undefined>();
  const chunks: Buffer[] = [];
  let size = 0;
  const timers: NodeJS.Timeout[] = [];
  let stopped: Error | undefined;
  const stop = (reason: Error): void => {
    stopped ??= reason;
    child.kill('SIGTERM');
    timers.push(setTimeout(() => child.kill('SIGKILL'), graceMs));
  };
  const onAbort = (): void => stop(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  child.stdout?.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= maxOutputBytes) chunks.push(chunk);
    else stop(new IsthmusError('KUBE_EXEC_INVALID', `the credential plugin ${config.command} printed more than ${maxOutputBytes} bytes`));
  });
  child.once('error', (error) => reject(notRunnable(config, error)));
  // What the plugin leaves running may hold its stdout open for ever.
  child.once('exit', () => timers.push(setTimeout(() => child.stdout?.destroy(), graceMs)));
  child.once('close', () => resolve(undefined));
  try {
    await ended;
  } finally {
    signal.removeEventListener('abort', onAbort);
    for (const timer of timers) clearTimeout(timer);
  }
  if (stopped !== undefined) throw stopped;
  if (child.exitCode === 0) return Buffer.concat(chunks).toString('utf8');
  const how = child.exitCode === null ? `was ended by ${String(child.signalCode)}` : `failed with exit code ${child.exitCode}`;
  throw new IsthmusError('KUBE_EXEC_FAILED', `the credential plugin ${config.command} ${how}`, {
    hint: 'it says why on stderr, above; often a login has expired',
  });
}

/**
 * The file to run. Looked up in our own PATH, whatever `env` of the kubeconfig says, and never in the working directory, as client-go
 * does: a kubeconfig's bare name must not run what happens to lie there.
 */
function findCommand(config: ExecConfig): string {
  const { command } = config;
  if (command.includes('/')) {
    const problem = problemOf(command);
    if (problem !== undefined) throw notRunnable(config, problem);
    return command;
  }
  const directories = (process.env['PATH'] ?? '').split(':').filter((directory) => path.isAbsolute(directory));
  const found = directories.map((directory) => path.join(directory, command)).find((file) => problemOf(file) === undefined);
  if (found === undefined) throw notRunnable(config, new Error('there is none in PATH'));
  return found;
}

function problemOf(file: string): Error | undefined {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile() ? undefined : new Error('it is not a file');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? new Error('there is no such file') : new Error('it is not executable');
  }
}

function notRunnable({ command, installHint }: ExecConfig, cause: Error): IsthmusError {
  // An error of spawn names the arguments as well, which are nobody else's business.
  const why = 'code' in cause && typeof cause.code === 'string' ? `spawn ${cause.code}` : cause.message;
  return new IsthmusError('KUBE_EXEC_NOT_FOUND', `the credential plugin ${command} cannot be run: ${why}`, {
    hint: installHint ?? 'install the plugin that users[].user.exec of the kubeconfig names, or correct PATH',
  });
}
