/** k8s.io/api/admissionregistration/v1; the notation is that of ../field-table.ts. */
export default `
Rule
  1 apiGroups? []string @atomic
  2 apiVersions? []string @atomic
  3 resources? []string @atomic
  4 scope? *string

ValidatingWebhookConfiguration
  1 metadata? meta.ObjectMeta
  2 webhooks? []ValidatingWebhook @map(name) ~merge(name)

MutatingWebhookConfiguration
  1 metadata? meta.ObjectMeta
  2 webhooks? []MutatingWebhook @map(name) ~merge(name)

ValidatingWebhook
  1 name string
  2 clientConfig WebhookClientConfig
  3 rules? []RuleWithOperations @atomic
  4 failurePolicy? *string
  9 matchPolicy? *string
  5 namespaceSelector? *meta.LabelSelector
  10 objectSelector? *meta.LabelSelector
  6 sideEffects *string
  7 timeoutSeconds? *int32
  8 admissionReviewVersions []string @atomic
  11 matchConditions? []MatchCondition @map(name) ~merge(name)

MutatingWebhook
  1 name string
  2 clientConfig WebhookClientConfig
  3 rules? []RuleWithOperations @atomic
  4 failurePolicy? *string
  9 matchPolicy? *string
  5 namespaceSelector? *meta.LabelSelector
  11 objectSelector? *meta.LabelSelector
  6 sideEffects *string
  7 timeoutSeconds? *int32
  8 admissionReviewVersions []string @atomic
  10 reinvocationPolicy? *string
  12 matchConditions? []MatchCondition @map(name) ~merge(name)

RuleWithOperations
  1 operations? []string @atomic
  2 ...Rule

WebhookClientConfig
  3 url? *string
  1 service? *ServiceReference
  2 caBundle? bytes

ServiceReference
  1 namespace string
  2 name string
  3 path? *string
  4 port? *int32

MatchCondition
  1 name string
  2 expression string
`;
