import type { IContainer, IContainerState, IContainerStatus, IPodCondition, IPodStatus } from 'kubernetes-models/v1';

import type { Pod } from '../../api/kubernetes.ts';

/** `init` runs once before the others, `sidecar` starts with them and stays, `main` is what the pod is for. */
export type ContainerKind = 'init' | 'sidecar' | 'main';

/** How a run of a container ended. Times are milliseconds since 1970. */
export interface Termination {
  readonly exitCode: number;
  readonly reason: string;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly containerId: string;
  readonly message?: string;
}

export type RunState =
  | { readonly is: 'waiting'; readonly reason: string; readonly message?: string }
  | { readonly is: 'running'; readonly startedAt: number }
  | { readonly is: 'terminated'; readonly by: Termination };

/** What there is to say about one container of a pod. */
export interface ContainerView {
  readonly spec: IContainer;
  readonly kind: ContainerKind;
  readonly state: RunState;
  readonly last: Termination | undefined;
  readonly restarts: number;
  readonly ready: boolean;
  readonly started: boolean;
  readonly image: string;
  readonly imageId: string;
  readonly containerId: string;
}

export interface PodStatusInput {
  readonly pod: Pod;
  readonly containers: readonly ContainerView[];
  readonly podIps: readonly string[];
  readonly hostIp: string;
  /** Whether the pod's network is there. */
  readonly sandboxReady: boolean;
  /** RFC 3339, when the node saw the pod first. */
  readonly startTime: string;
  readonly now: string;
}

/** A pod's status as the kubelet computes it from its containers; conditions of others are not in it. */
export function podStatus(input: PodStatusInput): IPodStatus {
  const { pod, containers, podIps, hostIp, startTime } = input;
  const phase = podPhase(pod, containers);
  const [podIp] = podIps;
  return {
    phase,
    conditions: conditions(input, phase),
    hostIP: hostIp,
    hostIPs: [{ ip: hostIp }],
    ...(podIp !== undefined && { podIP: podIp, podIPs: podIps.map((ip) => ({ ip })) }),
    startTime,
    qosClass: qosClass(pod),
    ...(containers.some(({ kind }) => kind !== 'main') && {
      initContainerStatuses: containers.filter(({ kind }) => kind !== 'main').map(containerStatus),
    }),
    containerStatuses: containers.filter(({ kind }) => kind === 'main').map(containerStatus),
    observedGeneration: pod.metadata.generation ?? 1,
  };
}

type Phase = NonNullable<IPodStatus['phase']>;

function podPhase(pod: Pod, containers: readonly ContainerView[]): Phase {
  const policy = pod.spec?.restartPolicy ?? 'Always';
  const failed = ({ state }: ContainerView): boolean => state.is === 'terminated' && state.by.exitCode !== 0;
  const inits = containers.filter(({ kind }) => kind === 'init');
  if (policy === 'Never' && inits.some(failed)) return 'Failed';
  if (!inits.every(({ state }) => state.is === 'terminated' && state.by.exitCode === 0)) return 'Pending';
  const mains = containers.filter(({ kind }) => kind === 'main');
  // Waiting after a run is a restart under way; waiting before the first one keeps the pod from being Running.
  if (mains.some(({ state, last }) => state.is === 'waiting' && last === undefined)) return 'Pending';
  if (mains.some(({ state }) => state.is !== 'terminated') || policy === 'Always') {
    return mains.every(({ state }) => state.is === 'terminated') && pod.metadata.deletionTimestamp !== undefined
      ? mains.some(failed)
        ? 'Failed'
        : 'Succeeded'
      : 'Running';
  }
  if (!mains.some(failed)) return 'Succeeded';
  return policy === 'Never' ? 'Failed' : 'Running';
}

