import path from 'node:path';

/** Files of a cluster's PKI. All keys and kubeconfigs are readable by their owner only. */
export interface ClusterPkiFiles {
  readonly ca: string;
  readonly caKey: string;
  readonly apiserver: string;
  readonly apiserverKey: string;
  /** The API server's identity towards the node. */
  readonly kubeletClient: string;
  readonly kubeletClientKey: string;
  /** The node's server certificate, for port 10250. */
  readonly kubelet: string;
  readonly kubeletKey: string;
  /** Signs service account tokens. */
  readonly serviceAccountKey: string;
  /** group system:masters */
  readonly adminKubeconfig: string;
  readonly controllerManagerKubeconfig: string;
  readonly nodeKubeconfig: string;
}

/** Where a cluster's PKI is, in the cluster's directory. */
export function clusterPkiFiles(stateDir: string): ClusterPkiFiles {
  const pki = (name: string): string => path.join(stateDir, 'pki', name);
  return {
    ca: pki('ca.crt'),
    caKey: pki('ca.key'),
    apiserver: pki('apiserver.crt'),
    apiserverKey: pki('apiserver.key'),
    kubeletClient: pki('apiserver-kubelet-client.crt'),
    kubeletClientKey: pki('apiserver-kubelet-client.key'),
    kubelet: pki('kubelet.crt'),
    kubeletKey: pki('kubelet.key'),
    serviceAccountKey: pki('sa.key'),
    adminKubeconfig: path.join(stateDir, 'admin.kubeconfig'),
    controllerManagerKubeconfig: path.join(stateDir, 'controller-manager.kubeconfig'),
    nodeKubeconfig: path.join(stateDir, 'node.kubeconfig'),
  };
}
