import { writeFileSync } from 'node:fs';

import { kubeconfig } from '../../kube/index.ts';
import { kubeconfigText } from '../apiserver/pki/kubeconfig.ts';
import { clusterPkiFiles } from '../apiserver/pki/files.ts';
import type { ClusterPlan } from '../network/plan.ts';
import { labFiles } from '../paths.ts';

/** Writes the lab's kubeconfig: a context per cluster, with the administrator's certificate, on the host's loopback. */
export function writeKubeconfig(directory: string, clusters: readonly ClusterPlan[]): void {
  const files = labFiles(directory);
  const text = kubeconfigText(
    clusters.map((plan) => {
      const { ca = '', cert = '', key = '' } = kubeconfig({ path: clusterPkiFiles(files.cluster(plan.name)).adminKubeconfig });
      return { name: plan.name, server: `https://127.0.0.1:${plan.hostPort}`, ca, user: { certificate: cert, key } };
    }),
  );
  writeFileSync(files.kubeconfig, text, { mode: 0o600 });
}
