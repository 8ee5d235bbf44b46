/** k8s.io/api/autoscaling/v1; the notation is that of ../field-table.ts. */
export default `
Scale
  1 metadata? meta.ObjectMeta
  2 spec? ScaleSpec
  3 status? ScaleStatus

ScaleSpec
  1 replicas? int32

ScaleStatus
  1 replicas int32
  2 selector? string
`;
