/**
 * Local Kubernetes clusters without Docker: real network namespaces, real processes, a Kubernetes-compatible API server.
 * The lab exists to run and test the mesh; nothing about the mesh may enter, which is installed into it like into any
 * cluster. Everything behind this door is loaded when it is called: each of the lab's processes loads only its own part.
 */
import type { LabStatus } from './supervisor/status.ts';
import type { Lab, LabUpOptions } from './supervisor/up.ts';

export type { NetworkMode } from './network/plan.ts';
export { labDirectory } from './paths.ts';
export type { LabStatus } from './supervisor/status.ts';
export type { Lab, LabUpOptions } from './supervisor/up.ts';

/**
 * Starts the lab and resolves once every cluster's API server and node are ready. Throws LAB_ALREADY_RUNNING,
 * LAB_PORT_TAKEN, LINUX_NO_USER_NAMESPACES, LAB_START_FAILED.
 */
export async function labUp(options: LabUpOptions = {}): Promise<Lab> {
  const { labUp } = await import('./supervisor/up.ts');
  return await labUp(options);
}

/**
 * Ends the lab, waits until everything in it has ended, and removes its files. `dead` when it had ended by itself before.
 * Throws LAB_NOT_RUNNING.
 */
export async function labDown(): Promise<{ readonly was: 'running' | 'dead' }> {
  const { labDown } = await import('./supervisor/down.ts');
  return await labDown();
}

/** What runs. Throws LAB_NOT_RUNNING. */
export async function labStatus(): Promise<LabStatus> {
  const { labStatus } = await import('./supervisor/status.ts');
  return await labStatus();
}

/**
 * Puts a program of this machine onto the node of the lab cluster with this API server, and returns its path there: for a
 * hostPath volume. Throws LAB_NOT_A_LAB, LAB_PROGRAM.
 */
export async function placeProgram(server: string, file: string): Promise<string> {
  const { placeProgram } = await import('./programs.ts');
  return placeProgram(server, file);
}

/** Throws LAB_PROGRAM unless {@link placeProgram} could take this program. */
export async function checkProgram(file: string): Promise<void> {
  const { checkProgram } = await import('./programs.ts');
  checkProgram(file);
}

/** The processes that make up a lab; they are started by `labUp` and by each other only, and run until they are stopped. */
export const labProcesses: Readonly<Record<'supervise' | 'apiserver' | 'controllers' | 'node', (argument: string) => Promise<void>>> = {
  supervise: async (argument) => (await import('./supervisor/process.ts')).superviseProcess(argument),
  apiserver: async () => (await import('./supervisor/cluster-processes.ts')).apiServerProcess(),
  controllers: async () => (await import('./supervisor/cluster-processes.ts')).controllersProcess(),
  node: async () => (await import('./supervisor/cluster-processes.ts')).nodeProcess(),
};
