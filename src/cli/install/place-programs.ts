import { IsthmusError } from '../../core/index.ts';
import type { KubeClient } from '../../kube/index.ts';
import type { NodePrograms } from './options.ts';

/** In the image everything is JavaScript already. */
const inImage = import.meta.filename.endsWith('.js');

/**
 * Programs of this machine, put where the pods of a lab's cluster find them. Throws LAB_NOT_A_LAB for any other cluster, and
 * LAB_PROGRAM for what cannot be run.
 */
export async function placePrograms(
  client: KubeClient,
  files: { readonly istiod: string | undefined; readonly ztunnel: string | undefined },
): Promise<NodePrograms> {
  if (files.istiod === undefined && files.ztunnel === undefined) return {};
  if (inImage)
    throw new IsthmusError('ISTHMUS_USAGE', 'the image has no lab, where programs of this machine can be run', {
      hint: 'run isthmus from a checkout',
    });
  const { server } = client.transport.config;
  const place = async (file: string): Promise<string> => (await import('../../lab/index.ts')).placeProgram(server, file);
  return {
    ...(files.istiod !== undefined && { istiod: await place(files.istiod) }),
    ...(files.ztunnel !== undefined && { ztunnel: await place(files.ztunnel) }),
  };
}
