import { isatty } from 'node:tty';

import { IsthmusError, systemClock, type Clock } from '../../core/index.ts';
import type { Credentials, CredentialSource } from '../credentials.ts';
import type { ExecConfig } from './config.ts';
import { parseExecCredential, type PluginCredentials } from './exec-credential.ts';
import { runPlugin } from './run.ts';

export interface CredentialPluginOptions {
  /** How long a run may take, milliseconds; default 60,000, and 300,000 for one that may ask the user something. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  /** Whether standard input is a terminal; default: whether it is. */
  readonly isTerminal?: () => boolean;
}

/** Refreshed this long before the end, or a tenth of the time there is when that is less; milliseconds. */
const refreshAheadMs = 60_000;
/** How long a failure, or a server's refusal of fresh credentials, stands before the plugin is run again; milliseconds. */
const retryAfterMs = 5_000;

/** Plugins of this process by configuration: clients of one cluster share what a run gave, as with client-go. */
const plugins = new Map<string, CredentialPlugin>();

/** Plugins that share our standard input, run one after the other: two questions at once could not be answered. */
let lastInteractive: Promise<unknown> = Promise.resolve();

interface Run {
  readonly result: Promise<PluginCredentials>;
  readonly stop: AbortController;
  /** Requests that wait for it; when the last gives up, so does the run. */
  waiting: number;
}

/**
 * Credentials from an exec plugin: `users[].user.exec`, client-go's credential plugins.
 *
 * Runs the command when credentials are needed and there are none that are good, once for all who wait. Methods throw the
 * KUBE_EXEC_ codes. Nothing that a plugin prints on stdout gets into an error or a log.
 */
export class CredentialPlugin implements CredentialSource {
  readonly #config: ExecConfig;
  readonly #options: Required<Omit<CredentialPluginOptions, 'timeoutMs'>> & Pick<CredentialPluginOptions, 'timeoutMs'>;
  #held: PluginCredentials | undefined;
  /** When #held is to be refreshed, milliseconds since 1970. */
  #refreshAt = 0;
  #run: Run | undefined;
  #failed: { readonly error: unknown; readonly at: number } | undefined;
  #refusedAt = -Infinity;

  constructor(config: ExecConfig, options: CredentialPluginOptions = {}) {
    this.#config = config;
    this.#options = { clock: systemClock, isTerminal: () => isatty(0), ...options };
  }

  /** The one plugin of this process with this configuration. */
  static shared(config: ExecConfig): CredentialPlugin {
    const key = JSON.stringify(config);
    const plugin = plugins.get(key) ?? new CredentialPlugin(config);
    plugins.set(key, plugin);
    return plugin;
  }

  async current(signal?: AbortSignal): Promise<Credentials> {
    const now = this.#options.clock.now();
    const held = this.#held;
    if (held !== undefined && now < this.#refreshAt) return held;
    try {
      return await this.#refresh(signal);
    } catch (error) {
      signal?.throwIfAborted();
      // It failed while there was still time: the next request tries again, and until the end these are good.
      if (held !== undefined && this.#held === held && this.#options.clock.now() < (held.expiresAt ?? Infinity)) return held;
      throw error;
    }
  }

  async replace(refused: Credentials, signal?: AbortSignal): Promise<Credentials | undefined> {
    if (this.#held !== undefined && this.#held !== refused) return this.#held;
    const now = this.#options.clock.now();
    if (this.#run === undefined && now - this.#refusedAt < retryAfterMs) return undefined;
    this.#refusedAt = now;
    const { token, cert, key } = await this.#refresh(signal);
    return token === refused.token && cert === refused.cert && key === refused.key ? undefined : this.#held;
  }

  async #refresh(signal: AbortSignal | undefined): Promise<PluginCredentials> {
    signal?.throwIfAborted();
    if (this.#failed !== undefined && this.#options.clock.now() - this.#failed.at < retryAfterMs) throw this.#failed.error;
    const run = (this.#run ??= this.#start());
    run.waiting += 1;
    const { promise: givenUp, reject } = Promise.withResolvers<never>();
    const giveUp = (): void => reject(signal?.reason as Error);
    signal?.addEventListener('abort', giveUp, { once: true });
    try {
      return await Promise.race([run.result, givenUp]);
    } finally {
      signal?.removeEventListener('abort', giveUp);
      run.waiting -= 1;
      if (run.waiting === 0) run.stop.abort(new Error('nobody waits for the credential plugin any more'));
    }
  }

  #start(): Run {
    const stop = new AbortController();
    const result = this.#fetch(stop.signal).then(
      (credentials) => {
        const now = this.#options.clock.now();
        const left = (credentials.expiresAt ?? Infinity) - now;
        this.#refreshAt = now + left - Math.min(refreshAheadMs, left / 10);
        this.#held = credentials;
        this.#failed = undefined;
        return credentials;
      },
      (error: unknown) => {
        // A run that was given up says nothing about the plugin.
        if (!stop.signal.aborted) this.#failed = { error, at: this.#options.clock.now() };
        throw error;
      },
    );
    const run: Run = { result, stop, waiting: 0 };
    const end = (): void => {
      if (this.#run === run) this.#run = undefined;
    };
    // Whoever waits hears of a failure through `result`.
    result.then(end, end);
    stop.signal.addEventListener('abort', end, { once: true });
    return run;
  }

  async #fetch(signal: AbortSignal): Promise<PluginCredentials> {
    const { command, apiVersion, interactiveMode } = this.#config;
    const isTerminal = interactiveMode !== 'Never' && this.#options.isTerminal();
    if (interactiveMode === 'Always' && !isTerminal) {
      throw new IsthmusError('KUBE_EXEC_INTERACTIVE', `the credential plugin ${command} needs a terminal, and standard input is none`, {
        hint: 'run the command in a terminal, or use a user whose plugin asks nothing',
      });
    }
    const run = (): Promise<string> =>
      runPlugin(this.#config, { interactive: isTerminal, timeoutMs: this.#options.timeoutMs ?? (isTerminal ? 300_000 : 60_000), signal });
    return parseExecCredential(isTerminal ? await inTurn(run) : await run(), command, apiVersion);
  }
}

async function inTurn<T>(run: () => Promise<T>): Promise<T> {
  const mine = lastInteractive.then(run, run);
  lastInteractive = mine;
  return await mine;
}
