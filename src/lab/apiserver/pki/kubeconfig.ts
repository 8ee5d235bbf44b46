import { stringify } from 'yaml';

import type { KeyedPem } from './certificates.ts';

export interface KubeconfigCluster {
  /** The context, the cluster and (with `-admin` where several share a file) the user. */
  readonly name: string;
  /** `https://host:port` */
  readonly server: string;
  /** PEM. */
  readonly ca: string;
  readonly user: KeyedPem;
}

/** A kubeconfig with one context per cluster; the first one is the current one. */
export function kubeconfigText(clusters: readonly KubeconfigCluster[]): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': clusters[0]?.name ?? '',
    clusters: clusters.map(({ name, server, ca }) => ({ name, cluster: { server, 'certificate-authority-data': base64(ca) } })),
    users: clusters.map(({ name, user }) => ({
      name,
      user: { 'client-certificate-data': base64(user.certificate), 'client-key-data': base64(user.key) },
    })),
    contexts: clusters.map(({ name }) => ({ name, context: { cluster: name, user: name } })),
  });
}
