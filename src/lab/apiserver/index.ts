/**
 * The lab's Kubernetes-compatible API server: one process, one file of state. What is served is data (`schema/`); how objects are
 * read and written (`rest/`), who may (`auth/`), how it looks on the wire (`http/`) and where it stays (`storage/`) know no
 * particular kind beyond what `rest/strategy.ts` and `admission/` name. Nothing that acts on objects by itself may enter:
 * that is what controllers are for, and they are clients like all others.
 */
export { ensureClusterPki, type ClusterPki, type ClusterPkiOptions } from './pki/cluster-pki.ts';
export { clusterPkiFiles, type ClusterPkiFiles } from './pki/files.ts';
export { kubeconfigText, type KubeconfigCluster } from './pki/kubeconfig.ts';
export { runApiServer, type ApiServerOptions } from './server.ts';
