import { closeSync, readFileSync } from 'node:fs';

import { checked, errno, ESRCH, poll, syscall } from './libc.ts';

/** The number of pidfd_open(2), the same on every architecture. */
const SYS_pidfd_open = 434;

/**
 * Resolves when a process has ended, at once when there is none with this pid; it need not be a child. `startTime`, as
 * {@link processStartTime} gave it, tells the process from a later one with the same pid. Rejects when the signal is aborted.
 */
export async function processExit(pid: number, startTime?: string, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const fd = Number(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) {
    if (errno() === ESRCH) return;
    checked(fd, 'pidfd_open', `watch process ${pid}`);
  }
  if (startTime !== undefined && processStartTime(pid) !== startTime) {
    closeSync(fd);
    return;
  }
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const onAbort = (): void => reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
  signal?.addEventListener('abort', onAbort, { once: true });
  // The callback runs outside of Node's own bookkeeping: go on in a turn of the event loop.
  const handle = poll(fd, { readable: true }, () => setImmediate(() => resolve(undefined)));
  try {
    await promise;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    handle.stop();
    handle.close();
    closeSync(fd);
  }
}

/**
 * When a process started, in clock ticks since boot (field 22 of /proc/PID/stat, proc(5)); undefined when there is none.
 * Pid and start time together name a process for as long as the machine runs.
 */
export function processStartTime(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  const [state, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie has ended: only its exit code is left.
  return state === 'Z' || state === 'X' ? undefined : rest[18];
}
