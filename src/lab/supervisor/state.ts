import { existsSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { IsthmusError } from '../../core/index.ts';
import { processStartTime } from '../../linux/index.ts';
import { labFiles } from '../paths.ts';
import type { LabState } from './lab-spec.ts';

/** The state file of the lab in a directory, whether or not it still runs; undefined when there is none. */
export function readState(directory: string): LabState | undefined {
  const file = labFiles(directory).state;
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as LabState;
  } catch (cause) {
    throw new IsthmusError('LAB_STATE_INVALID', `${file} cannot be read`, { cause, hint: `remove it if no lab runs` });
  }
}

/** Whether the process that holds the lab's namespaces lives. When it has gone, all that was in them has. */
export function isRunning(state: LabState): boolean {
  return processStartTime(state.pid) === state.startTime;
}

export function writeState(state: LabState): void {
  const file = labFiles(state.directory).state;
  writeFileSync(`${file}.new`, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Removes what a lab left in its directory, and the directory if nothing else is in it. */
export function removeFiles(state: LabState): void {
  const files = labFiles(state.directory);
  for (const plan of state.clusters) rmSync(files.cluster(plan.name), { recursive: true, force: true });
  for (const file of [
    files.spec,
    files.kubeconfig,
    path.join(state.directory, files.socket),
    files.log,
    files.mountPoint,
    files.meshCa,
    files.state,
  ]) {
    rmSync(file, { recursive: true, force: true });
  }
  if (readdirSync(state.directory).length === 0) rmdirSync(state.directory);
}
