import type { ResourceType } from '../../api/resources.ts';
import type { KubeClient } from '../../kube/index.ts';

/** A kind that the API server serves, and what can be done with it. */
export interface ServedResource {
  readonly type: ResourceType;
  readonly verbs: ReadonlySet<string>;
}

interface GroupDiscovery {
  readonly metadata?: { readonly name?: string };
  readonly versions?: readonly {
    readonly version: string;
    readonly resources?: readonly {
      readonly resource: string;
      readonly responseKind?: { readonly kind?: string };
      readonly scope?: 'Namespaced' | 'Cluster';
      readonly verbs?: readonly string[];
    }[];
  }[];
}

const aggregated = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';

/**
 * Every kind that the API server serves, each once in every version, the preferred version of a group first. Events are
 * served in two groups; both are the same objects.
 */
export async function discoverResources(client: KubeClient, signal?: AbortSignal): Promise<readonly ServedResource[]> {
  const answers = await Promise.all(['/api', '/apis'].map((path) => client.request({ method: 'GET', path, accept: aggregated, signal })));
  return answers.flatMap((answer) => {
    const { items } = (answer ?? {}) as { readonly items?: readonly GroupDiscovery[] };
    return (items ?? []).flatMap(({ metadata, versions }) =>
      (versions ?? []).flatMap(({ version, resources }) =>
        (resources ?? []).map(({ resource, responseKind, scope, verbs }) => ({
          type: {
            group: metadata?.name ?? '',
            version,
            plural: resource,
            kind: responseKind?.kind ?? '',
            namespaced: scope === 'Namespaced',
          },
          verbs: new Set(verbs ?? []),
        })),
      ),
    );
  });
}

/** Each kind in its group's preferred version only, and only those that can be listed, watched and deleted. */
export function deletableResources(all: readonly ServedResource[]): readonly ResourceType[] {
  const seen = new Set<string>();
  return all.flatMap(({ type, verbs }) => {
    const name = `${type.plural}.${type.group}`;
    if (seen.has(name) || !['list', 'watch', 'delete'].every((verb) => verbs.has(verb))) return [];
    seen.add(name);
    return [type];
  });
}

/** Events under their newer group: the same objects as the core group's. */
export function isEventAlias(type: ResourceType): boolean {
  return type.group === 'events.k8s.io';
}
