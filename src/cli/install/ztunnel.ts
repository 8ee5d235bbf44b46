import type { KubeObject } from '../../api/kubernetes.ts';
import { istioNamespace, ports } from '../../api/names.ts';
import { hostProgram } from './host-program.ts';
import { tokenVolume } from './istiod.ts';
import { managedBy, type InstallOptions } from './options.ts';

const namespace = istioNamespace;
const labels = { app: 'ztunnel', ...managedBy };

/** ztunnel's ServiceAccount and DaemonSet, ours or Istio's own program. It talks to istiod only, so it has no permission in the cluster. */
export function ztunnelManifests(options: InstallOptions): KubeObject[] {
  return [{ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'ztunnel', namespace, labels } }, daemonSet(options)];
}

function daemonSet(options: InstallOptions): KubeObject {
  const field = (name: string, fieldPath: string): object => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  const file = options.programs?.ztunnel;
  const program = file === undefined ? undefined : hostProgram('ztunnel', file);
  const istiod = `istiod.${namespace}.svc:${String(ports.istiodTls)}`;
  const object = {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'ztunnel', namespace, labels },
    spec: {
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      selector: { matchLabels: { app: 'ztunnel' } },
      template: {
        metadata: {
          labels: { ...labels, 'istio.io/dataplane-mode': 'none', 'sidecar.istio.io/inject': 'false' },
          annotations: { 'prometheus.io/port': String(ports.ztunnelStats), 'prometheus.io/scrape': 'true' },
        },
        spec: {
          serviceAccountName: 'ztunnel',
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          priorityClassName: 'system-node-critical',
          terminationGracePeriodSeconds: 30,
          tolerations: tolerateAll,
          containers: [
            {
              name: 'istio-proxy',
              image: options.image,
              ...(program === undefined ? { args: ['ztunnel'] } : { command: program.command, args: ['proxy', 'ztunnel'] }),
              ports: [{ name: 'ztunnel-stats', containerPort: ports.ztunnelStats, protocol: 'TCP' }],
              readinessProbe: { httpGet: { path: '/healthz/ready', port: ports.ztunnelReadiness }, periodSeconds: 2 },
              env: [
                { name: 'XDS_ADDRESS', value: istiod },
                { name: 'CA_ADDRESS', value: istiod },
                { name: 'ISTIO_META_CLUSTER_ID', value: options.clusterId },
                { name: 'NETWORK', value: options.network },
                { name: 'TRUST_DOMAIN', value: options.trustDomain },
                { name: 'INPOD_ENABLED', value: 'true' },
                { name: 'ISTIO_META_DNS_CAPTURE', value: 'true' },
                ...(program === undefined ? [] : upstreamEnvironment),
                { name: 'TERMINATION_GRACE_PERIOD_SECONDS', value: '30' },
                field('POD_NAME', 'metadata.name'),
                field('POD_NAMESPACE', 'metadata.namespace'),
                field('NODE_NAME', 'spec.nodeName'),
                field('INSTANCE_IP', 'status.podIP'),
                field('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
              ],
              resources: { requests: { cpu: '200m', memory: '512Mi' } },
              securityContext: {
                allowPrivilegeEscalation: true,
                privileged: false,
                readOnlyRootFilesystem: true,
                runAsUser: 0,
                runAsGroup: 1337,
                runAsNonRoot: false,
                capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'SYS_ADMIN', 'NET_RAW'] },
              },
              volumeMounts: [
                { name: 'istiod-ca-cert', mountPath: '/var/run/secrets/istio' },
                { name: 'istio-token', mountPath: '/var/run/secrets/tokens' },
                { name: 'cni-ztunnel-sock-dir', mountPath: '/var/run/ztunnel' },
                { name: 'tmp', mountPath: '/tmp' },
                ...(program === undefined ? [] : [program.volumeMount]),
              ],
            },
          ],
          volumes: [
            tokenVolume,
            { name: 'istiod-ca-cert', configMap: { name: 'istio-ca-root-cert' } },
            { name: 'cni-ztunnel-sock-dir', hostPath: { path: '/var/run/ztunnel', type: 'DirectoryOrCreate' } },
            { name: 'tmp', emptyDir: {} },
            ...(program === undefined ? [] : [program.volume]),
          ],
        },
      },
    },
  };
  return object;
}

/** What Istio's chart gives its ztunnel, and ours does not read. */
const upstreamEnvironment = [
  { name: 'RUST_LOG', value: 'info' },
  { name: 'RUST_BACKTRACE', value: '1' },
  { name: 'ISTIO_META_ENABLE_HBONE', value: 'true' },
  { name: 'ZTUNNEL_CPU_LIMIT', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '1' } } },
];

/** A node agent runs on every node, whatever its taints. */
export const tolerateAll = [
  { effect: 'NoSchedule', operator: 'Exists' },
  { key: 'CriticalAddonsOnly', operator: 'Exists' },
  { effect: 'NoExecute', operator: 'Exists' },
];
