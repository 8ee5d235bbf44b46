/** k8s.io/api/policy/v1; the notation is that of ../field-table.ts. */
export default `
PodDisruptionBudgetSpec
  1 minAvailable? *IntOrString
  2 selector? *meta.LabelSelector ~replace
  3 maxUnavailable? *IntOrString
  4 unhealthyPodEvictionPolicy? *string

PodDisruptionBudgetStatus
  1 observedGeneration? int64
  2 disruptedPods? {Time}
  3 disruptionsAllowed+ int32
  4 currentHealthy+ int32
  5 desiredHealthy+ int32
  6 expectedPods+ int32
  7 conditions? []meta.Condition @map(type) ~merge(type)

PodDisruptionBudget
  1 metadata? meta.ObjectMeta
  2 spec? PodDisruptionBudgetSpec
  3 status? PodDisruptionBudgetStatus

Eviction
  1 metadata? meta.ObjectMeta
  2 deleteOptions? *meta.DeleteOptions
`;