function conditions({ pod, containers, sandboxReady, now }: PodStatusInput, phase: Phase): IPodCondition[] {
  const completed = phase === 'Succeeded' || phase === 'Failed';
  const mains = containers.filter(({ kind }) => kind !== 'init');
  const notReady = mains.filter(({ ready }) => !ready).map(({ spec }) => spec.name);
  const notInitialized = containers
    .filter(
      ({ kind, state, started }) =>
        (kind === 'init' && !(state.is === 'terminated' && state.by.exitCode === 0)) || (kind === 'sidecar' && !started),
    )
    .map(({ spec }) => spec.name);
  const failing = (reason: string, message: string): Verdict => ({ status: 'False', reason, message });
  const list = (names: readonly string[]): string => `[${names.join(' ')}]`;
  const containersReady: Verdict = completed
    ? failing('PodCompleted', '')
    : notReady.length > 0
      ? failing('ContainersNotReady', `containers with unready status: ${list(notReady)}`)
      : { status: 'True' };
  const closedGates = (pod.spec?.readinessGates ?? [])
    .map(({ conditionType }) => conditionType)
    .filter((type) => pod.status?.conditions?.find((condition) => condition.type === type)?.status !== 'True');
  const ready: Verdict =
    containersReady.status === 'True' && closedGates.length > 0
      ? failing(
          'ReadinessGatesNotReady',
          `the status of pod readiness gate ${closedGates.map((gate) => `"${gate}"`).join(', ')} is not "True"`,
        )
      : containersReady;
  const initialized: Verdict =
    notInitialized.length > 0 && !completed
      ? failing('ContainersNotInitialized', `containers with incomplete status: ${list(notInitialized)}`)
      : { status: 'True' };
  const verdicts: [string, Verdict][] = [
    ['PodReadyToStartContainers', sandboxReady ? { status: 'True' } : { status: 'False' }],
    ['Initialized', initialized],
    ['Ready', ready],
    ['ContainersReady', containersReady],
    ['PodScheduled', { status: 'True' }],
  ];
  return verdicts.map(([type, verdict]) => {
    const before = pod.status?.conditions?.find((condition) => condition.type === type);
    const same = before?.status === verdict.status;
    const { reason, message } = verdict;
    return {
      type,
      status: verdict.status,
      ...(reason !== undefined && { reason }),
      ...(message !== undefined && message !== '' && { message }),
      lastTransitionTime: same && before.lastTransitionTime !== undefined ? before.lastTransitionTime : now,
      observedGeneration: pod.metadata.generation ?? 1,
    };
  });
}

interface Verdict {
  readonly status: 'True' | 'False';
  readonly reason?: string;
  readonly message?: string;
}

function containerStatus(view: ContainerView): IContainerStatus {
  const { spec, state, last, restarts, ready, started, image, imageId, containerId } = view;
  return {
    name: spec.name,
    state: containerState(state),
    lastState: last === undefined ? {} : { terminated: terminated(last) },
    ready,
    restartCount: restarts,
    image,
    imageID: imageId,
    ...(containerId !== '' && { containerID: containerId }),
    started,
  };
}

function containerState(state: RunState): IContainerState {
  switch (state.is) {
    case 'waiting':
      return { waiting: { reason: state.reason, ...(state.message !== undefined && { message: state.message }) } };
    case 'running':
      return { running: { startedAt: time(state.startedAt) } };
    case 'terminated':
      return { terminated: terminated(state.by) };
  }
}

function terminated(by: Termination): NonNullable<IContainerState['terminated']> {
  return {
    exitCode: by.exitCode,
    // A shell's way to tell a signal; the kubelet's, too.
    ...(by.exitCode > 128 && by.exitCode < 160 && { signal: by.exitCode - 128 }),
    reason: by.reason,
    ...(by.message !== undefined && { message: by.message }),
    startedAt: time(by.startedAt),
    finishedAt: time(by.finishedAt),
    ...(by.containerId !== '' && { containerID: by.containerId }),
  };
}

/** The API's time: whole seconds. */
export function time(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** Guaranteed when every container's requests are its limits, Burstable when any has some, else BestEffort. */
export function qosClass(pod: Pod): NonNullable<IPodStatus['qosClass']> {
  const containers = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  const amounts = containers.flatMap(({ resources }) =>
    ['cpu', 'memory'].map((name) => ({ request: resources?.requests?.[name], limit: resources?.limits?.[name] })),
  );
  if (amounts.every(({ request, limit }) => request === undefined && limit === undefined)) return 'BestEffort';
  const guaranteed = amounts.every(
    ({ request, limit }) => limit !== undefined && (request === undefined || String(request) === String(limit)),
  );
  return guaranteed ? 'Guaranteed' : 'Burstable';
}
