/** k8s.io/api/discovery/v1; the notation is that of ../field-table.ts. */
export default `
EndpointSlice
  1 metadata? meta.ObjectMeta
  4 addressType string
  2 endpoints+ []Endpoint @atomic
  3 ports+ []EndpointPort @atomic

Endpoint
  1 addresses []string @set
  2 conditions? EndpointConditions
  3 hostname? *string
  4 targetRef? *core.ObjectReference
  5 deprecatedTopology? {string}
  6 nodeName? *string
  7 zone? *string
  8 hints? *EndpointHints

EndpointConditions
  1 ready? *bool
  2 serving? *bool
  3 terminating? *bool

EndpointHints
  1 forZones? []ForZone @atomic
  2 forNodes? []ForNode @atomic

ForZone
  1 name string

ForNode
  1 name string

EndpointPort @atomic
  1 name? *string
  2 protocol? *string
  3 port? *int32
  4 appProtocol? *string
`;
