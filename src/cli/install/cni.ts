import type { KubeObject } from '../../api/kubernetes.ts';
import { istioNamespace } from '../../api/names.ts';
import { bindingOf } from './istiod.ts';
import { managedBy, type InstallOptions } from './options.ts';
import { tolerateAll } from './ztunnel.ts';

const namespace = istioNamespace;
const labels = { 'k8s-app': 'istio-cni-node', ...managedBy };

/** The CNI agent's ServiceAccount, permissions and DaemonSet. */
export function cniManifests(options: InstallOptions): KubeObject[] {
  const read = ['get', 'list', 'watch'];
  const role = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: 'istio-cni', labels },
    rules: [
      { apiGroups: [''], resources: ['pods', 'namespaces'], verbs: read },
      { apiGroups: [''], resources: ['pods/status'], verbs: ['patch'] },
      { apiGroups: [''], resources: ['events'], verbs: ['create', 'patch'] },
    ],
  };
  // By its own DaemonSet the agent tells an uninstall from an upgrade.
  const ownRole = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: { name: 'istio-cni', namespace, labels },
    rules: [{ apiGroups: ['apps'], resources: ['daemonsets'], resourceNames: ['istio-cni-node'], verbs: ['get'] }],
  };
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'istio-cni', namespace, labels } },
    role,
    bindingOf('ClusterRole', 'istio-cni', 'istio-cni', labels),
    ownRole,
    bindingOf('Role', 'istio-cni', 'istio-cni', labels),
    daemonSet(options),
  ];
}

function daemonSet(options: InstallOptions): KubeObject {
  const field = (name: string, fieldPath: string): object => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  const hostPath = (name: string, path: string, type?: string): object => ({
    name,
    hostPath: { path, ...(type !== undefined && { type }) },
  });
  const object = {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'istio-cni-node', namespace, labels },
    spec: {
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1 } },
      selector: { matchLabels: { 'k8s-app': 'istio-cni-node' } },
      template: {
        metadata: { labels: { ...labels, 'istio.io/dataplane-mode': 'none', 'sidecar.istio.io/inject': 'false' } },
        spec: {
          serviceAccountName: 'istio-cni',
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          priorityClassName: 'system-node-critical',
          terminationGracePeriodSeconds: 5,
          // The rule that lets the kubelet's probes into the mesh is one of the node's network (docs/decisions/0003-cni-agent.md).
          hostNetwork: true,
          dnsPolicy: 'ClusterFirstWithHostNet',
          tolerations: tolerateAll,
          containers: [
            {
              name: 'install-cni',
              image: options.image,
              args: ['cni'],
              readinessProbe: { httpGet: { path: '/readyz', port: 8000 }, periodSeconds: 2 },
              env: [
                field('NODE_NAME', 'spec.nodeName'),
                field('POD_NAME', 'metadata.name'),
                field('POD_NAMESPACE', 'metadata.namespace'),
                field('HOST_IP', 'status.hostIP'),
                { name: 'AMBIENT_DNS_CAPTURE', value: 'true' },
              ],
              resources: { requests: { cpu: '100m', memory: '100Mi' } },
              securityContext: {
                privileged: false,
                runAsUser: 0,
                runAsGroup: 0,
                runAsNonRoot: false,
                capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'SYS_ADMIN', 'DAC_OVERRIDE'] },
              },
              volumeMounts: [
                { name: 'cni-bin-dir', mountPath: '/host/opt/cni/bin' },
                { name: 'cni-net-dir', mountPath: '/host/etc/cni/net.d' },
                { name: 'cni-socket-dir', mountPath: '/var/run/istio-cni' },
                { name: 'cni-netns-dir', mountPath: '/host/var/run/netns', mountPropagation: 'HostToContainer' },
                { name: 'cni-ztunnel-sock-dir', mountPath: '/var/run/ztunnel' },
              ],
            },
          ],
          volumes: [
            hostPath('cni-bin-dir', '/opt/cni/bin', 'DirectoryOrCreate'),
            hostPath('cni-net-dir', '/etc/cni/net.d', 'DirectoryOrCreate'),
            hostPath('cni-socket-dir', '/var/run/istio-cni', 'DirectoryOrCreate'),
            hostPath('cni-netns-dir', '/var/run/netns', 'DirectoryOrCreate'),
            hostPath('cni-ztunnel-sock-dir', '/var/run/ztunnel', 'DirectoryOrCreate'),
          ],
        },
      },
    },
  };
  return object;
}
