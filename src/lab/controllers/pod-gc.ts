import type { Pod } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { periodicController, type Controller, type ControllerContext } from './controller.ts';
import { keyOf } from './objects.ts';
import { isPodTerminating } from './pod-state.ts';

/** How often it looks, milliseconds (upstream 20 s). */
const period = 20_000;

/** A pod's node has to be missing for so long, milliseconds: a node may be about to register again. */
const quarantine = 40_000;

/** Removes pods that nobody else would: those of nodes that are gone, and deleted ones that never had a node. */
export function podGarbageCollector(context: ControllerContext): Controller {
  const { client, caches, clock, log } = context;
  const pods = caches.for(resources.pods);
  const nodes = caches.for(resources.nodes);
  const missingSince = new Map<string, number>();

  async function look(signal: AbortSignal): Promise<void> {
    const now = clock.now();
    const all = [...pods.list()];
    const missing = new Set(all.flatMap(({ spec }) => (spec?.nodeName && nodes.get(spec.nodeName) === undefined ? [spec.nodeName] : [])));
    for (const name of missingSince.keys()) if (!missing.has(name)) missingSince.delete(name);
    for (const name of missing) if (!missingSince.has(name)) missingSince.set(name, now);
    for (const pod of all) {
      const since = missingSince.get(pod.spec?.nodeName ?? '');
      const lost = since !== undefined && now - since >= quarantine && (await nodeIsGone(pod, signal));
      const unplaced = !pod.spec?.nodeName && isPodTerminating(pod);
      if (lost || unplaced) await remove(pod, signal);
    }
  }

  async function nodeIsGone(pod: Pod, signal: AbortSignal): Promise<boolean> {
    return (await client.find(resources.nodes, { name: pod.spec?.nodeName ?? '' }, signal)) === undefined;
  }

  async function remove(pod: Pod, signal: AbortSignal): Promise<void> {
    log.info({ pod: keyOf(pod), node: pod.spec?.nodeName }, 'removing a pod without a node');
    const { uid } = pod.metadata;
    await client.delete(resources.pods, pod.metadata, { gracePeriodSeconds: 0, signal, ...(uid !== undefined && { uid }) });
  }

  return periodicController(context, 'pod-garbage-collector', period, look);
}
