import type { KubeObject, Pod } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { apiMessage, isNamespaceTerminating, type ControllerContext, type RecordEvent } from './controller.ts';
import type { ObjectCache } from './object-cache.ts';
import type { PodSpec, PodTemplate } from './objects.ts';
import { controllerReference } from './ownership.ts';

/** What a pod gets beyond its template. */
export interface PodExtras {
  /** The whole name; default: generated from the owner's. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Changes the copy of the template's spec that the pod gets. */
  readonly spec?: (spec: PodSpec) => PodSpec;
}

/** The pod that `owner` makes from a template (GetPodFromTemplate). */
export function podFromTemplate(owner: KubeObject, template: PodTemplate, extras: PodExtras = {}): Pod {
  const { labels, annotations, finalizers } = template.metadata ?? {};
  const spec = structuredClone(template.spec ?? { containers: [] });
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: extras.name ?? '',
      ...(extras.name === undefined && { generateName: `${owner.metadata.name}-` }),
      ...(owner.metadata.namespace !== undefined && { namespace: owner.metadata.namespace }),
      labels: { ...labels, ...extras.labels },
      ...(annotations && { annotations: { ...annotations } }),
      ...(finalizers && { finalizers: [...finalizers] }),
      ownerReferences: [controllerReference(owner)],
    },
    spec: extras.spec?.(spec) ?? spec,
  };
}

/** Creates and deletes the pods of ReplicaSets, DaemonSets and StatefulSets, with the Events that Kubernetes writes. */
export class PodControl {
  readonly #context: ControllerContext;
  readonly #pods: ObjectCache<Pod>;
  readonly #record: RecordEvent;

  constructor(context: ControllerContext, record: RecordEvent) {
    this.#context = context;
    this.#pods = context.caches.for(resources.pods);
    this.#record = record;
  }

  /** Creates a pod and waits until the cache shows it. Throws the server's error after telling of it. */
  async create(owner: KubeObject, pod: Pod): Promise<Pod> {
    let created: Pod;
    try {
      created = await this.#context.client.create(resources.pods, pod);
    } catch (error) {
      if (!isNamespaceTerminating(error)) this.#record(owner, 'Warning', 'FailedCreate', `Error creating: ${apiMessage(error)}`);
      throw error;
    }
    this.#record(owner, 'Normal', 'SuccessfulCreate', `Created pod: ${created.metadata.name}`);
    await this.#pods.caughtUp(created);
    return created;
  }

  /** Tells a pod to end and waits until the cache shows it. */
  async delete(owner: KubeObject, pod: Pod): Promise<void> {
    let existed: boolean;
    try {
      existed = await this.#context.client.delete(resources.pods, pod.metadata, { ...(pod.metadata.uid && { uid: pod.metadata.uid }) });
    } catch (error) {
      this.#record(owner, 'Warning', 'FailedDelete', `Error deleting: ${apiMessage(error)}`);
      throw error;
    }
    if (existed) this.#record(owner, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`);
    await this.#pods.showsDeletion(pod);
  }

  /**
   * Creates `count` pods in growing batches (1, 2, 4, ...), so that a refusal that would hit all of them is met once.
   * Throws the first failure after the batch it happened in.
   */
  async createMany(owner: KubeObject, count: number, make: (index: number) => Pod): Promise<void> {
    for (let done = 0, batch = 1; done < count; done += batch, batch *= 2) {
      const size = Math.min(batch, count - done);
      const results = await Promise.allSettled(Array.from({ length: size }, (_, i) => this.create(owner, make(done + i))));
      const failure = results.find((result) => result.status === 'rejected');
      if (failure !== undefined) throw failure.reason;
    }
  }
}
