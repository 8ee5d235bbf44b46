import type { KubeObject, Namespace } from '../../api/kubernetes.ts';
import { resources, type ResourceType } from '../../api/resources.ts';
import { collectionPath, objectPath } from '../../kube/index.ts';
import { apiMessage, keyedController, type Controller, type ControllerContext } from './controller.ts';
import { deletableResources, discoverResources, isEventAlias } from './discovery.ts';
import { semanticallyEqual } from './equality.ts';
import { formatTime } from './objects.ts';

const finalizer = 'kubernetes';

/** Waits before it looks again whether the contents of a namespace have gone, milliseconds. */
const firstLook = 100;
const lastLook = 5_000;

/** What is left of one kind in a namespace. */
interface Remainder {
  readonly type: ResourceType;
  readonly count: number;
  /** How many objects each finalizer keeps. */
  readonly finalizers: ReadonlyMap<string, number>;
}

/** How far the deletion of a namespace has come. */
interface Progress {
  readonly remainders: readonly Remainder[];
  readonly discoveryError?: string;
  readonly contentErrors: readonly string[];
}

/** Empties namespaces that were deleted, whatever kinds they hold, and then lets them go. */
export function namespaceController(context: ControllerContext): Controller {
  const { client, caches, clock } = context;
  const namespaces = caches.for(resources.namespaces);
  const waits = new Map<string, number>();

  const controller = keyedController(context, 'namespace', async (name, signal) => {
    const namespace = namespaces.get(name);
    if (namespace?.metadata.deletionTimestamp === undefined) {
      waits.delete(name);
      return;
    }
    if (!(namespace.spec?.finalizers ?? []).includes(finalizer)) return;
    const progress = await empty(name, signal);
    const written = await writeStatus(namespace, progress);
    if (progress.remainders.length === 0 && progress.contentErrors.length === 0 && progress.discoveryError === undefined) {
      await finalize(written);
      waits.delete(name);
      return;
    }
    const wait = waits.get(name) ?? firstLook;
    waits.set(name, Math.min(lastLook, wait * 2));
    controller.queue.addAfter(name, wait);
  });

  /** Deletes all there is. Pods first: the rest (secrets, policies, accounts) is what they may need to end well. */
  async function empty(namespace: string, signal: AbortSignal): Promise<Progress> {
    let types: readonly ResourceType[];
    try {
      types = deletableResources(await discoverResources(client, signal)).filter((type) => type.namespaced && !isEventAlias(type));
    } catch (error) {
      return { remainders: [], contentErrors: [], discoveryError: apiMessage(error) };
    }
    const isPods = (type: ResourceType): boolean => type.group === '' && type.plural === 'pods';
    const pods = await emptyAll(namespace, types.filter(isPods), signal);
    if (pods.remainders.length > 0 || pods.contentErrors.length > 0) return pods;
    return await emptyAll(
      namespace,
      types.filter((type) => !isPods(type)),
      signal,
    );
  }

  async function emptyAll(namespace: string, types: readonly ResourceType[], signal: AbortSignal): Promise<Progress> {
    const remainders: Remainder[] = [];
    const contentErrors: string[] = [];
    await Promise.all(
      types.map(async (type) => {
        try {
          const remainder = await emptyOne(namespace, type, signal);
          if (remainder.count > 0) remainders.push(remainder);
        } catch (error) {
          signal.throwIfAborted();
          contentErrors.push(`${type.plural}: ${apiMessage(error)}`);
        }
      }),
    );
    remainders.sort((a, b) => (a.type.plural < b.type.plural ? -1 : 1));
    return { remainders, contentErrors: contentErrors.sort() };
  }

  async function emptyOne(namespace: string, type: ResourceType, signal: AbortSignal): Promise<Remainder> {
    if ((await remaining(namespace, type, signal)).count > 0) {
      await client.request({
        method: 'DELETE',
        path: collectionPath(type, namespace),
        body: { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy: 'Background' },
        signal,
      });
    }
    return await remaining(namespace, type, signal);
  }

  async function remaining(namespace: string, type: ResourceType, signal: AbortSignal): Promise<Remainder> {
    const { items } = await client.list<KubeObject>(type, { namespace, metadataOnly: true, signal });
    const finalizers = new Map<string, number>();
    for (const name of items.flatMap(({ metadata }) => metadata.finalizers ?? [])) finalizers.set(name, (finalizers.get(name) ?? 0) + 1);
    return { type, count: items.length, finalizers };
  }

  async function writeStatus(namespace: Namespace, progress: Progress): Promise<Namespace> {
    const conditions = deletionConditions(namespace, progress, clock.now());
    const status = { ...namespace.status, phase: 'Terminating' as const, conditions };
    if (semanticallyEqual(status, namespace.status)) return namespace;
    const written = await client.update(resources.namespaces, { ...namespace, status }, { subresource: 'status' });
    await namespaces.caughtUp(written);
    return written;
  }

  async function finalize(namespace: Namespace): Promise<void> {
    const finalizers = (namespace.spec?.finalizers ?? []).filter((name) => name !== finalizer);
    await client.request({
      method: 'PUT',
      path: objectPath(resources.namespaces, namespace.metadata, 'finalize'),
      body: { ...namespace, spec: { ...namespace.spec, finalizers } },
    });
  }

  namespaces.onChange(({ key }) => controller.queue.add(key));
  // The last pod of a namespace that is going lets the rest go.
  caches.for(resources.pods).onChange(({ type, old }) => {
    const namespace = old?.metadata.namespace ?? '';
    if (type === 'delete' && namespaces.get(namespace)?.metadata.deletionTimestamp !== undefined) controller.queue.add(namespace);
  });
  return controller;
}

