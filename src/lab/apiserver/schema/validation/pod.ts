import { equalJson, objectAt, objectsAt, stringAt, stringMapAt, type Json } from '../json.ts';
import type { FieldError } from '../types.ts';
import { validateContainers } from './containers.ts';
import { duplicate, forbidden, invalid, notSupported, required } from './errors.ts';
import { validateLabels } from './meta.ts';
import { labelMessages, subdomainMessages } from './names.ts';
import { validateNonNegative } from './numbers.ts';

const restartPolicies = ['Always', 'OnFailure', 'Never'];
const dnsPolicies = ['ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'];

/** `path`: of the pod's spec, alone or in a template. */
export function validatePodSpec(path: string, spec: Json | undefined): FieldError[] {
  const volumes = objectsAt(spec, 'volumes');
  const names = new Set(volumes.map((volume) => stringAt(volume, 'name') ?? ''));
  const account = stringAt(spec, 'serviceAccountName') ?? '';
  const hostname = stringAt(spec, 'hostname') ?? '';
  const deadline = spec?.['activeDeadlineSeconds'];
  return [
    ...validateVolumes(`${path}.volumes`, volumes),
    ...validateContainers(path, spec, names),
    ...choice(`${path}.restartPolicy`, spec?.['restartPolicy'], restartPolicies),
    ...choice(`${path}.dnsPolicy`, spec?.['dnsPolicy'], dnsPolicies),
    ...validateLabels(stringMapAt(spec, 'nodeSelector'), `${path}.nodeSelector`),
    ...validateNonNegative(`${path}.terminationGracePeriodSeconds`, spec?.['terminationGracePeriodSeconds']),
    ...(account === '' ? [] : subdomainMessages(account).map((message) => invalid(`${path}.serviceAccountName`, account, message))),
    ...(hostname === '' ? [] : labelMessages(hostname).map((message) => invalid(`${path}.hostname`, hostname, message))),
    ...(typeof deadline === 'number' && (deadline < 1 || deadline > 0x7fffffff)
      ? [invalid(`${path}.activeDeadlineSeconds`, deadline, `must be between 1 and 2147483647, inclusive`)]
      : []),
    ...objectsAt(spec, 'tolerations').flatMap((toleration, index) => validateToleration(`${path}.tolerations[${index}]`, toleration)),
  ];
}

/** A required value out of a few. */
export function choice(path: string, value: unknown, allowed: readonly string[]): FieldError[] {
  if (value === undefined || value === '') return [required(path)];
  return typeof value === 'string' && allowed.includes(value) ? [] : [notSupported(path, value, [...allowed].sort())];
}

function validateVolumes(path: string, volumes: readonly Json[]): FieldError[] {
  return volumes.flatMap((volume, index) => {
    const at = `${path}[${index}]`;
    const { name, ...sources } = volume;
    const kinds = Object.keys(sources);
    const errors = kinds.slice(1).map((kind) => forbidden(`${at}.${kind}`, 'may not specify more than 1 volume type'));
    if (kinds.length === 0) errors.push(required(at, 'must specify a volume type'));
    if (typeof name !== 'string' || name === '') return [...errors, required(`${at}.name`)];
    errors.push(...labelMessages(name).map((message) => invalid(`${at}.name`, name, message)));
    if (volumes.slice(0, index).some((earlier) => earlier['name'] === name)) errors.push(duplicate(`${at}.name`, name));
    const hostPath = objectAt(volume, 'hostPath');
    if (hostPath !== undefined && (stringAt(hostPath, 'path') ?? '') === '') errors.push(required(`${at}.hostPath.path`));
    return errors;
  });
}

function validateToleration(path: string, toleration: Json): FieldError[] {
  const { key = '', operator = 'Equal', value = '', effect = '', tolerationSeconds } = toleration;
  const errors: FieldError[] = [];
  if (key === '' && operator !== 'Exists') {
    errors.push(
      invalid(`${path}.operator`, operator, 'operator must be Exists when `key` is empty, which means "match all values and all keys"'),
    );
  }
  if (tolerationSeconds !== undefined && effect !== 'NoExecute') {
    errors.push(invalid(`${path}.effect`, effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"));
  }
  if (operator === 'Exists' && value !== '')
    errors.push(invalid(`${path}.operator`, toleration, "value must be empty when `operator` is 'Exists'"));
  if (operator !== 'Exists' && operator !== 'Equal') errors.push(notSupported(`${path}.operator`, operator, ['Equal', 'Exists']));
  return errors;
}

const mutableFields = [
  '`spec.containers[*].image`',
  '`spec.initContainers[*].image`',
  '`spec.activeDeadlineSeconds`',
  '`spec.tolerations` (only additions to existing tolerations)',
  '`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
].join(',');

/** A running pod is what it was made as, but for its images, its deadline and more tolerations. */
export function validatePodUpdate(pod: Json, old: Json): FieldError[] {
  const [spec, before] = [objectAt(pod, 'spec') ?? {}, objectAt(old, 'spec') ?? {}];
  for (const list of ['containers', 'initContainers']) {
    if (objectsAt(spec, list).length !== objectsAt(before, list).length) {
      return [forbidden(`spec.${list}`, 'pod updates may not add or remove containers')];
    }
  }
  const tolerations = objectsAt(spec, 'tolerations');
  const kept = objectsAt(before, 'tolerations').every((toleration) => tolerations.some((candidate) => equalJson(candidate, toleration)));
  if (kept && equalJson(fixedPart(spec), fixedPart(before))) return [];
  return [forbidden('spec', `pod updates may not change fields other than ${mutableFields}`)];
}

function fixedPart(spec: Json): Json {
  const withoutImages = (list: string): Json[] => objectsAt(spec, list).map((container) => ({ ...container, image: '' }));
  return {
    ...spec,
    containers: withoutImages('containers'),
    initContainers: withoutImages('initContainers'),
    activeDeadlineSeconds: 0,
    tolerations: [],
  };
}
