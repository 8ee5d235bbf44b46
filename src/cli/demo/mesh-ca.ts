import { clusterIntermediate, createSharedRoot } from '../../pki/index.ts';
import { applyCacerts } from '../ca.ts';
import type { DemoCluster } from './guide.ts';

/**
 * The guide's "shared root of trust": a root in `dir`, and for each cluster an intermediate as the Secret cacerts, as
 * `isthmus ca create-root` and `isthmus ca issue-intermediate` make them.
 */
export async function createMeshCa(dir: string, clusters: readonly DemoCluster[]): Promise<void> {
  await createSharedRoot(dir, {});
  for (const { client, name } of clusters) {
    const { authority } = await clusterIntermediate(dir, { cluster: name });
    await applyCacerts(client, authority, { force: false });
  }
}
