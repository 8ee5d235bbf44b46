import { existsSync, readFileSync, watch } from 'node:fs';
import path from 'node:path';

import type { Pod } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { version } from '../../api/version.ts';
import { aborted, describeError, sleep, type Logger } from '../../core/index.ts';
import { isAlreadyExists, isNotFound, type KubeClient } from '../../kube/index.ts';
import type { ClusterPlan } from '../network/plan.ts';
import { paths } from '../paths.ts';
import type { ProcessState } from '../supervisor/supervised-process.ts';
import { readOldLog, type LogReadOptions } from './log-file.ts';
import type { ServedContainer } from './kubelet-server.ts';
import { podStatus, time, type ContainerView, type Termination } from './pod-status.ts';

export interface StaticPodsOptions {
  readonly plan: ClusterPlan;
  readonly client: KubeClient;
  readonly log: Logger;
}

/** The supervisor's processes that a cluster shows as static pods, by the name of the pod's container. */
const components = { 'kube-apiserver': 'apiserver', 'kube-controller-manager': 'controllers' } as const;

type Component = keyof typeof components;

/**
 * Mirror pods for the control plane's processes, which the supervisor runs: kubectl shows them, and their restarts. The
 * supervisor writes what it knows to a file; here it becomes the pods' status.
 */
export class StaticPods {
  readonly #options: StaticPodsOptions;
  #written = '';

  constructor(options: StaticPodsOptions) {
    this.#options = options;
  }

  /** Keeps the mirror pods until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    let wake = Promise.withResolvers<undefined>();
    const raise = (): void => wake.resolve(undefined);
    const watcher = watch(path.dirname(paths.processes), (_, name) => {
      if (name === null || name === path.basename(paths.processes)) raise();
    });
    watcher.on('error', (error) => log.warn({ error: describeError(error) }, 'processes not watched'));
    const stopped = (): boolean => signal.aborted;
    try {
      for (let wait = 200; !stopped();) {
        wake = Promise.withResolvers<undefined>();
        try {
          await this.#write(signal);
          wait = 200;
          await Promise.race([wake.promise, aborted(signal)]);
        } catch (error) {
          if (stopped()) return;
          log.warn({ error: describeError(error), retryMs: wait }, 'static pods not written');
          await sleep(wait, signal).catch(() => undefined);
          wait = Math.min(wait * 2, 5_000);
        }
      }
    } finally {
      watcher.close();
    }
  }

  /** A mirror pod was deleted: it comes back, as long as its process runs. */
  restore(): void {
    this.#written = '';
    void this.#write(AbortSignal.timeout(10_000)).catch((error: unknown) => {
      this.#options.log.warn({ error: describeError(error) }, 'static pod not restored');
    });
  }

  isMirror(pod: Pod): boolean {
    return pod.metadata.annotations?.[mirrorAnnotation] !== undefined;
  }

  find(namespace: string, pod: string, container: string): ServedContainer | undefined {
    const component = (Object.keys(components) as Component[]).find((name) => name === container);
    if (component === undefined || namespace !== 'kube-system' || pod !== this.#podName(component)) return undefined;
    const file = path.join(paths.cluster, 'log', `${components[component]}.log`);
    return {
      record: undefined,
      hasLog: (previous) => !previous && existsSync(file),
      // eslint-disable-next-line @typescript-eslint/require-await -- what is there, at once: these logs are not followed
      logs: async function* (options: LogReadOptions) {
        yield readOldLog(file, { ...options, plain: true });
      },
    };
  }

  #podName(component: Component): string {
    return `${component}-${this.#options.plan.nodeName}`;
  }

  async #write(signal: AbortSignal): Promise<void> {
    const text = readFileSync(paths.processes, 'utf8');
    if (text === this.#written) return;
    const { processes } = JSON.parse(text) as { readonly processes: readonly ProcessState[] };
    for (const component of Object.keys(components) as Component[]) {
      const state = processes.find(({ name }) => name === components[component]);
      if (state !== undefined) await this.#writePod(component, state, signal);
    }
    this.#written = text;
  }

  async #writePod(component: Component, state: ProcessState, signal: AbortSignal): Promise<void> {
    const { client, plan } = this.#options;
    const wanted = mirrorPod(component, this.#podName(component), plan);
    const place = { name: wanted.metadata.name, namespace: wanted.metadata.namespace };
    let pod = await client.find(resources.pods, place, signal);
    if (pod === undefined) {
      const node = await client.get(resources.nodes, { name: plan.nodeName }, signal);
      const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name: plan.nodeName, uid: node.metadata.uid ?? '', controller: true }];
      try {
        pod = await client.create(
          resources.pods,
          { ...wanted, metadata: { ...wanted.metadata, ownerReferences } },
          { fieldManager: 'kubelet', signal },
        );
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
        pod = await client.get(resources.pods, place, signal);
      }
    }
    const status = podStatus({
      pod,
      containers: [containerView(pod, state)],
      podIps: [plan.nodeAddress],
      hostIp: plan.nodeAddress,
      sandboxReady: true,
      startTime: pod.status?.startTime ?? time(Date.parse(state.startedAt)),
      now: time(Date.now()),
    });
    try {
      await client.patch(
        resources.pods,
        place,
        { type: 'strategic', body: { status } },
        { subresource: 'status', fieldManager: 'kubelet', signal },
      );
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}

const mirrorAnnotation = 'kubernetes.io/config.mirror';

function mirrorPod(component: Component, name: string, plan: ClusterPlan): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'kube-system',
      labels: { component, tier: 'control-plane' },
      annotations: { [mirrorAnnotation]: 'isthmus-lab', 'kubernetes.io/config.source': 'file' },
    },
    spec: {
      nodeName: plan.nodeName,
      hostNetwork: true,
      enableServiceLinks: false,
      priorityClassName: 'system-node-critical',
      tolerations: [{ operator: 'Exists', effect: 'NoExecute' }],
      containers: [{ name: component, image: `docker.io/isthmus/isthmus:${version}`, command: ['isthmus', 'lab', components[component]] }],
    },
  };
}

function containerView(pod: Pod, { name, pid, startedAt, ready, restarts, lastExit }: ProcessState): ContainerView {
  const [spec = { name }] = pod.spec?.containers ?? [];
  const last: Termination | undefined =
    lastExit === undefined
      ? undefined
      : {
          exitCode: lastExit.code,
          reason: lastExit.code === 0 ? 'Completed' : 'Error',
          startedAt: Date.parse(lastExit.startedAt),
          finishedAt: Date.parse(lastExit.finishedAt),
          containerId: '',
        };
  return {
    spec,
    kind: 'main',
    state: pid === undefined ? { is: 'waiting', reason: 'CrashLoopBackOff' } : { is: 'running', startedAt: Date.parse(startedAt) },
    last,
    restarts,
    ready,
    started: ready,
    image: spec.image ?? '',
    imageId: '',
    containerId: '',
  };
}
