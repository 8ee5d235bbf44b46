import type { Pod } from '../../api/kubernetes.ts';
import type { ObjectCache } from './object-cache.ts';
import { controllerOf } from './ownership.ts';

/** Tells which owner of this kind has work whenever one of its pods changes, and of pods that have no controller. */
export function watchOwnedPods(
  pods: ObjectCache<Pod>,
  kind: string,
  onOwner: (key: string) => void,
  onOrphan: (pod: Pod) => void = () => undefined,
): void {
  pods.onChange(({ object, old }) => {
    const owners = new Set<string>();
    for (const pod of [object, old]) {
      const owner = pod && controllerOf(pod);
      if (owner?.kind === kind) owners.add(`${pod?.metadata.namespace ?? ''}/${owner.name}`);
    }
    for (const key of owners) onOwner(key);
    if (object !== undefined && controllerOf(object) === undefined && object.metadata.deletionTimestamp === undefined) onOrphan(object);
  });
}
