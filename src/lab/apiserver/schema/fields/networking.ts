/** k8s.io/api/networking/v1; the notation is that of ../field-table.ts. */
export default `
NetworkPolicy
  1 metadata? meta.ObjectMeta
  2 spec? NetworkPolicySpec

NetworkPolicySpec
  1 podSelector+ meta.LabelSelector
  2 ingress? []NetworkPolicyIngressRule @atomic
  3 egress? []NetworkPolicyEgressRule @atomic
  4 policyTypes? []string @atomic

NetworkPolicyIngressRule
  1 ports? []NetworkPolicyPort @atomic
  2 from? []NetworkPolicyPeer @atomic

NetworkPolicyEgressRule
  1 ports? []NetworkPolicyPort @atomic
  2 to? []NetworkPolicyPeer @atomic

NetworkPolicyPort
  1 protocol? *string
  2 port? *IntOrString
  3 endPort? *int32

IPBlock
  1 cidr string
  2 except? []string @atomic

NetworkPolicyPeer
  1 podSelector? *meta.LabelSelector
  2 namespaceSelector? *meta.LabelSelector
  3 ipBlock? *IPBlock
`;
