{{- define "isthmus-peering.selector" -}}
app: isthmus-peering
{{- end }}

{{- define "isthmus-peering.podLabels" -}}
{{ include "isthmus-peering.selector" . }}
app.kubernetes.io/name: isthmus-peering
app.kubernetes.io/part-of: isthmus
{{- end }}

{{- define "isthmus-peering.labels" -}}
{{ include "isthmus-peering.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "isthmus-peering.metadata" -}}
name: isthmus-peering
namespace: {{ .Values.istioNamespace }}
labels:
  {{- include "isthmus-peering.labels" . | nindent 2 }}
{{- end }}

{{- define "isthmus-peering.clusterId" -}}
{{ required "clusterId is required: the CLUSTER_ID of istiod (kubectl -n istio-system get deployment istiod -o yaml)" .Values.clusterId }}
{{- end }}

{{- define "isthmus-peering.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "isthmus-peering.caAddress" -}}
{{- with .Values -}}
{{- $istiod := empty .revision | ternary "istiod" (printf "istiod-%s" .revision) -}}
{{ .caAddress | default (printf "%s.%s.svc:15012" $istiod .istioNamespace) }}
{{- end -}}
{{- end }}

{{- /* What runs an east-west gateway, in the namespace of its Gateway. */}}
{{- define "isthmus-peering.gatewayRules" -}}
- apiGroups: ['']
  resources: [serviceaccounts, services]
  verbs: [get, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, create, patch]
{{- end }}

{{- define "isthmus-peering.subjects" -}}
- kind: ServiceAccount
  name: isthmus-peering
  namespace: {{ .Values.istioNamespace }}
{{- end }}
