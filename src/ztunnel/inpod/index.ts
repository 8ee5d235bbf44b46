/** ztunnel's side of the handover of pods by the CNI agent (ZDS). It knows nothing of what a pod's proxy does. */
export { runInPod, type InPodOptions } from './client.ts';
export type { Pod, StartPodProxy } from './pods.ts';
