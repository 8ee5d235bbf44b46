import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';

import { IsthmusError } from '../core/index.ts';
import type { NetworkNamespace } from './namespace.ts';

/** child_process.spawn with the child in a network namespace. Errors come as the child's `error` event, as usual. */
export function spawnInside(
  namespace: NetworkNamespace,
  command: string,
  args: readonly string[],
  options: SpawnOptions = {},
): ChildProcess {
  return namespace.runInside(() => spawn(command, args, options));
}

export interface RunCommandOptions {
  /** Default: the namespace of the process. */
  readonly namespace?: NetworkNamespace;
  /** Given to its standard input, which is empty otherwise. */
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** The program is killed when it is aborted. */
  readonly signal?: AbortSignal;
  /** Exit codes that count as success; default only 0. */
  readonly accept?: readonly number[];
}

/**
 * Runs a system program to its end and returns what it printed. LINUX_COMMAND_FAILED when it cannot be started or fails,
 * with what it wrote to standard error.
 */
export async function runCommand(command: string, args: readonly string[], options: RunCommandOptions = {}): Promise<string> {
  const { namespace, input, env, signal, accept = [0] } = options;
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const start = (): ChildProcess =>
    spawn(command, args, {
      stdio: 'pipe',
      ...(env === undefined ? {} : { env }),
      ...(signal === undefined ? {} : { signal, killSignal: 'SIGKILL' }),
    });
  const child = namespace === undefined ? start() : namespace.runInside(start);
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk));
  const line = [command, ...args].join(' ');
  child.once('error', (cause) => {
    if (signal?.aborted === true) {
      reject(cause);
      return;
    }
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    reject(
      new IsthmusError('LINUX_COMMAND_FAILED', `${line}: cannot be started`, {
        cause,
        ...(missing ? { hint: `is ${command} installed?` } : {}),
      }),
    );
  });
  child.once('close', (code, killed) => {
    if (code !== null && accept.includes(code)) {
      resolve(Buffer.concat(output).toString());
      return;
    }
    const said = Buffer.concat(errors).toString().trim();
    reject(
      new IsthmusError(
        'LINUX_COMMAND_FAILED',
        `${line}: ${code === null ? `killed by ${killed ?? 'a signal'}` : `exit ${code}`}${said === '' ? '' : `: ${said}`}`,
      ),
    );
  });
  // A program that fails early leaves its input unread (EPIPE); its exit code and its words say more.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input ?? '');
  return await promise;
}

/** Applies a ruleset (the language of `nft -f`) in a namespace as one transaction: all of it or nothing. LINUX_COMMAND_FAILED. */
export async function applyNftables(namespace: NetworkNamespace, ruleset: string, signal?: AbortSignal): Promise<void> {
  await runCommand('nft', ['-f', '-'], { namespace, input: ruleset, ...(signal === undefined ? {} : { signal }) });
}
