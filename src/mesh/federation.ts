import { labels, serviceScopeGlobal } from '../api/names.ts';
import type { ObjectMeta } from '../api/kubernetes.ts';

/** The scopes that give a Service one name in all clusters. `global-only` adds to that, and takes nothing away. */
const globalScopes: ReadonlySet<string> = new Set([serviceScopeGlobal, 'global-only']);

/** Whether this cluster gives its instances of the Service to its name in all clusters. Its own label goes before its namespace's. */
export function isGlobal(service: ObjectMeta, namespace: ObjectMeta | undefined): boolean {
  const scope = service.labels?.[labels.serviceScope] ?? namespace?.labels?.[labels.serviceScope];
  return scope !== undefined && globalScopes.has(scope);
}

/**
 * The Service that an entry was made for, and to whose namespace it therefore belongs. Only the root namespace may hold
 * such entries: elsewhere the label would let anyone who may write an entry take any identity.
 */
export function parentOf(entry: ObjectMeta, rootNamespace: string): { readonly namespace: string; readonly service: string } | undefined {
  if (entry.namespace !== rootNamespace) return undefined;
  const namespace = entry.labels?.[labels.parentServiceNamespace];
  if (namespace === undefined || namespace === '') return undefined;
  return { namespace, service: entry.labels?.[labels.parentService] ?? '' };
}
