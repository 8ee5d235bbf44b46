/**
 * Kubernetes and Istio objects in; Workloads, Services and Authorizations out. Pure derivations: no I/O, no clock, no
 * API server may enter. The rules are upstream's ambient index; where ours differ, the comment beside says so.
 */
export { deriveMesh, type Mesh } from './mesh.ts';
export { serviceKey, type MeshInputs, type MeshOptions, type ServiceInfo, type ServiceInfoPort, type TargetPort } from './model.ts';
export { addressAliases } from './resources.ts';
export { addressBytes, addressText, cidrBytes } from './addresses.ts';
export { appProtocolOf, protocolByName, type ServicePortProtocol } from './app-protocol.ts';
export { isGlobal, parentOf } from './federation.ts';
export { matches, SelectorIndex } from './selectors.ts';
export { kubernetesService } from './kubernetes-service.ts';
export { isPodReady, podAddresses, podUid, podWorkload } from './pod-workload.ts';
export { podPorts } from './workload-ports.ts';
export { allocatedAddresses, mayAllocate, type AllocatedAddress } from './service-entry.ts';
export { VipAllocator, type VipAllocatorOptions } from './vip-allocator.ts';
export type { ConvertedPolicy } from './authorization-policy.ts';
