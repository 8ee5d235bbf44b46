import type { AnyObject } from '../../../../api/kubernetes.ts';
import { validateCrd } from '../crd/definition.ts';
import { numberAt, objectAt, objectsAt, stringAt, type Json } from '../json.ts';
import { builtinResources } from '../resources.ts';
import type { FieldError } from '../types.ts';
import { validateConfigMap, validateDataUpdate, validateSecret } from './data.ts';
import { forbidden, invalid, required } from './errors.ts';
import { validateIngress } from './ingress.ts';
import { validateMeta, validateMetaUpdate } from './meta.ts';
import { label1035Messages, labelMessages, pathSegmentMessages, subdomainMessages, type NameCheck } from './names.ts';
import { immutable, validateNonNegative } from './numbers.ts';
import { validatePodSpec, validatePodUpdate } from './pod.ts';
import { validateBinding, validateBindingUpdate, validateRole } from './rbac.ts';
import { validateLabelSelector } from './selectors.ts';
import { validateEndpointSlice, validateService, validateServiceUpdate } from './service.ts';
import { validateWorkload, validateWorkloadUpdate, type WorkloadKind } from './workloads.ts';

/** The rules of one kind, beyond those for all metadata. */
interface Rules {
  /** Default: an RFC 1123 subdomain. */
  readonly name?: NameCheck;
  readonly validate?: (object: Json) => FieldError[];
  readonly validateUpdate?: (object: Json, old: Json) => FieldError[];
}

const workload = (kind: WorkloadKind): Rules => ({
  validate: (object) => validateWorkload(kind, object),
  validateUpdate: (object, old) => validateWorkloadUpdate(kind, object, old),
});

const binding = (namespaced: boolean): Rules => ({
  name: pathSegmentMessages,
  validate: (object) => validateBinding(object, namespaced),
  validateUpdate: validateBindingUpdate,
});

const rules: Readonly<Record<string, Readonly<Record<string, Rules>>>> = {
  core: {
    ConfigMap: { validate: validateConfigMap, validateUpdate: (object, old) => validateDataUpdate(['data', 'binaryData'], object, old) },
    Event: { name: pathSegmentMessages, validate: validateEvent },
    Namespace: { name: labelMessages },
    Pod: { validate: (pod) => validatePodSpec('spec', objectAt(pod, 'spec')), validateUpdate: validatePodUpdate },
    Secret: { validate: validateSecret, validateUpdate: (object, old) => validateDataUpdate(['data'], object, old) },
    Service: { name: label1035Messages, validate: validateService, validateUpdate: validateServiceUpdate },
  },
  apps: {
    ControllerRevision: { validate: (object) => validateNonNegative('revision', object['revision']) },
    DaemonSet: workload('DaemonSet'),
    Deployment: workload('Deployment'),
    ReplicaSet: workload('ReplicaSet'),
    StatefulSet: workload('StatefulSet'),
  },
  admissionregistration: {
    MutatingWebhookConfiguration: { validate: validateWebhooks },
    ValidatingWebhookConfiguration: { validate: validateWebhooks },
  },
  apiextensions: {
    CustomResourceDefinition: { validate: validateCrd, validateUpdate: (object, old) => validateCrd(object, old) },
  },
  authentication: { TokenRequest: { validate: validateTokenRequest } },
  coordination: { Lease: { validate: validateLease } },
  discovery: {
    EndpointSlice: {
      validate: validateEndpointSlice,
      validateUpdate: (slice, old) =>
        slice['addressType'] === old['addressType'] ? [] : [invalid('addressType', slice['addressType'], immutable)],
    },
  },
  events: { Event: { name: pathSegmentMessages } },
  networking: {
    Ingress: { validate: validateIngress },
    NetworkPolicy: { validate: (policy) => validateLabelSelector('spec.podSelector', objectAt(objectAt(policy, 'spec'), 'podSelector')) },
  },
  policy: { PodDisruptionBudget: { validate: validateBudget } },
  rbac: {
    ClusterRole: { name: pathSegmentMessages, validate: (role) => validateRole(role, false) },
    ClusterRoleBinding: binding(false),
    Role: { name: pathSegmentMessages, validate: (role) => validateRole(role, true) },
    RoleBinding: binding(true),
  },
  scheduling: {
    PriorityClass: {
      validateUpdate: (object, old) =>
        numberAt(object, 'value') === numberAt(old, 'value') ? [] : [forbidden('value', 'may not be changed in an update.')],
    },
  },
};

