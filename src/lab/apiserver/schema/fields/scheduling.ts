/** k8s.io/api/scheduling/v1; the notation is that of ../field-table.ts. */
export default `
PriorityClass
  1 metadata? meta.ObjectMeta
  2 value+ int32
  3 globalDefault? bool
  4 description? string
  5 preemptionPolicy? *string
`;
