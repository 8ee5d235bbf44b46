import type { IContainer, IProbe } from 'kubernetes-models/v1';

import { sleep } from '../../core/index.ts';
import { probeOnce, type ProbeTarget } from './probe.ts';

export interface ProberOptions extends ProbeTarget {
  readonly container: IContainer;
  /** The startup probe succeeded; called at once when there is none. */
  readonly onStarted: () => void;
  readonly onReady: (ready: boolean) => void;
  /** The container has to be restarted. */
  readonly onFailed: (which: 'Startup' | 'Liveness', message: string) => void;
  readonly onUnhealthy: (which: 'Startup' | 'Readiness' | 'Liveness', message: string) => void;
}

/** Probes one run of a container until `signal` is aborted: startup first, then readiness and liveness side by side. */
export async function probeContainer(options: ProberOptions, signal: AbortSignal): Promise<void> {
  const { container, onStarted, onReady, onFailed, onUnhealthy } = options;
  const { startupProbe, readinessProbe, livenessProbe } = container;
  try {
    if (startupProbe !== undefined) {
      const started = await until(startupProbe, options, signal, (message) => onUnhealthy('Startup', message));
      if (started !== undefined) {
        onFailed('Startup', started);
        return;
      }
    }
    onStarted();
    if (readinessProbe === undefined) onReady(true);
    await Promise.all([
      readinessProbe === undefined ? undefined : watchReadiness(readinessProbe, options, signal),
      livenessProbe === undefined ? undefined : watchLiveness(livenessProbe, options, signal),
    ]);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Waits before the next probe while a container has not succeeded yet, milliseconds: it becomes ready as soon as it is. */
const firstWait = 50;

/** Probes until it succeeds: undefined, or the last message when it failed too often. */
async function until(
  probe: IProbe,
  target: ProbeTarget,
  signal: AbortSignal,
  onFailure: (message: string) => void,
): Promise<string | undefined> {
  await initialDelay(probe, signal);
  const period = periodOf(probe);
  let failures = 0;
  let lastCounted = performance.now();
  for (let wait = firstWait; ; wait = Math.min(period, wait * 2)) {
    const result = await probeOnce(probe, target, signal);
    signal.throwIfAborted();
    if (result.ok) return undefined;
    // Only probes that are a period apart count: the ones in between make it ready faster, never fail it sooner.
    if (performance.now() - lastCounted >= period) {
      lastCounted = performance.now();
      failures++;
      onFailure(result.message);
      if (failures >= (probe.failureThreshold ?? 3)) return result.message;
    }
    await sleep(wait, signal);
  }
}

async function watchReadiness(probe: IProbe, options: ProberOptions, signal: AbortSignal): Promise<void> {
  await initialDelay(probe, signal);
  const period = periodOf(probe);
  const since = performance.now();
  let ready = false;
  let wait = firstWait;
  let inARow = 0;
  for (;;) {
    const result = await probeOnce(probe, options, signal);
    signal.throwIfAborted();
    inARow = result.ok === ready ? 0 : inARow + 1;
    if (!result.ok && (ready || performance.now() - since >= period)) options.onUnhealthy('Readiness', result.message);
    if (inARow >= (ready ? (probe.failureThreshold ?? 3) : (probe.successThreshold ?? 1))) {
      ready = !ready;
      inARow = 0;
      options.onReady(ready);
    }
    await sleep(ready ? period : wait, signal);
    wait = ready ? firstWait : Math.min(period, wait * 2);
  }
}

async function watchLiveness(probe: IProbe, options: ProberOptions, signal: AbortSignal): Promise<void> {
  await initialDelay(probe, signal);
  let failures = 0;
  for (;;) {
    const result = await probeOnce(probe, options, signal);
    signal.throwIfAborted();
    failures = result.ok ? 0 : failures + 1;
    if (!result.ok) options.onUnhealthy('Liveness', result.message);
    if (!result.ok && failures >= (probe.failureThreshold ?? 3)) {
      options.onFailed('Liveness', result.message);
      return;
    }
    await sleep(periodOf(probe), signal);
  }
}

async function initialDelay(probe: IProbe, signal: AbortSignal): Promise<void> {
  await sleep((probe.initialDelaySeconds ?? 0) * 1000, signal);
}

function periodOf(probe: IProbe): number {
  return (probe.periodSeconds ?? 10) * 1000;
}