/**
 * What is wrong with an object of a built-in kind, on its own or as an update of `old`. As on a server, an update is judged twice over, so that an error in
 * metadata is told as often as there; the message of a Status names each once.
 */
export function validateBuiltin(table: string, kind: string, object: AnyObject, old?: AnyObject, subresource?: 'status'): FieldError[] {
  const own = rules[table]?.[kind] ?? {};
  const resource = builtinResources.find(
    (candidate) => candidate.kind === kind && tableOf(candidate.group) === table && candidate.storedAs === undefined,
  );
  if (resource?.storageVersionHash === undefined) return own.validate?.(object) ?? [];
  const { namespaced } = resource;
  const meta = validateMeta(object.metadata, { namespaced, name: own.name ?? subdomainMessages });
  if (old === undefined) return [...meta, ...(own.validate?.(object) ?? [])];
  const common = validateMeta(object.metadata, { namespaced, name: pathSegmentMessages });
  const update = validateMetaUpdate(object.metadata, old.metadata);
  if (subresource === 'status') return [...common, ...update, ...update];
  const changes = own.validateUpdate?.(object, old) ?? [];
  // A definition's rules know of the old one themselves.
  const content = kind === 'CustomResourceDefinition' ? [] : (own.validate?.(object) ?? []);
  return [...common, ...update, ...meta, ...update, ...content, ...changes];
}

function tableOf(group: string): string {
  return group === '' ? 'core' : (group.split('.')[0] ?? '');
}

/** Events about objects outside of any namespace may stand anywhere. */
function validateEvent(event: Json): FieldError[] {
  const namespace = stringAt(objectAt(event, 'metadata'), 'namespace') ?? '';
  const involved = stringAt(objectAt(event, 'involvedObject'), 'namespace') ?? '';
  return involved !== '' && involved !== namespace ? [invalid('involvedObject.namespace', involved, 'does not match event.namespace')] : [];
}

function validateLease(lease: Json): FieldError[] {
  const spec = objectAt(lease, 'spec');
  const duration = numberAt(spec, 'leaseDurationSeconds');
  return [
    ...(duration !== undefined && duration <= 0 ? [invalid('spec.leaseDurationSeconds', duration, 'must be greater than 0')] : []),
    ...validateNonNegative('spec.leaseTransitions', spec?.['leaseTransitions']),
  ];
}

function validateTokenRequest(request: Json): FieldError[] {
  const seconds = numberAt(objectAt(request, 'spec'), 'expirationSeconds') ?? 0;
  const path = 'spec.expirationSeconds';
  if (seconds < 600) return [invalid(path, seconds, 'may not specify a duration less than 10 minutes')];
  return seconds > 2 ** 32 ? [invalid(path, seconds, 'may not specify a duration larger than 2^32 seconds')] : [];
}

function validateBudget(budget: Json): FieldError[] {
  const spec = objectAt(budget, 'spec') ?? {};
  const both = spec['minAvailable'] !== undefined && spec['maxUnavailable'] !== undefined;
  return [
    ...(both ? [invalid('spec', spec, 'minAvailable and maxUnavailable cannot be both set')] : []),
    ...validateLabelSelector('spec.selector', objectAt(spec, 'selector')),
  ];
}

function validateWebhooks(object: Json): FieldError[] {
  return objectsAt(object, 'webhooks').flatMap((webhook, index) => {
    const path = `webhooks[${index}]`;
    const name = stringAt(webhook, 'name') ?? '';
    const sideEffects = stringAt(webhook, 'sideEffects') ?? '';
    const client = objectAt(webhook, 'clientConfig');
    const errors =
      name.split('.').length < 3
        ? [invalid(`${path}.name`, name, 'should be a domain with at least three segments separated by dots')]
        : [];
    if (sideEffects !== 'None' && sideEffects !== 'NoneOnDryRun')
      errors.push(required(`${path}.sideEffects`, 'must specify one of None, NoneOnDryRun'));
    if (!Array.isArray(webhook['admissionReviewVersions']) || webhook['admissionReviewVersions'].length === 0) {
      errors.push(required(`${path}.admissionReviewVersions`, 'must specify one of v1, v1beta1'));
    }
    if ((client?.['url'] === undefined) === (client?.['service'] === undefined)) {
      errors.push(required(`${path}.clientConfig`, 'exactly one of url or service is required'));
    }
    return errors;
  });
}
