import { IsthmusError } from '../../core/index.ts';
import { processExit } from '../../linux/index.ts';
import { labDirectory } from '../paths.ts';
import { isRunning, readState, removeFiles } from './state.ts';

/**
 * Ends the lab: kills what holds its namespaces, waits until the kernel has ended everything in them, and removes its
 * files. `was` is `dead` when only the files of a lab were left that had ended by itself. Throws LAB_NOT_RUNNING.
 */
export async function labDown(): Promise<{ readonly was: 'running' | 'dead' }> {
  const directory = labDirectory();
  const state = readState(directory);
  if (state === undefined)
    throw new IsthmusError('LAB_NOT_RUNNING', `no lab is running in ${directory}`, { hint: 'isthmus lab up starts one' });
  const was = isRunning(state) ? 'running' : 'dead';
  if (was === 'running') {
    process.kill(state.pid, 'SIGKILL');
    await processExit(state.pid, state.startTime);
  }
  removeFiles(state);
  return { was };
}
