import type { KubeObject, OwnerReference } from '../../api/kubernetes.ts';
import type { ResourceType } from '../../api/resources.ts';
import type { KubeClient } from '../../kube/index.ts';
import type { LabelSelector } from './objects.ts';
import { matchesSelector } from './selectors.ts';

/** The reference of the owner that controls an object. */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((reference) => reference.controller === true);
}

/** The reference that makes `owner` the controller of what carries it (metav1.NewControllerRef). */
export function controllerReference(owner: KubeObject): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** What an owner has to do with each candidate of its namespace. */
export interface Claims<T extends KubeObject> {
  /** Its own, and still selected. */
  readonly kept: readonly T[];
  /** Selected, without a controller: to be adopted. */
  readonly orphans: readonly T[];
  /** Its own, but not selected any more: to be released. */
  readonly strays: readonly T[];
}

/** Decides whose the candidates are, as Kubernetes' ControllerRefManager does. */
export function sortClaims<T extends KubeObject>(owner: KubeObject, selector: LabelSelector, candidates: readonly T[]): Claims<T> {
  const kept: T[] = [];
  const orphans: T[] = [];
  const strays: T[] = [];
  const ownerIsEnding = owner.metadata.deletionTimestamp !== undefined;
  for (const candidate of candidates) {
    const controller = controllerOf(candidate);
    const selected = matchesSelector(selector, candidate.metadata.labels);
    if (controller?.uid === owner.metadata.uid && controller !== undefined) {
      if (selected) kept.push(candidate);
      else if (!ownerIsEnding) strays.push(candidate);
    } else if (controller === undefined && selected && !ownerIsEnding && candidate.metadata.deletionTimestamp === undefined) {
      orphans.push(candidate);
    }
  }
  return { kept, orphans, strays };
}

/** Adopts and releases as {@link sortClaims} decides; returns what is the owner's afterwards. */
export async function claim<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  owner: KubeObject,
  selector: LabelSelector,
  candidates: readonly T[],
): Promise<T[]> {
  const { kept, orphans, strays } = sortClaims(owner, selector, candidates);
  const setOwners = (object: T, ownerReferences: readonly OwnerReference[]): Promise<T> => {
    const { uid, resourceVersion } = object.metadata;
    return client.patch(type, object.metadata, { type: 'merge', body: { metadata: { uid, resourceVersion, ownerReferences } } });
  };
  const adopted = await Promise.all(
    orphans.map((orphan) => setOwners(orphan, [...(orphan.metadata.ownerReferences ?? []), controllerReference(owner)])),
  );
  await Promise.all(
    strays.map((stray) =>
      setOwners(
        stray,
        (stray.metadata.ownerReferences ?? []).filter(({ uid }) => uid !== owner.metadata.uid),
      ),
    ),
  );
  return [...kept, ...adopted];
}
