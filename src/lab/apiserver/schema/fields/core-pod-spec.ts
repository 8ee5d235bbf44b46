/** k8s.io/api/core/v1: what a pod template says; the notation is that of ../field-table.ts. */
export default `
Volume
  1 name string
  2 ...VolumeSource

ContainerPort
  1 name? string
  2 hostPort? int32
  3 containerPort int32
  4 protocol? string =TCP
  5 hostIP? string

VolumeMount
  1 name string
  2 readOnly? bool
  7 recursiveReadOnly? *string
  3 mountPath string
  4 subPath? string
  5 mountPropagation? *string
  6 subPathExpr? string
  8 bindMountOptions? []string @set

VolumeDevice
  1 name string
  2 devicePath string

EnvVar
  1 name string
  2 value? string
  3 valueFrom? *EnvVarSource

EnvVarSource
  1 fieldRef? *ObjectFieldSelector
  2 resourceFieldRef? *ResourceFieldSelector
  3 configMapKeyRef? *ConfigMapKeySelector
  4 secretKeyRef? *SecretKeySelector
  5 fileKeyRef? *FileKeySelector

FileKeySelector @atomic
  1 volumeName string
  2 path string
  3 key string
  4 optional? *bool =false

ConfigMapKeySelector @atomic
  1 ...LocalObjectReference
  2 key string
  3 optional? *bool

SecretKeySelector @atomic
  1 ...LocalObjectReference
  2 key string
  3 optional? *bool

EnvFromSource
  1 prefix? string
  2 configMapRef? *ConfigMapEnvSource
  3 secretRef? *SecretEnvSource

ConfigMapEnvSource
  1 ...LocalObjectReference
  2 optional? *bool

SecretEnvSource
  1 ...LocalObjectReference
  2 optional? *bool

HTTPHeader
  1 name string
  2 value string

HTTPGetAction
  1 path? string
  2 port IntOrString
  3 host? string
  4 scheme? string
  5 httpHeaders? []HTTPHeader @atomic
  6 protocol? *string

TCPSocketAction
  1 port IntOrString
  2 host? string

ExecAction
  1 command? []string @atomic

SleepAction
  1 seconds int64

Probe
  1 ...ProbeHandler
  2 initialDelaySeconds? int32
  3 timeoutSeconds? int32
  4 periodSeconds? int32
  5 successThreshold? int32
  6 failureThreshold? int32
  7 terminationGracePeriodSeconds? *int64

ContainerResizePolicy
  1 resourceName string
  2 restartPolicy string

Capabilities
  1 add? []string @atomic
  2 drop? []string @atomic

ResourceRequirements
  1 limits? {Quantity}
  2 requests? {Quantity}
  3 claims? []ResourceClaim @map(name)

ResourceClaim
  1 name string
  2 request? string

Container
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

LifecycleHandler
  1 exec? *ExecAction
  2 httpGet? *HTTPGetAction
  3 tcpSocket? *TCPSocketAction
  4 sleep? *SleepAction

Lifecycle
  1 postStart? *LifecycleHandler
  2 preStop? *LifecycleHandler
  3 stopSignal? *string

ContainerRestartRule
  1 action? string
  2 exitCodes? *ContainerRestartRuleOnExitCodes

ContainerRestartRuleOnExitCodes
  1 operator? string
  2 values? []int32 @set

NodeSelector @atomic
  1 nodeSelectorTerms []NodeSelectorTerm @atomic

NodeSelectorTerm @atomic
  1 matchExpressions? []NodeSelectorRequirement @atomic
  2 matchFields? []NodeSelectorRequirement @atomic

NodeSelectorRequirement
  1 key string
  2 operator string
  3 values? []string @atomic

Affinity
  1 nodeAffinity? *NodeAffinity
  2 podAffinity? *PodAffinity
  3 podAntiAffinity? *PodAntiAffinity

PodAffinity
  1 requiredDuringSchedulingIgnoredDuringExecution? []PodAffinityTerm @atomic
  2 preferredDuringSchedulingIgnoredDuringExecution? []WeightedPodAffinityTerm @atomic

PodAntiAffinity
  1 requiredDuringSchedulingIgnoredDuringExecution? []PodAffinityTerm @atomic
  2 preferredDuringSchedulingIgnoredDuringExecution? []WeightedPodAffinityTerm @atomic

WeightedPodAffinityTerm
  1 weight int32
  2 podAffinityTerm PodAffinityTerm

PodAffinityTerm
  1 labelSelector? *meta.LabelSelector
  2 namespaces? []string @atomic
  3 topologyKey string
  4 namespaceSelector? *meta.LabelSelector
  5 matchLabelKeys? []string @atomic
  6 mismatchLabelKeys? []string @atomic

NodeAffinity
  1 requiredDuringSchedulingIgnoredDuringExecution? *NodeSelector
  2 preferredDuringSchedulingIgnoredDuringExecution? []PreferredSchedulingTerm @atomic

PreferredSchedulingTerm
  1 weight int32
  2 preference NodeSelectorTerm

Toleration
  1 key? string
  2 operator? string
  3 value? string
  4 effect? string
  5 tolerationSeconds? *int64

PodReadinessGate
  1 conditionType string

PodSpec
  1 volumes? []Volume @map(name) ~merge,retainKeys(name)
  20 initContainers? []Container @map(name) ~merge(name)
  2 containers []Container @map(name) ~merge(name)
  34 ephemeralContainers? []EphemeralContainer @map(name) ~merge(name)
  3 restartPolicy? string
  4 terminationGracePeriodSeconds? *int64
  5 activeDeadlineSeconds? *int64
  6 dnsPolicy? string
  7 nodeSelector? {string} @atomic
  8 serviceAccountName? string
  9 serviceAccount? string
  21 automountServiceAccountToken? *bool
  10 nodeName? string
  11 hostNetwork? bool
  12 hostPID? bool
  13 hostIPC? bool
  27 shareProcessNamespace? *bool
  14 securityContext? *PodSecurityContext
  15 imagePullSecrets? []LocalObjectReference @map(name) ~merge(name)
  16 hostname? string
  17 subdomain? string
  18 affinity? *Affinity
  19 schedulerName? string
  22 tolerations? []Toleration @atomic
  23 hostAliases? []HostAlias @map(ip) ~merge(ip)
  24 priorityClassName? string
  25 priority? *int32
  26 dnsConfig? *PodDNSConfig
  28 readinessGates? []PodReadinessGate @atomic
  29 runtimeClassName? *string
  30 enableServiceLinks? *bool
  31 preemptionPolicy? *string
  32 overhead? {Quantity}
  33 topologySpreadConstraints? []TopologySpreadConstraint @map(topologyKey,whenUnsatisfiable) ~merge(topologyKey)
  35 setHostnameAsFQDN? *bool
  36 os? *PodOS
  37 hostUsers? *bool
  38 schedulingGates? []PodSchedulingGate @map(name) ~merge(name)
  39 resourceClaims? []PodResourceClaim @map(name) ~merge,retainKeys(name)
  40 resources? *ResourceRequirements
  41 hostnameOverride? *string
  43 schedulingGroup? *PodSchedulingGroup
  44 evictionResponders? []EvictionResponder @map(name) ~merge(name)

PodResourceClaim
  1 name string
  3 resourceClaimName? *string
  4 resourceClaimTemplateName? *string

PodOS
  1 name string

PodSchedulingGate
  1 name string

PodSchedulingGroup
  1 podGroupName? *string

TopologySpreadConstraint
  1 maxSkew int32
  2 topologyKey string
  3 whenUnsatisfiable string
  4 labelSelector? *meta.LabelSelector
  5 minDomains? *int32
  6 nodeAffinityPolicy? *string
  7 nodeTaintsPolicy? *string
  8 matchLabelKeys? []string @atomic

HostAlias
  1 ip string
  2 hostnames? []string @atomic

PodSecurityContext
  1 seLinuxOptions? *SELinuxOptions
  8 windowsOptions? *WindowsSecurityContextOptions
  2 runAsUser? *int64
  6 runAsGroup? *int64
  3 runAsNonRoot? *bool
  4 supplementalGroups? []int64 @atomic
  12 supplementalGroupsPolicy? *string
  5 fsGroup? *int64
  7 sysctls? []Sysctl @atomic
  9 fsGroupChangePolicy? *string
  10 seccompProfile? *SeccompProfile
  11 appArmorProfile? *AppArmorProfile
  13 seLinuxChangePolicy? *string

SeccompProfile
  1 type string
  2 localhostProfile? *string

AppArmorProfile
  1 type string
  2 localhostProfile? *string

PodDNSConfig
  1 nameservers? []string @atomic
  2 searches? []string @atomic
  3 options? []PodDNSConfigOption @atomic

PodDNSConfigOption
  1 name? string
  2 value? *string

EphemeralContainer
  1 ...EphemeralContainerCommon
  2 targetContainerName? string

EvictionResponder @atomic
  1 name string
  2 priority *int32

PodTemplateSpec
  1 metadata? meta.ObjectMeta
  2 spec? PodSpec

SecurityContext
  1 capabilities? *Capabilities
  2 privileged? *bool
  3 seLinuxOptions? *SELinuxOptions
  10 windowsOptions? *WindowsSecurityContextOptions
  4 runAsUser? *int64
  8 runAsGroup? *int64
  5 runAsNonRoot? *bool
  6 readOnlyRootFilesystem? *bool
  7 allowPrivilegeEscalation? *bool
  9 procMount? *string
  11 seccompProfile? *SeccompProfile
  12 appArmorProfile? *AppArmorProfile

SELinuxOptions
  1 user? string
  2 role? string
  3 type? string
  4 level? string

WindowsSecurityContextOptions
  1 gmsaCredentialSpecName? *string
  2 gmsaCredentialSpec? *string
  3 runAsUserName? *string
  4 hostProcess? *bool

Sysctl
  1 name string
  2 value string
`;
