import { resources } from '../../api/resources.ts';
import { asError, eventRecorder, keyedController, type Controller, type ControllerContext } from './controller.ts';
import { revisionHash, syncRevisions } from './controller-revision.ts';
import { daemonPodSpec, daemonSetStatus, planDaemonSet } from './daemonset-plan.ts';
import { semanticallyEqual } from './equality.ts';
import { claim } from './ownership.ts';
import { PodControl, podFromTemplate } from './pod-control.ts';
import { watchOwnedPods } from './pod-events.ts';
import { isPodActive, nextAvailability } from './pod-state.ts';
import { controllerRevisionHashLabel } from './template-hash.ts';

/** Keeps one pod of a DaemonSet on each node that it is meant for. */
export function daemonSetController(context: ControllerContext): Controller {
  const { client, caches, clock } = context;
  const daemonSets = caches.for(resources.daemonSets);
  const pods = caches.for(resources.pods);
  const nodes = caches.for(resources.nodes);
  const revisions = caches.for(resources.controllerRevisions);
  const podControl = new PodControl(context, eventRecorder(context, 'daemonset-controller'));

  const controller = keyedController(context, 'daemonset', async (key) => {
    const daemonSet = daemonSets.get(key);
    if (daemonSet?.spec === undefined || daemonSet.metadata.deletionTimestamp !== undefined) return;
    const { selector, template } = daemonSet.spec;
    const owned = await claim(client, resources.pods, daemonSet, selector, pods.inNamespace(daemonSet.metadata.namespace));
    const inUse = new Set(owned.map((pod) => pod.metadata.labels?.[controllerRevisionHashLabel] ?? ''));
    const hash = revisionHash((await syncRevisions(client, revisions, daemonSet, inUse)).current);

    const input = { daemonSet, nodes: [...nodes.list()], pods: owned, hash, now: clock.now() };
    const plan = planDaemonSet(input);
    const labels = { [controllerRevisionHashLabel]: hash, 'pod-template-generation': String(daemonSet.metadata.generation ?? 1) };
    let failure: Error | undefined;
    try {
      await Promise.all(plan.remove.map((pod) => podControl.delete(daemonSet, pod)));
      await podControl.createMany(daemonSet, plan.create.length, (i) =>
        podFromTemplate(daemonSet, template, { labels, spec: (spec) => daemonPodSpec(spec, plan.create[i] ?? '') }),
      );
    } catch (error) {
      failure = asError(error);
    }

    const status = daemonSetStatus(input);
    if (!semanticallyEqual(status, daemonSet.status)) {
      await daemonSets.caughtUp(await client.update(resources.daemonSets, { ...daemonSet, status }, { subresource: 'status' }));
    }
    const wait = nextAvailability(owned.filter(isPodActive), daemonSet.spec.minReadySeconds ?? 0, input.now);
    if (wait !== undefined) controller.queue.addAfter(key, wait);
    if (failure !== undefined) throw failure;
  });

  daemonSets.onChange(({ key }) => controller.queue.add(key));
  watchOwnedPods(pods, 'DaemonSet', (key) => controller.queue.add(key));
  nodes.onChange(({ type, object, old }) => {
    // A node's heartbeat changes nothing here.
    const relevant = type !== 'update' || !semanticallyEqual([object.spec, object.metadata.labels], [old.spec, old.metadata.labels]);
    if (relevant) for (const { metadata } of daemonSets.list()) controller.queue.add(`${metadata.namespace ?? ''}/${metadata.name}`);
  });
  return controller;
}
