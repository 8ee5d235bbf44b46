import { equalJson, objectAt, type Json } from '../json.ts';
import type { FieldError } from '../types.ts';
import { forbidden, invalid, notSupported, required } from './errors.ts';
import { validateLabels } from './meta.ts';
import { immutable, validateNonNegative } from './numbers.ts';
import { validatePodSpec } from './pod.ts';
import { selectorMatches, templateLabels, validateLabelSelector } from './selectors.ts';

interface Workload {
  /** As the messages call it. */
  readonly word: string;
  /** The field of the update strategy and what it may be. */
  readonly strategy?: { readonly field: string; readonly types: readonly string[] };
}

const workloads = {
  Deployment: { word: 'deployment', strategy: { field: 'strategy', types: ['Recreate', 'RollingUpdate'] } },
  ReplicaSet: { word: 'replicaset' },
  DaemonSet: { word: 'daemonset', strategy: { field: 'updateStrategy', types: ['OnDelete', 'RollingUpdate'] } },
  StatefulSet: { word: 'statefulset', strategy: { field: 'updateStrategy', types: ['OnDelete', 'RollingUpdate'] } },
} as const satisfies Record<string, Workload>;

export type WorkloadKind = keyof typeof workloads;

export function validateWorkload(kind: WorkloadKind, object: Json): FieldError[] {
  const workload: Workload = workloads[kind];
  const spec = objectAt(object, 'spec');
  const strategy =
    workload.strategy === undefined
      ? []
      : validateStrategy(`spec.${workload.strategy.field}`, objectAt(spec, workload.strategy.field), workload);
  const deadline = spec?.['progressDeadlineSeconds'];
  const minReady = typeof spec?.['minReadySeconds'] === 'number' ? spec['minReadySeconds'] : 0;
  return [
    ...validateNonNegative('spec.replicas', spec?.['replicas']),
    ...validateSelector(spec, workload.word),
    ...validateTemplate(spec),
    ...strategy,
    ...validateNonNegative('spec.minReadySeconds', spec?.['minReadySeconds']),
    ...validateNonNegative('spec.revisionHistoryLimit', spec?.['revisionHistoryLimit']),
    ...(typeof deadline === 'number' && deadline <= minReady
      ? [invalid('spec.progressDeadlineSeconds', deadline, 'must be greater than minReadySeconds')]
      : []),
  ];
}

function validateSelector(spec: Json | undefined, word: string): FieldError[] {
  const selector = objectAt(spec, 'selector');
  if (selector === undefined) return [required('spec.selector')];
  if (Object.keys(selector).length === 0) return [invalid('spec.selector', selector, `empty selector is invalid for ${word}`)];
  return validateLabelSelector('spec.selector', selector);
}

function validateTemplate(spec: Json | undefined): FieldError[] {
  const template = objectAt(spec, 'template');
  const path = 'spec.template';
  const labels = templateLabels(template);
  const selector = objectAt(spec, 'selector');
  const matches = selector !== undefined && Object.keys(selector).length > 0 && selectorMatches(selector, labels);
  const podSpec = objectAt(template, 'spec');
  const restart = podSpec?.['restartPolicy'];
  return [
    ...(matches ? [] : [invalid(`${path}.metadata.labels`, labels, '`selector` does not match template `labels`')]),
    ...validateLabels(labels, `${path}.labels`),
    ...validatePodSpec(`${path}.spec`, podSpec),
    ...(restart === undefined || restart === 'Always' ? [] : [notSupported(`${path}.spec.restartPolicy`, restart, ['Always'])]),
  ];
}

function validateStrategy(path: string, strategy: Json | undefined, { strategy: allowed }: Workload): FieldError[] {
  const type = strategy?.['type'];
  if (typeof type !== 'string' || allowed?.types.includes(type) !== true)
    return [notSupported(`${path}.type`, type ?? '', allowed?.types ?? [])];
  const rolling = objectAt(strategy, 'rollingUpdate');
  if (type === 'Recreate')
    return rolling === undefined ? [] : [forbidden(`${path}.rollingUpdate`, "may not be specified when strategy `type` is 'Recreate'")];
  const none = (value: unknown): boolean => value === 0 || value === '0%';
  if (rolling !== undefined && none(rolling['maxUnavailable']) && none(rolling['maxSurge'])) {
    return [invalid(`${path}.rollingUpdate.maxUnavailable`, rolling['maxUnavailable'], 'may not be 0 when `maxSurge` is 0')];
  }
  return [];
}

const statefulSetFields = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
];

export function validateWorkloadUpdate(kind: WorkloadKind, object: Json, old: Json): FieldError[] {
  const [spec, before] = [objectAt(object, 'spec') ?? {}, objectAt(old, 'spec') ?? {}];
  if (kind === 'StatefulSet') {
    const fixed = (of: Json): Json => Object.fromEntries(Object.entries(of).filter(([key]) => !statefulSetFields.includes(key)));
    const quoted = statefulSetFields.map((field) => `'${field}'`);
    const list = `${quoted.slice(0, -1).join(', ')} and ${quoted.at(-1) ?? ''}`;
    return equalJson(fixed(spec), fixed(before))
      ? []
      : [forbidden('spec', `updates to statefulset spec for fields other than ${list} are forbidden`)];
  }
  return equalJson(spec['selector'], before['selector']) ? [] : [invalid('spec.selector', spec['selector'], immutable)];
}
