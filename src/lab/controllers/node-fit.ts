import type { Node } from '../../api/kubernetes.ts';
import type { PodSpec, Taint, Toleration } from './objects.ts';
import { matchesExpression, matchesLabels } from './selectors.ts';

/**
 * Whether a pod may run on a node: the filters of kube-scheduler that the lab has (node name, selector and required
 * affinity, taints, cordoning). Resources are not counted: the lab's pods are processes of one machine.
 */

/** Why a node is no place for a pod, in kube-scheduler's words; undefined when it is one. */
export function misfit(spec: PodSpec, node: Node): string | undefined {
  if (spec.nodeName !== undefined && spec.nodeName !== '' && spec.nodeName !== node.metadata.name) {
    return "node(s) didn't match the requested node name";
  }
  const tolerations = spec.tolerations ?? [];
  if (node.spec?.unschedulable === true && !tolerations.some((toleration) => tolerates(toleration, unschedulableTaint))) {
    return 'node(s) were unschedulable';
  }
  const taint = untolerated(tolerations, node, ['NoSchedule', 'NoExecute']);
  if (taint !== undefined) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  if (!matchesNodeSelection(spec, node)) return "node(s) didn't match Pod's node affinity/selector";
  return undefined;
}

const unschedulableTaint: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

/** The first taint of the node with one of these effects that none of the tolerations covers. */
export function untolerated(tolerations: readonly Toleration[], node: Node, effects: readonly string[]): Taint | undefined {
  return (node.spec?.taints ?? []).find(
    (taint) => effects.includes(taint.effect) && !tolerations.some((toleration) => tolerates(toleration, taint)),
  );
}

function tolerates(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect !== undefined && toleration.effect !== taint.effect) return false;
  if (toleration.key === undefined || toleration.key === '') return toleration.operator === 'Exists';
  if (toleration.key !== taint.key) return false;
  return toleration.operator === 'Exists' || (toleration.value ?? '') === (taint.value ?? '');
}

/** nodeSelector and requiredDuringSchedulingIgnoredDuringExecution. */
export function matchesNodeSelection(spec: PodSpec, node: Node): boolean {
  if (!matchesLabels(spec.nodeSelector ?? {}, node.metadata.labels)) return false;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (required === undefined) return true;
  return required.nodeSelectorTerms.some((term) => {
    const expressions = term.matchExpressions ?? [];
    const fields = term.matchFields ?? [];
    // A term without requirements matches nothing.
    if (expressions.length + fields.length === 0) return false;
    return (
      expressions.every(({ key, operator, values }) => matchesExpression(node.metadata.labels?.[key], operator, values ?? [])) &&
      fields.every(({ key, operator, values }) => key === 'metadata.name' && matchesExpression(node.metadata.name, operator, values ?? []))
    );
  });
}

/** Whether the kubelet of the node says that it is in order. */
export function isNodeReady(node: Node): boolean {
  return node.status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
}
