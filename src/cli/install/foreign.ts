import { resources } from '../../api/resources.ts';
import type { KubeClient } from '../../kube/index.ts';
import { managedBySelector } from './options.ts';

/** A Deployment `app=<name>` in any namespace that isthmus install has not made, as `namespace/name`; undefined: there is none. */
export async function findForeign(client: KubeClient, name: string): Promise<string | undefined> {
  const { items } = await client.list(resources.deployments, { labelSelector: `app=${name},${managedBySelector.replace('=', '!=')}` });
  const [foreign] = items;
  return foreign === undefined ? undefined : `${foreign.metadata.namespace ?? ''}/${foreign.metadata.name}`;
}
