import type { KubeObject } from '../../../src/api/kubernetes.ts';
import { programCommand } from './steady-load.ts';

export const applicationNamespace = 'demo';
export const applicationName = 'global-service';
export const applicationHost = 'global-service.demo.mesh.internal';

export interface ServicePort {
  readonly name: string;
  readonly port: number;
  readonly targetPort?: number | string;
}

export const namespaceManifest: KubeObject = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: applicationNamespace, labels: { 'istio.io/dataplane-mode': 'ambient' } },
};

export function serviceManifest(ports: readonly ServicePort[] = [{ name: 'http', port: 5000 }]): KubeObject & { spec: unknown } {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: applicationName,
      namespace: applicationNamespace,
      labels: { app: applicationName, 'solo.io/service-scope': 'global' },
    },
    spec: { selector: { app: applicationName }, ports },
  };
}

/**
 * Pods that go on answering for 7 s after their end was decided: longer than any request may still go there. So a request that goes to a
 * pod that is gone is seen by its answer (of an address without a pod ztunnel tells only when it gives up, after half a minute), and none has to
 * fail.
 */
export function deploymentManifest(version: string, replicas: number): KubeObject & { spec: unknown } {
  const labels = { app: applicationName, version };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: applicationName, namespace: applicationNamespace },
    spec: {
      replicas,
      selector: { matchLabels: { app: applicationName } },
      strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      template: {
        metadata: { labels },
        spec: {
          terminationGracePeriodSeconds: 15,
          containers: [
            {
              name: 'instance',
              image: `docker.io/istio/examples-helloworld-${version}`,
              command: programCommand('instance.ts'),
              ports: [
                { name: 'main', containerPort: 5000 },
                { name: 'second', containerPort: 5001 },
              ],
              readinessProbe: { httpGet: { path: '/ready', port: 5000 }, periodSeconds: 1, failureThreshold: 1 },
              lifecycle: { preStop: { sleep: { seconds: 7 } } },
            },
          ],
        },
      },
    },
  };
}
