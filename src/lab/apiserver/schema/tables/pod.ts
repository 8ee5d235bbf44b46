import { numberAt, objectAt, objectsAt, stringAt, type Json } from '../json.ts';
import { age } from './age.ts';
import { ageColumn, nameColumn, none, type Column } from './printer.ts';

export const podColumns: readonly Column[] = [
  nameColumn,
  {
    name: 'Ready',
    description: 'Ready containers of all containers.',
    cell(pod) {
      const { ready, total } = summarize(pod);
      return `${ready}/${total}`;
    },
  },
  { name: 'Status', description: 'What the pod is doing, or what keeps it from running.', cell: (pod) => summarize(pod).status },
  {
    name: 'Restarts',
    description: 'How often containers were restarted, and when the last one was.',
    cell(pod, now) {
      const { restarts, lastRestart } = summarize(pod);
      return restarts > 0 && lastRestart !== undefined ? `${restarts} (${age(lastRestart, now)} ago)` : String(restarts);
    },
  },
  ageColumn,
  {
    name: 'IP',
    wide: true,
    from: 'core.PodStatus.podIP',
    cell(pod) {
      const status = objectAt(pod, 'status');
      return stringAt(objectsAt(status, 'podIPs')[0], 'ip') ?? stringAt(status, 'podIP') ?? none;
    },
  },
  { name: 'Node', wide: true, from: 'core.PodSpec.nodeName', cell: (pod) => stringAt(objectAt(pod, 'spec'), 'nodeName') ?? none },
  {
    name: 'Nominated Node',
    wide: true,
    from: 'core.PodStatus.nominatedNodeName',
    cell: (pod) => stringAt(objectAt(pod, 'status'), 'nominatedNodeName') ?? none,
  },
  { name: 'Readiness Gates', wide: true, from: 'core.PodSpec.readinessGates', cell: readinessGates },
];

function readinessGates(pod: Json): string {
  const gates = objectsAt(objectAt(pod, 'spec'), 'readinessGates');
  if (gates.length === 0) return none;
  const open = gates.filter((gate) => hasCondition(pod, stringAt(gate, 'conditionType') ?? ''));
  return `${open.length}/${gates.length}`;
}

interface Summary {
  readonly ready: number;
  readonly total: number;
  readonly status: string;
  readonly restarts: number;
  readonly lastRestart: string | undefined;
}

/** The words of STATUS follow kubectl's reasons (k8s.io/kubernetes pkg/printers/internalversion printPod). */
function summarize(pod: Json): Summary {
  const spec = objectAt(pod, 'spec');
  const status = objectAt(pod, 'status');
  const inits = objectsAt(spec, 'initContainers');
  const sidecars = new Set(inits.filter((container) => container['restartPolicy'] === 'Always').map((container) => container['name']));
  const initStatuses = objectsAt(status, 'initContainerStatuses');
  const statuses = objectsAt(status, 'containerStatuses');
  const isSidecar = (container: Json): boolean => sidecars.has(container['name']);

  const initializing = initReason(initStatuses, inits.length, isSidecar);
  const initialized = initializing === undefined || hasCondition(pod, 'Initialized');
  const counted = initialized ? [...initStatuses.filter(isSidecar), ...statuses] : initStatuses;
  const readySidecars = initStatuses.filter(
    (container) => isSidecar(container) && container['started'] === true && container['ready'] === true,
  );
  const readyContainers = initialized ? statuses.filter(isReadyAndRunning) : [];

  return {
    ready: readySidecars.length + readyContainers.length,
    total: objectsAt(spec, 'containers').length + sidecars.size,
    status: finalStatus(pod, initialized ? containersReason(pod, statuses, initializing) : initializing),
    restarts: counted.reduce((sum, container) => sum + (numberAt(container, 'restartCount') ?? 0), 0),
    lastRestart: counted
      .map((container) => stringAt(objectAt(objectAt(container, 'lastState'), 'terminated'), 'finishedAt'))
      .filter((time) => time !== undefined)
      .sort()
      .at(-1),
  };
}

/** What the first init container that is not done yet says; undefined when all are. */
function initReason(statuses: readonly Json[], total: number, isSidecar: (container: Json) => boolean): string | undefined {
  for (const [index, container] of statuses.entries()) {
    const state = objectAt(container, 'state');
    const terminated = objectAt(state, 'terminated');
    const waiting = stringAt(objectAt(state, 'waiting'), 'reason');
    if (terminated !== undefined && (numberAt(terminated, 'exitCode') ?? 0) === 0) continue;
    if (isSidecar(container) && container['started'] === true) continue;
    if (terminated !== undefined) return `Init:${terminationReason(terminated)}`;
    if (waiting !== undefined && waiting !== '' && waiting !== 'PodInitializing') return `Init:${waiting}`;
    return `Init:${index}/${total}`;
  }
  return undefined;
}

function containersReason(pod: Json, statuses: readonly Json[], before: string | undefined): string {
  const status = objectAt(pod, 'status');
  let reason = before ?? (stringAt(status, 'reason') || (stringAt(status, 'phase') ?? ''));
  if (
    objectsAt(status, 'conditions').some((condition) => condition['type'] === 'PodScheduled' && condition['reason'] === 'SchedulingGated')
  ) {
    reason = 'SchedulingGated';
  }
  // The first container's word counts most, so it is asked last.
  for (const container of statuses.toReversed()) {
    const state = objectAt(container, 'state');
    const waiting = stringAt(objectAt(state, 'waiting'), 'reason') ?? '';
    const terminated = objectAt(state, 'terminated');
    if (waiting !== '') reason = waiting;
    else if (terminated !== undefined) reason = terminationReason(terminated);
  }
  if (reason === 'Completed' && statuses.some(isReadyAndRunning)) return hasCondition(pod, 'Ready') ? 'Running' : 'NotReady';
  return reason;
}

function terminationReason(terminated: Json): string {
  const reason = stringAt(terminated, 'reason') ?? '';
  if (reason !== '') return reason;
  const signal = numberAt(terminated, 'signal') ?? 0;
  return signal !== 0 ? `Signal:${signal}` : `ExitCode:${numberAt(terminated, 'exitCode') ?? 0}`;
}

function isReadyAndRunning(container: Json): boolean {
  return container['ready'] === true && objectAt(objectAt(container, 'state'), 'running') !== undefined;
}

function finalStatus(pod: Json, reason: string): string {
  const phase = stringAt(objectAt(pod, 'status'), 'phase');
  if (objectAt(pod, 'metadata')?.['deletionTimestamp'] === undefined) return reason;
  if (stringAt(objectAt(pod, 'status'), 'reason') === 'NodeLost') return 'Unknown';
  return phase === 'Succeeded' || phase === 'Failed' ? reason : 'Terminating';
}

function hasCondition(pod: Json, type: string): boolean {
  return objectsAt(objectAt(pod, 'status'), 'conditions').some((condition) => condition['type'] === type && condition['status'] === 'True');
}
