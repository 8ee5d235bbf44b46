/** k8s.io/api/core/v1: pods and their status; the notation is that of ../field-table.ts. */
export default `
VolumeHealthCondition
  1 status string
  2 reason string
  3 message? string

PodVolumeHealth
  1 name string
  2 healthConditions? []VolumeHealthCondition @map(status,reason) ~merge(status)
  3 lastTransitionTime? Time

ContainerStateWaiting
  1 reason? string
  2 message? string

ContainerStateRunning
  1 startedAt? Time

ContainerStateTerminated
  1 exitCode int32
  2 signal? int32
  3 reason? string
  4 message? string
  5 startedAt? Time
  6 finishedAt? Time
  7 containerID? string

ContainerState
  1 waiting? *ContainerStateWaiting
  2 running? *ContainerStateRunning
  3 terminated? *ContainerStateTerminated

ContainerStatus
  1 name string
  2 state? ContainerState
  3 lastState? ContainerState
  4 ready bool
  5 restartCount int32
  6 image string
  7 imageID string
  8 containerID? string
  9 started? *bool
  10 allocatedResources? {Quantity}
  11 resources? *ResourceRequirements
  12 volumeMounts? []VolumeMountStatus @map(mountPath) ~merge(mountPath)
  13 user? *ContainerUser
  14 allocatedResourcesStatus? []ResourceStatus @map(name) ~merge(name)
  15 stopSignal? *string

ResourceStatus
  1 name string
  2 resources? []ResourceHealth @map(resourceID)

ResourceHealth
  1 resourceID string
  2 health? string
  6 message? *string

ContainerUser
  1 linux? *LinuxContainerUser

LinuxContainerUser
  1 uid int64
  2 gid int64
  3 supplementalGroups? []int64 @atomic

PodCondition
  1 type string
  7 observedGeneration? int64
  2 status string
  3 lastProbeTime? Time
  4 lastTransitionTime? Time
  5 reason? string
  6 message? string

VolumeMountStatus
  1 name string
  2 mountPath string
  3 readOnly? bool
  4 recursiveReadOnly? *string
  5 volumeStatus? *VolumeStatus

VolumeStatus
  1 image? *ImageVolumeStatus

ImageVolumeStatus
  1 imageRef? string

PodResourceClaimStatus
  1 name string
  2 resourceClaimName? *string

PodExtendedResourceClaimStatus
  1 requestMappings []ContainerExtendedResourceRequest @atomic
  2 resourceClaimName string

ContainerExtendedResourceRequest
  1 containerName string
  2 resourceName string
  3 requestName string

PodIP
  1 ip string

HostIP
  1 ip string

PodStatus
  17 observedGeneration? int64
  1 phase? string
  2 conditions? []PodCondition @map(type) ~merge(type)
  3 message? string
  4 reason? string
  11 nominatedNodeName? string
  5 hostIP? string
  16 hostIPs? []HostIP @atomic ~merge(ip)
  6 podIP? string
  12 podIPs? []PodIP @map(ip) ~merge(ip)
  7 startTime? *Time
  10 initContainerStatuses? []ContainerStatus @atomic
  8 containerStatuses? []ContainerStatus @atomic
  9 qosClass? string
  13 ephemeralContainerStatuses? []ContainerStatus @atomic
  14 resize? string
  15 resourceClaimStatuses? []PodResourceClaimStatus @map(name) ~merge,retainKeys(name)
  18 extendedResourceClaimStatus? *PodExtendedResourceClaimStatus
  19 allocatedResources? {Quantity}
  20 resources? *ResourceRequirements
  21 nodeAllocatableResourceClaimStatuses? []NodeAllocatableResourceClaimStatus @map(resourceClaimName) ~merge(resourceClaimName)
  22 volumeHealth? []PodVolumeHealth @map(name)

Pod
  1 metadata? meta.ObjectMeta
  2 spec? PodSpec
  3 status? PodStatus

NodeAllocatableResourceClaimStatus
  1 resourceClaimName string
  2 containers? []string @set
  4 mapping? []NodeAllocatableMappedResources @map(name) ~merge(name)
  5 overhead? []NodeAllocatableOverheadResources @map(name) ~merge(name)

NodeAllocatableMappedResources
  1 name string
  2 quantity *Quantity

NodeAllocatableOverheadResources
  1 name string
  2 perPod? *Quantity
  3 perContainer? *Quantity
`;
