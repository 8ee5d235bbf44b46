/** k8s.io/api/core/v1, without pods and volumes; the notation is that of ../field-table.ts. */
export default `
PersistentVolumeClaim
  1 metadata? meta.ObjectMeta
  2 spec? PersistentVolumeClaimSpec
  3 status? PersistentVolumeClaimStatus

ModifyVolumeStatus
  1 targetVolumeAttributesClassName? string
  2 status string

PersistentVolumeClaimCondition
  1 type string
  2 status string
  3 lastProbeTime? Time
  4 lastTransitionTime? Time
  5 reason? string
  6 message? string

VolumeHealthStatus
  1 healthConditions? []VolumeHealthCondition @map(status,reason) ~merge(status)
  2 lastTransitionTime? Time

PersistentVolumeClaimStatus
  1 phase? string
  2 accessModes? []string @atomic
  3 capacity? {Quantity}
  4 conditions? []PersistentVolumeClaimCondition @map(type) ~merge(type)
  5 allocatedResources? {Quantity}
  7 allocatedResourceStatuses? {string}
  8 currentVolumeAttributesClassName? *string
  9 modifyVolumeStatus? *ModifyVolumeStatus
  10 healthStatus? *VolumeHealthStatus

GRPCAction
  1 port int32
  2 service+ *string =""
  3 mode? *string

ProbeHandler
  1 exec? *ExecAction
  2 httpGet? *HTTPGetAction
  3 tcpSocket? *TCPSocketAction
  4 grpc? *GRPCAction

Taint
  1 key string
  2 value? string
  3 effect string
  4 timeAdded? *Time

EphemeralContainerCommon
  1 name string
  2 image? string
  3 command? []string @atomic
  4 args? []string @atomic
  5 workingDir? string
  6 ports? []ContainerPort @map(containerPort,protocol) ~merge(containerPort)
  19 envFrom? []EnvFromSource @atomic
  7 env? []EnvVar @map(name) ~merge(name)
  8 resources? ResourceRequirements
  23 resizePolicy? []ContainerResizePolicy @atomic
  24 restartPolicy? *string
  25 restartPolicyRules? []ContainerRestartRule @atomic
  9 volumeMounts? []VolumeMount @map(mountPath) ~merge(mountPath)
  21 volumeDevices? []VolumeDevice @map(devicePath) ~merge(devicePath)
  10 livenessProbe? *Probe
  11 readinessProbe? *Probe
  22 startupProbe? *Probe
  12 lifecycle? *Lifecycle
  13 terminationMessagePath? string
  20 terminationMessagePolicy? string
  14 imagePullPolicy? string
  15 securityContext? *SecurityContext
  16 stdin? bool
  17 stdinOnce? bool
  18 tty? bool

PodTemplate
  1 metadata? meta.ObjectMeta
  2 template? PodTemplateSpec

SessionAffinityConfig
  1 clientIP? *ClientIPConfig

ClientIPConfig
  1 timeoutSeconds? *int32

ServiceStatus
  1 loadBalancer? LoadBalancerStatus
  2 conditions? []meta.Condition @map(type) ~merge(type)

LoadBalancerStatus
  1 ingress? []LoadBalancerIngress @atomic

LoadBalancerIngress
  1 ip? string
  2 hostname? string
  3 ipMode? *string
  4 ports? []PortStatus @atomic

ServiceSpec
  1 ports? []ServicePort @map(port,protocol) ~merge(port)
  2 selector? {string} @atomic
  3 clusterIP? string
  18 clusterIPs? []string @atomic
  4 type? string
  5 externalIPs? []string @atomic
  7 sessionAffinity? string
  8 loadBalancerIP? string
  9 loadBalancerSourceRanges? []string @atomic
  10 externalName? string
  11 externalTrafficPolicy? string
  12 healthCheckNodePort? int32
  13 publishNotReadyAddresses? bool
  14 sessionAffinityConfig? *SessionAffinityConfig
  19 ipFamilies? []string @atomic
  17 ipFamilyPolicy? *string
  20 allocateLoadBalancerNodePorts? *bool
  21 loadBalancerClass? *string
  22 internalTrafficPolicy? *string
  23 trafficDistribution? *string

ServicePort
  1 name? string
  2 protocol? string =TCP
  6 appProtocol? *string
  3 port int32
  4 targetPort? IntOrString
  5 nodePort? int32

Service
  1 metadata? meta.ObjectMeta
  2 spec? ServiceSpec
  3 status? ServiceStatus

ServiceAccount
  1 metadata? meta.ObjectMeta
  2 secrets? []ObjectReference @map(name) ~merge(name)
  3 imagePullSecrets? []LocalObjectReference @atomic
  4 automountServiceAccountToken? *bool

Endpoints
  1 metadata? meta.ObjectMeta
  2 subsets? []EndpointSubset @atomic

EndpointSubset
  1 addresses? []EndpointAddress @atomic
  2 notReadyAddresses? []EndpointAddress @atomic
  3 ports? []EndpointPort @atomic

EndpointAddress @atomic
  1 ip string
  3 hostname? string
  4 nodeName? *string
  2 targetRef? *ObjectReference

EndpointPort @atomic
  1 name? string
  2 port int32
  3 protocol? string
  4 appProtocol? *string

NodeSpec
  1 podCIDR? string
  7 podCIDRs? []string @set ~merge
  3 providerID? string
  4 unschedulable? bool
  5 taints? []Taint @atomic
  6 configSource? *NodeConfigSource
  2 externalID? string
  8 podPreemptionPolicy? *NodePodPreemptionPolicy

NodePodPreemptionPolicy
  1 disableResizePreemption? []string @set

NodeConfigSource
  2 configMap? *ConfigMapNodeConfigSource

ConfigMapNodeConfigSource
  1 namespace string
  2 name string
  3 uid? string
  4 resourceVersion? string
  5 kubeletConfigKey string

DaemonEndpoint
  1 Port int32

NodeDaemonEndpoints
  1 kubeletEndpoint? DaemonEndpoint

NodeRuntimeHandlerFeatures
  1 recursiveReadOnlyMounts? *bool
  2 userNamespaces? *bool

NodeRuntimeHandler
  1 name+ string
  2 features? *NodeRuntimeHandlerFeatures

NodeFeatures
  1 supplementalGroupsPolicy? *bool

NodeSystemInfo
  1 machineID string
  2 systemUUID string
  3 bootID string
  4 kernelVersion string
  5 osImage string
  6 containerRuntimeVersion string
  7 kubeletVersion string
  8 kubeProxyVersion string
  9 operatingSystem string
  10 architecture string
  11 swap? *NodeSwapStatus

NodeSwapStatus
  1 capacity? *int64

NodeConfigStatus
  1 assigned? *NodeConfigSource
  2 active? *NodeConfigSource
  3 lastKnownGood? *NodeConfigSource
  4 error? string

NodeStatus
  1 capacity? {Quantity}
  2 allocatable? {Quantity}
  3 phase? string
  4 conditions? []NodeCondition @map(type) ~merge(type)
  5 addresses? []NodeAddress @map(type) ~merge(type)
  6 daemonEndpoints? NodeDaemonEndpoints
  7 nodeInfo? NodeSystemInfo
  8 images? []ContainerImage @atomic
  9 volumesInUse? []string @atomic
  10 volumesAttached? []AttachedVolume @atomic
  11 config? *NodeConfigStatus
  12 runtimeHandlers? []NodeRuntimeHandler @atomic
  13 features? *NodeFeatures
  14 declaredFeatures? []string @atomic

AttachedVolume
  1 name string
  2 devicePath string

ContainerImage
  1 names+ []string @atomic
  2 sizeBytes? int64

NodeCondition
  1 type string
  2 status string
  3 lastHeartbeatTime? Time
  4 lastTransitionTime? Time
  5 reason? string
  6 message? string

NodeAddress
  1 type string
  2 address string

Node
  1 metadata? meta.ObjectMeta
  2 spec? NodeSpec
  3 status? NodeStatus

NamespaceSpec
  1 finalizers? []string @atomic

NamespaceStatus
  1 phase? string
  2 conditions? []NamespaceCondition @map(type) ~merge(type)

NamespaceCondition
  1 type string
  2 status string
  4 lastTransitionTime? Time
  5 reason? string
  6 message? string

Namespace
  1 metadata? meta.ObjectMeta
  2 spec? NamespaceSpec
  3 status? NamespaceStatus

Binding
  1 metadata? meta.ObjectMeta
  2 target ObjectReference

ObjectReference @atomic
  1 kind? string
  2 namespace? string
  3 name? string
  4 uid? string
  5 apiVersion? string
  6 resourceVersion? string
  7 fieldPath? string

EventSource
  1 component? string
  2 host? string

Event
  1 metadata meta.ObjectMeta
  2 involvedObject ObjectReference
  3 reason? string
  4 message? string
  5 source? EventSource
  6 firstTimestamp? Time
  7 lastTimestamp? Time
  8 count? int32
  9 type? string
  10 eventTime? MicroTime
  11 series? *EventSeries
  12 action? string
  13 related? *ObjectReference
  14 reportingComponent+ string
  15 reportingInstance+ string

EventSeries
  1 count? int32
  2 lastObservedTime? MicroTime

Secret
  1 metadata? meta.ObjectMeta
  5 immutable? *bool
  2 data? {bytes}
  4 stringData? {string}
  3 type? string

ConfigMap
  1 metadata? meta.ObjectMeta
  4 immutable? *bool
  2 data? {string}
  3 binaryData? {bytes}

PortStatus
  1 port int32
  2 protocol string
  3 error? *string
`;
