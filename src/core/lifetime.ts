import type { Logger } from './log.ts';
import { describeError } from './errors.ts';

/**
 * Runs a process that lives until it is told to stop: `run` gets a signal that SIGTERM and SIGINT abort, and the process
 * exits with 0 once `run` has returned after that, with 1 when `run` throws. A second SIGTERM or SIGINT exits at once.
 */
export async function runUntilStopped(log: Logger, run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    if (stop.signal.aborted) process.exit(1);
    log.info({ signal: name }, 'stopping');
    stop.abort(new Error(`stopped by ${name}`));
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  try {
    await run(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) {
      log.fatal({ error: describeError(error) }, 'failed');
      process.exit(1);
    }
  }
  process.exit(0);
}

/** Resolves when the signal is aborted, at once if it already is. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener(
      'abort',
      () => {
        resolve();
      },
      { once: true },
    );
  });
}
