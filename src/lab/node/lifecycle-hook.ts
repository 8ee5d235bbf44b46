import type { ILifecycleHandler } from 'kubernetes-models/v1';

import { describeError, sleep } from '../../core/index.ts';
import { runInContainer } from './container-command.ts';
import { probeOnce, type ProbeTarget } from './probe.ts';

/** Runs a container's postStart or preStop hook, for `seconds` at the most. Resolves with what went wrong, if anything did. */
export async function runHook(
  handler: ILifecycleHandler,
  target: ProbeTarget,
  seconds: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    if (handler.exec !== undefined) {
      const { exitCode, output } = await runInContainer(target.record, handler.exec.command ?? [], seconds * 1000, signal);
      return exitCode === 0 ? undefined : `exit code ${exitCode}: ${output.trim()}`;
    }
    if (handler.httpGet !== undefined) {
      const result = await probeOnce({ httpGet: handler.httpGet, timeoutSeconds: seconds }, target, signal);
      return result.ok ? undefined : result.message;
    }
    if (handler.sleep !== undefined) await sleep(handler.sleep.seconds * 1000, signal);
    return undefined;
  } catch (error) {
    return signal.aborted ? undefined : describeError(error);
  }
}
