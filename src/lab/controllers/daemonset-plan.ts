import type { DaemonSet, Node, Pod } from '../../api/kubernetes.ts';
import { matchesNodeSelection, untolerated } from './node-fit.ts';
import { byAge, resolveIntOrString, type DaemonSetStatus, type PodSpec, type Toleration } from './objects.ts';
import { isPodAvailable, isPodFinished, isPodReady, isPodTerminating } from './pod-state.ts';
import { controllerRevisionHashLabel } from './template-hash.ts';

/** Which pods of a DaemonSet come and go, as kube-controller-manager's daemon controller decides. */

const exists = (key: string, effect: 'NoExecute' | 'NoSchedule'): Toleration => ({ key, effect, operator: 'Exists' });

/** What every pod of a DaemonSet tolerates, so that it stays on a node in trouble. */
const tolerations: readonly Toleration[] = [
  exists('node.kubernetes.io/not-ready', 'NoExecute'),
  exists('node.kubernetes.io/unreachable', 'NoExecute'),
  exists('node.kubernetes.io/disk-pressure', 'NoSchedule'),
  exists('node.kubernetes.io/memory-pressure', 'NoSchedule'),
  exists('node.kubernetes.io/pid-pressure', 'NoSchedule'),
  exists('node.kubernetes.io/unschedulable', 'NoSchedule'),
];

/** The spec of a DaemonSet's pod for one node: bound to it by affinity, so that the scheduler does the rest. */
export function daemonPodSpec(spec: PodSpec, nodeName: string): PodSpec {
  const added = spec.hostNetwork === true ? [...tolerations, exists('node.kubernetes.io/network-unavailable', 'NoSchedule')] : tolerations;
  const terms = [{ matchFields: [{ key: 'metadata.name', operator: 'In' as const, values: [nodeName] }] }];
  return {
    ...spec,
    affinity: {
      ...spec.affinity,
      nodeAffinity: { ...spec.affinity?.nodeAffinity, requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } },
    },
    tolerations: [...(spec.tolerations ?? []), ...added],
  };
}

/** Whether a node should start a pod of this DaemonSet, and whether one that runs there may stay. */
export function placement(daemonSet: DaemonSet, node: Node): { readonly start: boolean; readonly stay: boolean } {
  const spec = daemonSet.spec?.template.spec ?? { containers: [] };
  const all = [...(spec.tolerations ?? []), ...tolerations];
  const wrongNode = spec.nodeName !== undefined && spec.nodeName !== '' && spec.nodeName !== node.metadata.name;
  if (wrongNode || !matchesNodeSelection(spec, node)) return { start: false, stay: false };
  return {
    start: untolerated(all, node, ['NoSchedule', 'NoExecute']) === undefined,
    stay: untolerated(all, node, ['NoExecute']) === undefined,
  };
}

/** The node a pod is on, or the one it waits for. */
export function nodeOfDaemonPod(pod: Pod): string {
  if (pod.spec?.nodeName) return pod.spec.nodeName;
  const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return required?.nodeSelectorTerms[0]?.matchFields?.find(({ key }) => key === 'metadata.name')?.values?.[0] ?? '';
}

export interface DaemonPlan {
  /** Names of the nodes that get a pod. */
  readonly create: readonly string[];
  readonly remove: readonly Pod[];
}

export interface DaemonInput {
  readonly daemonSet: DaemonSet;
  readonly nodes: readonly Node[];
  readonly pods: readonly Pod[];
  /** Hash of the present template. */
  readonly hash: string;
  readonly now: number;
}

