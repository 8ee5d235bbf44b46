import type { ControllerRevision, DaemonSet, StatefulSet } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { isAlreadyExists, type KubeClient } from '../../kube/index.ts';
import { semanticallyEqual } from './equality.ts';
import type { ObjectCache } from './object-cache.ts';
import type { PodTemplate } from './objects.ts';
import { controllerReference } from './ownership.ts';
import { controllerRevisionHashLabel, templateHash } from './template-hash.ts';

/** A template of the past or present, stored so that `kubectl rollout history` and `undo` find it. */
export interface Revisions {
  /** The one of the present template. */
  readonly current: ControllerRevision;
  readonly all: readonly ControllerRevision[];
}

/**
 * Finds or makes the ControllerRevision of a DaemonSet's or StatefulSet's present template, gives it the highest number and
 * removes those beyond spec.revisionHistoryLimit that no pod is from (`inUse`: hashes).
 */
export async function syncRevisions(
  client: KubeClient,
  cache: ObjectCache<ControllerRevision>,
  owner: DaemonSet | StatefulSet,
  inUse: ReadonlySet<string>,
): Promise<Revisions> {
  const known = [...cache.controlledBy(owner.metadata.uid)].sort((a, b) => a.revision - b.revision);
  const template = owner.spec?.template ?? {};
  const hash = templateHash(template);
  const newest = known.at(-1)?.revision ?? 0;
  let current = known.find((revision) => semanticallyEqual(revision.data, revisionData(template)));

  if (current === undefined) {
    const created = controllerRevision(owner, hash, newest + 1);
    try {
      current = await client.create(resources.controllerRevisions, created);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      current = await client.get(resources.controllerRevisions, created.metadata);
    }
    await cache.caughtUp(current);
  } else if (current.revision < newest) {
    // Back to an old template: it becomes the newest, as after `kubectl rollout undo`.
    const body = { revision: newest + 1 };
    current = await client.patch(resources.controllerRevisions, current.metadata, { type: 'merge', body });
    await cache.caughtUp(current);
  }

  const kept = new Set([...inUse, revisionHash(current)]);
  const history = known.filter((revision) => !kept.has(revisionHash(revision)));
  const excess = Math.max(0, history.length - (owner.spec?.revisionHistoryLimit ?? 10));
  for (const revision of history.slice(0, excess)) await client.delete(resources.controllerRevisions, revision.metadata);
  return { current, all: cache.controlledBy(owner.metadata.uid) };
}

/** The value of the label {@link controllerRevisionHashLabel} on pods of this revision. */
export function revisionHash(revision: ControllerRevision): string {
  return revision.metadata.labels?.[controllerRevisionHashLabel] ?? revision.metadata.name;
}

/** The template that a revision stores. */
export function revisionTemplate(revision: ControllerRevision): PodTemplate {
  const data = revision.data as { spec?: { template?: PodTemplate & { $patch?: string } } } | undefined;
  const template = { ...data?.spec?.template };
  delete template.$patch;
  return template;
}

/** A strategic merge patch that puts the template back (kubectl rollout undo applies it). */
function revisionData(template: PodTemplate): Record<string, unknown> {
  return { spec: { template: { ...template, $patch: 'replace' } } };
}

function controllerRevision(owner: DaemonSet | StatefulSet, hash: string, revision: number): ControllerRevision {
  return {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: {
      name: `${owner.metadata.name}-${hash}`,
      ...(owner.metadata.namespace !== undefined && { namespace: owner.metadata.namespace }),
      labels: { ...owner.spec?.template.metadata?.labels, [controllerRevisionHashLabel]: hash },
      ownerReferences: [controllerReference(owner)],
    },
    data: revisionData(owner.spec?.template ?? {}),
    revision,
  };
}
