import { flatMap, indexBy, map, type Collection, type Graph } from '../collections/index.ts';
import { isLabelName } from './entry-names.ts';
import type { NamespaceState } from './exports.ts';
import type { PeeringOptions } from './options.ts';

/** A namespace that is not there, and who waits for it. */
export interface MissingNamespace {
  readonly name: string;
  /** `deleting`: it is on its way out; nothing can be written there until it is gone and made again. */
  readonly state: 'absent' | 'deleting';
  /** Cluster ids, sorted. */
  readonly peers: readonly string[];
  /** Names in that namespace, sorted. */
  readonly services: readonly string[];
  /** It is for us to make, by {@link PeeringOptions.createNamespaces}. */
  readonly isToBeMade: boolean;
}

interface Claim {
  readonly cluster: string;
  /** `<namespace>/<name>`. */
  readonly key: string;
}

/** The namespaces of what peers export that this cluster does not have. None when entries do not stand there. */
export function deriveMissingNamespaces(
  graph: Graph,
  inputs: { readonly claims: Collection<Claim>; readonly namespaces: Collection<NamespaceState> },
  options: PeeringOptions,
): Collection<MissingNamespace> {
  const { claims, namespaces } = inputs;
  const isPlain = options.placement === 'serviceNamespace';
  const byNamespace = indexBy(graph, claims, { name: 'peeringClaimsByNamespace', keysOf: ({ key }) => [namespaceOf(key)] });
  // Each claim names its namespace, which is looked at once for all of them.
  const missing = flatMap(
    graph,
    claims,
    ({ key }, fetch): [string, Pick<MissingNamespace, 'name' | 'state'>][] => {
      const name = namespaceOf(key);
      const state = fetch.get(namespaces, name);
      if (!isPlain || state?.isTerminating === false) return [];
      return [[name, { name, state: state === undefined ? 'absent' : 'deleting' }]];
    },
    { name: 'peeringMissingNamespaceNames' },
  );
  return map(
    graph,
    missing,
    ({ name, state }, fetch): MissingNamespace => {
      const waiting = fetch.lookup(byNamespace, name);
      return {
        name,
        state,
        peers: [...new Set(waiting.map(({ cluster }) => cluster))].sort(),
        services: [...new Set(waiting.map(({ key }) => key.slice(name.length + 1)))].sort(),
        isToBeMade: state === 'absent' && options.createNamespaces === true && mayMake(name, options.rootNamespace),
      };
    },
    { name: 'peeringMissingNamespaces' },
  );
}

function namespaceOf(key: string): string {
  return key.slice(0, key.indexOf('/'));
}

/** Kubernetes keeps names that begin with `kube-` for itself. */
function mayMake(name: string, rootNamespace: string): boolean {
  return isLabelName(name) && !name.startsWith('kube-') && name !== rootNamespace;
}
