import type { AnyObject } from '../../../api/kubernetes.ts';
import { checkEscalation } from '../auth/escalation.ts';
import type { ServedResource } from '../registry.ts';
import { StatusError } from '../status.ts';
import type { Cluster, WriteOptions } from '../rest/cluster.ts';
import { checkNamespaceTakes } from './namespace-lifecycle.ts';
import { defaultTolerations, resolvePriority } from './pod-defaults.ts';
import { admitServiceAccount } from './service-account.ts';

export interface Admission {
  readonly operation: 'create' | 'update';
  readonly resource: ServedResource;
  readonly subresource?: string;
  /** The server's own copy; may be changed. */
  readonly object: AnyObject;
  readonly old: AnyObject | undefined;
  readonly options: WriteOptions;
}

/**
 * What stands between a request and the store beside the object's own rules: it may refuse (throwing the API's error) and fill
 * in what the cluster decides, such as a pod's token volume or a Service's address.
 */
export function admit(cluster: Cluster, admission: Admission): AnyObject {
  const { operation, resource, subresource = '', object, old } = admission;
  const { namespace, name } = object.metadata;
  if (operation === 'create' && resource.info.namespaced) checkNamespaceTakes(cluster.store, resource, namespace ?? '', name);
  if (operation === 'create' && resource.crd?.metadata.deletionTimestamp !== undefined) {
    throw new StatusError({
      code: 405,
      reason: 'MethodNotAllowed',
      message: `create not allowed while custom resource definition is terminating`,
      details: {},
    });
  }
  if (subresource !== '') return object;
  switch (resource.bucket) {
    case 'pods.':
      if (operation === 'create') {
        admitServiceAccount(cluster.store, object);
        resolvePriority(cluster.store, object);
        defaultTolerations(object);
      }
      break;
    case 'services.':
      cluster.serviceAddresses.allocate(object, old);
      break;
    case 'roles.rbac.authorization.k8s.io':
    case 'clusterroles.rbac.authorization.k8s.io':
    case 'rolebindings.rbac.authorization.k8s.io':
    case 'clusterrolebindings.rbac.authorization.k8s.io':
      checkEscalation(cluster, admission);
      break;
    default:
  }
  return object;
}
