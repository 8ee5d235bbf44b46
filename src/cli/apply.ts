import type { KubeObject } from '../api/kubernetes.ts';
import { resources, type ResourceType } from '../api/resources.ts';
import { IsthmusError } from '../core/index.ts';
import type { KubeClient } from '../kube/index.ts';

const byKind = new Map<string, ResourceType>(Object.values(resources).map((type: ResourceType) => [`${type.group}/${type.kind}`, type]));

/** Where objects of this apiVersion and kind are served. Throws ISTHMUS_USAGE for a kind that Isthmus does not write. */
export function resourceTypeOf(object: Pick<KubeObject, 'apiVersion' | 'kind'>): ResourceType {
  const [first = '', second] = object.apiVersion.split('/');
  const type = byKind.get(`${second === undefined ? '' : first}/${object.kind}`);
  if (type === undefined)
    throw new IsthmusError('ISTHMUS_USAGE', `${object.apiVersion} ${object.kind} cannot be applied by isthmus`, {
      hint: 'use kubectl apply',
    });
  return type;
}

export interface ApplyOptions {
  /** For namespaced objects that name none. */
  readonly namespace?: string;
  readonly fieldManager?: string;
  readonly signal?: AbortSignal;
}

/** Applies objects server-side, in their order. */
export async function applyObjects(client: KubeClient, objects: readonly KubeObject[], options: ApplyOptions = {}): Promise<void> {
  for (const object of objects) {
    const type = resourceTypeOf(object);
    const namespace = object.metadata.namespace ?? options.namespace;
    const metadata = type.namespaced && namespace !== undefined ? { ...object.metadata, namespace } : object.metadata;
    await client.apply(
      type,
      { ...object, metadata },
      { fieldManager: options.fieldManager ?? 'isthmus', ...(options.signal && { signal: options.signal }) },
    );
  }
}
