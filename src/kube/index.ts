/**
 * A Kubernetes API server seen from a client: requests, informers, events, leases, waiting, exec.
 * Nothing about the mesh may enter; generated clients stay out (docs/decisions/0001).
 */
export { inClusterConfig, kubeconfig, kubeconfigPaths, type ClientConfig } from './config.ts';
export type { Credentials, CredentialSource } from './credentials.ts';
export { execConfig, type ExecConfig } from './credential-plugin/config.ts';
export { CredentialPlugin, type CredentialPluginOptions } from './credential-plugin/credential-plugin.ts';
export { isAlreadyExists, isConflict, isExpired, isNotFound, KubeApiError } from './api-error.ts';
export {
  collectionPath,
  KubeClient,
  objectPath,
  type ApplyOptions,
  type DeepPartial,
  type DeleteOptions,
  type ListOptions,
  type ObjectList,
  type ObjectRef,
  type PatchType,
  type WatchOptions,
  type WriteOptions,
} from './client.ts';
export { EventRecorder, type EventInput } from './events.ts';
export { execInPod, type ExecResult } from './exec.ts';
export { Informer, keyOf, type Change, type InformerOptions } from './informer.ts';
export { InformerGroup } from './informer-group.ts';
export { leadWhileElected, type Lead, type LeaderElectionOptions } from './leader-election.ts';
export type { RawRequest } from './transport.ts';
export { contains } from './subset.ts';
export { logFailure, WorkQueue, type WorkQueueOptions, type WorkResult } from './work-queue.ts';
export { waitForObjects, type WaitOptions } from './wait.ts';
export type { WatchEvent } from './watch.ts';
