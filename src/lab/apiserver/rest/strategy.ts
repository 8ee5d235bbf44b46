import type { AnyObject } from '../../../api/kubernetes.ts';
import { asList, asObject, deepEqual, isObject, omit } from '../json.ts';
import type { ServedResource } from '../registry.ts';
import { qosClass } from './pod-qos.ts';

/** What is particular to a resource when it is written (registry strategies of Kubernetes). */
export interface Strategy {
  /** What makes metadata.generation grow; `none`: the kind has no generation. */
  readonly generation: 'none' | 'spec' | 'content';
  /** Whether an update without a resourceVersion is allowed. */
  readonly unconditionalUpdate: boolean;
  /** A deletion answers with the object instead of a Status. */
  readonly returnsDeleted: boolean;
  /** Deletion waits for the node to end the pod. */
  readonly graceful: boolean;
  /** The endpoint `status` may change labels and annotations as well. */
  readonly statusMetadata: boolean;
  /** Status is written through its own endpoint only. */
  readonly status: boolean;
  /** Fields that a creation starts with, whatever the client sent; the object is the server's own copy. */
  prepareForCreate?(object: AnyObject): void;
  prepareForUpdate?(object: AnyObject, old: AnyObject): void;
}

const plain: Strategy = {
  generation: 'none',
  unconditionalUpdate: true,
  returnsDeleted: false,
  graceful: false,
  statusMetadata: false,
  status: false,
};

const workload: Strategy = {
  ...plain,
  generation: 'spec',
  status: true,
  prepareForCreate: (object) => {
    object['status'] = {};
  },
};

const builtin: Readonly<Record<string, Strategy>> = {
  'pods.': {
    ...plain,
    generation: 'spec',
    graceful: true,
    returnsDeleted: true,
    status: true,
    statusMetadata: true,
    prepareForCreate: (pod) => {
      pod['status'] = { phase: 'Pending', qosClass: qosClass(pod) };
    },
  },
  'services.': {
    ...plain,
    returnsDeleted: true,
    status: true,
    statusMetadata: true,
    prepareForCreate: (service) => {
      service['status'] = { loadBalancer: {} };
    },
  },
  'namespaces.': {
    ...plain,
    returnsDeleted: true,
    status: true,
    statusMetadata: true,
    prepareForCreate: (namespace) => {
      const spec = asObject(namespace['spec']);
      const finalizers = asList(spec['finalizers']);
      namespace['spec'] = { ...spec, finalizers: finalizers.includes('kubernetes') ? finalizers : [...finalizers, 'kubernetes'] };
      namespace['status'] = { phase: 'Active' };
    },
    prepareForUpdate: (namespace, old) => {
      namespace['spec'] = { ...asObject(namespace['spec']), finalizers: asObject(old['spec'])['finalizers'] };
    },
  },
  // A kubelet registers its node with the status.
  'nodes.': { ...plain, status: true, statusMetadata: true },
  'serviceaccounts.': { ...plain, returnsDeleted: true },
  'deployments.apps': workload,
  'replicasets.apps': { ...workload, prepareForCreate: (set) => (set['status'] = { replicas: 0 }) },
  'daemonsets.apps': {
    ...workload,
    prepareForCreate: (set) =>
      (set['status'] = { currentNumberScheduled: 0, numberMisscheduled: 0, desiredNumberScheduled: 0, numberReady: 0 }),
  },
  'statefulsets.apps': { ...workload, prepareForCreate: (set) => (set['status'] = { replicas: 0, availableReplicas: 0 }) },
  'endpointslices.discovery.k8s.io': { ...plain, generation: 'content' },
  'ingresses.networking.k8s.io': { ...workload, prepareForCreate: (ingress) => (ingress['status'] = { loadBalancer: {} }) },
  'ingressclasses.networking.k8s.io': { ...plain, generation: 'spec' },
  'networkpolicies.networking.k8s.io': { ...plain, generation: 'spec', unconditionalUpdate: true },
  'poddisruptionbudgets.policy': {
    ...workload,
    prepareForCreate: (budget) => (budget['status'] = { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 }),
  },
  'priorityclasses.scheduling.k8s.io': { ...plain, generation: 'content' },
  'leases.coordination.k8s.io': { ...plain, unconditionalUpdate: false },
  'mutatingwebhookconfigurations.admissionregistration.k8s.io': { ...plain, generation: 'content', unconditionalUpdate: false },
  'validatingwebhookconfigurations.admissionregistration.k8s.io': { ...plain, generation: 'content', unconditionalUpdate: false },
  'customresourcedefinitions.apiextensions.k8s.io': {
    ...plain,
    generation: 'spec',
    unconditionalUpdate: false,
    status: true,
    prepareForCreate: (crd) => {
      const versions = asList(asObject(crd['spec'])['versions']).map(asObject);
      const stored = versions.filter(({ storage }) => storage === true).map(({ name }) => name);
      crd['status'] = { conditions: null, acceptedNames: { plural: '', kind: '' }, storedVersions: stored };
    },
  },
};

export function strategyFor(resource: ServedResource): Strategy {
  if (resource.crd === undefined) return builtin[resource.bucket] ?? plain;
  const status = resource.info.subresources.some(({ name }) => name === 'status');
  return {
    ...plain,
    generation: 'content',
    unconditionalUpdate: false,
    status,
    ...(status && { prepareForCreate: (object) => delete object['status'] }),
  };
}

/** Paths that a write through an endpoint does not change, so that nobody comes to own them. */
export function resetFieldsOf(resource: ServedResource, subresource: string): readonly (readonly string[])[] {
  const strategy = strategyFor(resource);
  if (subresource === '') return strategy.status && resource.bucket !== 'nodes.' ? [['status']] : [];
  if (subresource !== 'status') return [];
  const fields = [['spec'], ...(strategy.statusMetadata ? [] : [['metadata']])];
  return fields;
}

/** Whether an update of the object itself (not of its status) makes it another generation. */
export function isNewGeneration(strategy: Strategy, object: AnyObject, old: AnyObject): boolean {
  switch (strategy.generation) {
    case 'none':
      return false;
    case 'spec':
      return !deepEqual(object['spec'], old['spec']);
    case 'content': {
      const content = (value: AnyObject): unknown => omit(value, 'metadata', 'apiVersion', 'kind', ...(strategy.status ? ['status'] : []));
      return !deepEqual(content(object), content(old));
    }
  }
}

/** Whether nothing holds the object back any more: it goes with this write. */
export function isReadyToGo(resource: ServedResource, object: AnyObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds, finalizers } = object.metadata;
  if (deletionTimestamp === undefined || (finalizers ?? []).length > 0) return false;
  if ((deletionGracePeriodSeconds ?? 0) !== 0) return false;
  if (resource.bucket !== 'namespaces.') return true;
  const spec = object['spec'];
  return !isObject(spec) || asList(spec['finalizers']).length === 0;
}