type NamespaceCondition = NonNullable<NonNullable<Namespace['status']>['conditions']>[number];

/** The five conditions of a namespace that is going, with upstream's reasons and sentences. */
export function deletionConditions(namespace: Namespace, progress: Progress, now: number): NamespaceCondition[] {
  const { remainders, discoveryError, contentErrors } = progress;
  const counts = new Map<string, number>();
  for (const { finalizers } of remainders) for (const [name, count] of finalizers) counts.set(name, (counts.get(name) ?? 0) + count);
  const left = remainders
    .map(({ type, count }) => `${type.group === '' ? `${type.plural}.` : `${type.plural}.${type.group}`} has ${count} resource instances`)
    .join(', ');
  const kept = [...counts].map(([name, count]) => `${name} in ${count} resource instances`).sort();
  const wanted: readonly [type: string, bad: boolean, reason: string, message: string][] = [
    discoveryError === undefined
      ? ['NamespaceDeletionDiscoveryFailure', false, 'ResourcesDiscovered', 'All resources successfully discovered']
      : ['NamespaceDeletionDiscoveryFailure', true, 'DiscoveryFailed', `Discovery failed for some groups: ${discoveryError}`],
    ['NamespaceDeletionGroupVersionParsingFailure', false, 'ParsedGroupVersions', 'All legacy kube types successfully parsed'],
    contentErrors.length === 0
      ? ['NamespaceDeletionContentFailure', false, 'ContentDeleted', 'All content successfully deleted, may be waiting on finalization']
      : [
          'NamespaceDeletionContentFailure',
          true,
          'ContentDeletionFailed',
          `Failed to delete all resource types, ${contentErrors.length} remaining: ${contentErrors.join(', ')}`,
        ],
    left === ''
      ? ['NamespaceContentRemaining', false, 'ContentRemoved', 'All content successfully removed']
      : ['NamespaceContentRemaining', true, 'SomeResourcesRemain', `Some resources are remaining: ${left}`],
    kept.length === 0
      ? ['NamespaceFinalizersRemaining', false, 'ContentHasNoFinalizers', 'All content-preserving finalizers finished']
      : [
          'NamespaceFinalizersRemaining',
          true,
          'SomeFinalizersRemain',
          `Some content in the namespace has finalizers remaining: ${kept.join(', ')}`,
        ],
  ];
  return wanted.map(([type, bad, reason, message]) => {
    const status = bad ? 'True' : 'False';
    const old = namespace.status?.conditions?.find((condition) => condition.type === type);
    const lastTransitionTime = old?.status === status ? (old.lastTransitionTime ?? formatTime(now)) : formatTime(now);
    return { type, status, reason, message, lastTransitionTime };
  });
}
