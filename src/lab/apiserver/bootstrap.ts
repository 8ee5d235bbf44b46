import type { AnyObject } from '../../api/kubernetes.ts';
import { clusterRoleBindings, clusterRoles } from './auth/bootstrap-roles.ts';
import { apiserverUser } from './auth/user.ts';
import type { Cluster, WriteOptions } from './rest/cluster.ts';
import { create } from './rest/create.ts';

export interface BootstrapOptions {
  /** Where the API server is reached from pods: the endpoint behind the Service `kubernetes`. */
  readonly address: string;
  readonly port: number;
}

const rbacGroup = 'rbac.authorization.k8s.io';

/** The objects that every cluster begins with. What is there already stays as it is. */
export function bootstrap(cluster: Cluster, options: BootstrapOptions): void {
  const ensure = (apiVersion: string, plural: string, object: Pick<AnyObject, 'kind' | 'metadata'> & Record<string, unknown>): void => {
    const [version = '', group = ''] = apiVersion.split('/').toReversed();
    const resource = cluster.registry.builtin(group, version, plural);
    const { namespace, name } = object.metadata;
    if (cluster.store.get(resource.bucket, namespace ?? '', name) !== undefined) return;
    const write: WriteOptions = {
      user: apiserverUser,
      fieldManager: 'kube-apiserver',
      dryRun: false,
      fieldValidation: 'Strict',
      warnings: [],
    };
    create(cluster, { resource, namespace, body: { apiVersion, ...object }, options: write });
  };

  for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease'])
    ensure('v1', 'namespaces', { kind: 'Namespace', metadata: { name } });

  const labels = { 'kubernetes.io/bootstrapping': 'rbac-defaults' };
  for (const [name, rules] of Object.entries(clusterRoles)) {
    ensure(`${rbacGroup}/v1`, 'clusterroles', { kind: 'ClusterRole', metadata: { name, labels }, rules });
  }
  for (const [name, subjects] of Object.entries(clusterRoleBindings)) {
    const roleRef = { apiGroup: rbacGroup, kind: 'ClusterRole', name };
    ensure(`${rbacGroup}/v1`, 'clusterrolebindings', { kind: 'ClusterRoleBinding', metadata: { name, labels }, roleRef, subjects });
  }

  for (const [name, value] of [
    ['system-cluster-critical', 2_000_000_000],
    ['system-node-critical', 2_000_001_000],
  ] as const) {
    const description = `Used for system critical pods that must ${name === 'system-node-critical' ? 'not be moved from their current node' : 'run in the cluster, but can be moved to another node if necessary'}.`;
    ensure('scheduling.k8s.io/v1', 'priorityclasses', { kind: 'PriorityClass', metadata: { name }, value, description });
  }

  ensure('v1', 'services', {
    kind: 'Service',
    metadata: { name: 'kubernetes', namespace: 'default', labels: { component: 'apiserver', provider: 'kubernetes' } },
    spec: {
      type: 'ClusterIP',
      clusterIP: cluster.serviceAddresses.address(1),
      ports: [{ name: 'https', port: 443, targetPort: options.port, protocol: 'TCP' }],
    },
  });
  ensure('discovery.k8s.io/v1', 'endpointslices', {
    kind: 'EndpointSlice',
    metadata: { name: 'kubernetes', namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [options.address], conditions: { ready: true } }],
    ports: [{ name: 'https', port: options.port, protocol: 'TCP' }],
  });
  ensure('v1', 'endpoints', {
    kind: 'Endpoints',
    metadata: { name: 'kubernetes', namespace: 'default', labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } },
    subsets: [{ addresses: [{ ip: options.address }], ports: [{ name: 'https', port: options.port, protocol: 'TCP' }] }],
  });
}
