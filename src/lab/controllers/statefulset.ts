import type { Pod, StatefulSet } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { eventRecorder, keyedController, type Controller, type ControllerContext } from './controller.ts';
import { revisionHash, revisionTemplate, syncRevisions } from './controller-revision.ts';
import { semanticallyEqual } from './equality.ts';
import type { PodTemplate } from './objects.ts';
import { claim } from './ownership.ts';
import { PodControl, podFromTemplate } from './pod-control.ts';
import { watchOwnedPods } from './pod-events.ts';
import { isPodActive, nextAvailability } from './pod-state.ts';
import { planStatefulSet, statefulSetStatus } from './statefulset-plan.ts';
import { controllerRevisionHashLabel } from './template-hash.ts';

/** Keeps the numbered pods of a StatefulSet, in order. Volume claims are not served by the lab and are refused. */
export function statefulSetController(context: ControllerContext): Controller {
  const { client, caches, clock } = context;
  const statefulSets = caches.for(resources.statefulSets);
  const pods = caches.for(resources.pods);
  const revisions = caches.for(resources.controllerRevisions);
  const record = eventRecorder(context, 'statefulset-controller');
  const podControl = new PodControl(context, record);

  const controller = keyedController(context, 'statefulset', async (key) => {
    const statefulSet = statefulSets.get(key);
    if (statefulSet?.spec === undefined || statefulSet.metadata.deletionTimestamp !== undefined) return;
    if ((statefulSet.spec.volumeClaimTemplates ?? []).length > 0) {
      record(
        statefulSet,
        'Warning',
        'FailedCreate',
        'volumeClaimTemplates are not supported here: this cluster serves no persistent volumes',
      );
      return;
    }
    const owned = await claim(
      client,
      resources.pods,
      statefulSet,
      statefulSet.spec.selector,
      pods.inNamespace(statefulSet.metadata.namespace),
    );
    const inUse = new Set(owned.map((pod) => pod.metadata.labels?.[controllerRevisionHashLabel] ?? ''));
    const { current: update, all } = await syncRevisions(client, revisions, statefulSet, inUse);
    const current = all.find(({ metadata }) => metadata.name === statefulSet.status?.currentRevision) ?? update;
    const [currentHash, updateHash] = [revisionHash(current), revisionHash(update)];

    const input = { statefulSet, pods: owned, currentHash, updateHash, now: clock.now() };
    const plan = planStatefulSet(input);
    for (const pod of plan.remove) await podControl.delete(statefulSet, pod);
    for (const { ordinal, hash } of plan.create) {
      await podControl.create(
        statefulSet,
        numberedPod(statefulSet, ordinal, hash, revisionTemplate(hash === updateHash ? update : current)),
      );
    }

    const status = statefulSetStatus(input, { current: current.metadata.name, update: update.metadata.name });
    if (!semanticallyEqual(status, statefulSet.status)) {
      await statefulSets.caughtUp(await client.update(resources.statefulSets, { ...statefulSet, status }, { subresource: 'status' }));
    }
    const wait = nextAvailability(owned.filter(isPodActive), statefulSet.spec.minReadySeconds ?? 0, input.now);
    if (wait !== undefined) controller.queue.addAfter(key, wait);
  });

  statefulSets.onChange(({ key }) => controller.queue.add(key));
  watchOwnedPods(pods, 'StatefulSet', (key) => controller.queue.add(key));
  return controller;
}

/** A StatefulSet's pod: its name is also its host name under the set's headless service. */
function numberedPod(statefulSet: StatefulSet, ordinal: number, hash: string, template: PodTemplate): Pod {
  const name = `${statefulSet.metadata.name}-${String(ordinal)}`;
  const labels = {
    [controllerRevisionHashLabel]: hash,
    'statefulset.kubernetes.io/pod-name': name,
    'apps.kubernetes.io/pod-index': String(ordinal),
  };
  const subdomain = statefulSet.spec?.serviceName;
  return podFromTemplate(statefulSet, template, {
    name,
    labels,
    spec: (spec) => ({ ...spec, hostname: name, ...(subdomain && { subdomain }) }),
  });
}