/** The next step: pods on nodes without one, none where none belongs, and a bounded number of old ones replaced. */
export function planDaemonSet({ daemonSet, nodes, pods, hash, now }: DaemonInput): DaemonPlan {
  const create: string[] = [];
  const remove: Pod[] = [];
  const known = new Set(nodes.map(({ metadata }) => metadata.name));
  const rolling = daemonSet.spec?.updateStrategy?.type !== 'OnDelete';
  const byNode = Map.groupBy(pods, nodeOfDaemonPod);
  const candidates: Pod[] = [];
  let unavailable = 0;
  let surging = 0;
  let desired = 0;
  const { maxUnavailable, maxSurge } = updateBounds(daemonSet, nodes);
  const available = (pod: Pod): boolean => !isPodTerminating(pod) && isPodAvailable(pod, daemonSet.spec?.minReadySeconds ?? 0, now);
  const surgeTo: string[] = [];

  for (const node of nodes) {
    const { start, stay } = placement(daemonSet, node);
    const here = byNode.get(node.metadata.name) ?? [];
    const failed = here.filter((pod) => isPodFinished(pod) && !isPodTerminating(pod));
    const living = here.filter((pod) => !isPodFinished(pod) && !isPodTerminating(pod)).sort(byAge);
    // A failed pod is replaced; its successor comes when it is gone.
    remove.push(...failed);
    if (!start && !stay) {
      remove.push(...living);
      continue;
    }
    if (start) desired++;
    const old = living.filter((pod) => pod.metadata.labels?.[controllerRevisionHashLabel] !== hash);
    const fresh = living.filter((pod) => pod.metadata.labels?.[controllerRevisionHashLabel] === hash);
    remove.push(...fresh.slice(1), ...old.slice(1));
    if (start && here.length === 0) create.push(node.metadata.name);
    if (start && !living.some(available)) unavailable++;
    const [before] = old;
    const [after] = fresh;
    if (before !== undefined && after !== undefined) {
      // During a surge the old pod goes once the new one serves, or at once if it does not serve itself.
      if (available(after) || !available(before)) remove.push(before);
      else surging++;
    } else if (before !== undefined && rolling) {
      candidates.push(before);
    }
  }
  for (const pod of candidates) {
    if (!available(pod)) {
      remove.push(pod);
    } else if (maxSurge > 0) {
      if (surging++ < maxSurge) surgeTo.push(nodeOfDaemonPod(pod));
    } else if (unavailable < maxUnavailable) {
      unavailable++;
      remove.push(pod);
    }
  }
  // Waiting for a node that does not exist (any more).
  remove.push(...pods.filter((pod) => !known.has(nodeOfDaemonPod(pod)) && !pod.spec?.nodeName && !isPodTerminating(pod)));
  return { create: [...create, ...(desired === 0 ? [] : surgeTo)], remove };
}

function updateBounds(daemonSet: DaemonSet, nodes: readonly Node[]): { readonly maxUnavailable: number; readonly maxSurge: number } {
  const desired = nodes.filter((node) => placement(daemonSet, node).start).length;
  const rolling = daemonSet.spec?.updateStrategy?.rollingUpdate;
  const maxSurge = resolveIntOrString(rolling?.maxSurge ?? 0, desired, 'up');
  const maxUnavailable = resolveIntOrString(rolling?.maxUnavailable ?? 1, desired, 'up');
  return { maxSurge, maxUnavailable: maxSurge === 0 && maxUnavailable === 0 ? 1 : maxUnavailable };
}

/** The counts that kubectl's tables and `rollout status` read. */
export function daemonSetStatus({ daemonSet, nodes, pods, hash, now }: DaemonInput): DaemonSetStatus {
  const byNode = Map.groupBy(
    pods.filter((pod) => !isPodTerminating(pod)),
    nodeOfDaemonPod,
  );
  let desired = 0;
  let current = 0;
  let ready = 0;
  let available = 0;
  let updated = 0;
  let misscheduled = 0;
  for (const node of nodes) {
    const here = (byNode.get(node.metadata.name) ?? []).sort(byAge);
    if (!placement(daemonSet, node).start) {
      if (here.length > 0) misscheduled++;
      continue;
    }
    desired++;
    if (here.length === 0) continue;
    current++;
    if (here.some(isPodReady)) ready++;
    if (here.some((pod) => isPodAvailable(pod, daemonSet.spec?.minReadySeconds ?? 0, now))) available++;
    if (here.some((pod) => pod.metadata.labels?.[controllerRevisionHashLabel] === hash)) updated++;
  }
  return {
    currentNumberScheduled: current,
    numberMisscheduled: misscheduled,
    desiredNumberScheduled: desired,
    numberReady: ready,
    observedGeneration: daemonSet.metadata.generation ?? 0,
    ...(updated > 0 && { updatedNumberScheduled: updated }),
    ...(available > 0 && { numberAvailable: available }),
    ...(desired > available && { numberUnavailable: desired - available }),
  };
}
