import { accessSync, chmodSync, constants, copyFileSync, linkSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';

import { IsthmusError } from '../core/index.ts';
import { labDirectory, labFiles, paths } from './paths.ts';
import { isRunning, readState } from './supervisor/state.ts';

/**
 * Puts a program of this machine onto the node of a lab cluster, where pods take it from a hostPath volume, and returns its
 * path there. The cluster is told by its API server's URL, as the lab's kubeconfig has it. A program of the same name that is there is
 * replaced; what already runs keeps running. Throws LAB_NOT_A_LAB, LAB_PROGRAM.
 */
export function placeProgram(server: string, file: string): string {
  const cluster = clusterOf(server);
  checkProgram(file);
  const name = path.basename(file);
  const target = path.join(labFiles(labDirectory()).cluster(cluster), path.relative(paths.cluster, paths.programs), name);
  mkdirSync(path.dirname(target), { recursive: true, mode: 0o755 });
  linkOrCopy(file, target);
  return path.join(paths.programs, name);
}

function clusterOf(server: string): string {
  const directory = labDirectory();
  const state = readState(directory);
  const plan = state !== undefined && isRunning(state) ? state.clusters.find((each) => serverOf(each.hostPort) === server) : undefined;
  if (plan !== undefined) return plan.name;
  throw new IsthmusError('LAB_NOT_A_LAB', `${server} is no API server of a lab that runs in ${directory}`, {
    hint: 'programs of this machine can be the programs of pods in the lab only; is ISTHMUS_LAB_DIR the one that the lab was started with?',
  });
}

function serverOf(port: number): string {
  return `https://127.0.0.1:${String(port)}`;
}

/** Throws LAB_PROGRAM unless a program can be run. */
export function checkProgram(file: string): void {
  if (!path.isAbsolute(file))
    throw new IsthmusError('LAB_PROGRAM', `${file} is not an absolute path`, { hint: `give ${path.resolve(file)}` });
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) throw new IsthmusError('LAB_PROGRAM', `there is no program ${file}`);
  if (!stat.isFile()) throw new IsthmusError('LAB_PROGRAM', `${file} is not a file`);
  try {
    accessSync(file, constants.R_OK | constants.X_OK);
  } catch (cause) {
    throw new IsthmusError('LAB_PROGRAM', `${file} cannot be executed`, { hint: `chmod +x ${file}`, cause });
  }
}

/** A link costs neither time nor space; across file systems, and to somebody else's file, it has to be a copy. */
function linkOrCopy(file: string, target: string): void {
  const fresh = `${target}.new`;
  rmSync(fresh, { force: true });
  try {
    linkSync(file, fresh);
  } catch {
    copyFileSync(file, fresh, constants.COPYFILE_FICLONE);
    chmodSync(fresh, 0o755);
  }
  renameSync(fresh, target);
}
