import type { KubeClient } from '../../kube/index.ts';
import type { NodePrograms } from './options.ts';

/**
 * Programs of this machine, put where the pods of a lab's cluster find them. Throws LAB_NOT_A_LAB for any other cluster, and
 * LAB_PROGRAM for what cannot be run.
 */
export async function placePrograms(
  client: KubeClient,
  files: { readonly istiod: string | undefined; readonly ztunnel: string | undefined },
): Promise<NodePrograms> {
  const { server } = client.transport.config;
  const place = async (file: string): Promise<string> => (await import('../../lab/index.ts')).placeProgram(server, file);
  return {
    ...(files.istiod !== undefined && { istiod: await place(files.istiod) }),
    ...(files.ztunnel !== undefined && { ztunnel: await place(files.ztunnel) }),
  };
}
