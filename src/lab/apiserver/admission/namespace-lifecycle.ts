import type { ServedResource } from '../registry.ts';
import { forbidden, notFound } from '../status.ts';
import type { Store } from '../storage/store.ts';

const immortal = new Set(['default', 'kube-system', 'kube-public']);

/** New objects need a namespace that is there and not on its way out. */
export function checkNamespaceTakes(store: Store, resource: ServedResource, namespace: string, name: string): void {
  const stored = store.get('namespaces.', '', namespace);
  if (stored === undefined) throw notFound({ group: '', plural: 'namespaces' }, namespace);
  if (stored.object.metadata.deletionTimestamp === undefined) return;
  throw forbidden(resource.info, name, `unable to create new content in namespace ${namespace} because it is being terminated`, [
    { reason: 'NamespaceTerminating', message: `namespace ${namespace} is being terminated`, field: 'metadata.namespace' },
  ]);
}

export function checkNamespaceMayGo(resource: ServedResource, name: string): void {
  if (immortal.has(name)) throw forbidden(resource.info, name, 'this namespace may not be deleted');
}
