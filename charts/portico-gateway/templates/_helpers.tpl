{{/* Labels of every object of the chart. */}}
{{- define "gateway.labels" -}}
app.kubernetes.io/name: portico-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The one label that selects the gateway's pods. No tenant can have it on a
     pod. */}}
{{- define "gateway.selector" -}}
portico.dev/gateway: {{ .Release.Name }}
{{- end }}

{{- define "gateway.image" -}}
{{- $i := .Values.image -}}
{{- if $i.digest -}}
{{ $i.repository }}@{{ $i.digest }}
{{- else -}}
{{ $i.repository }}:{{ $i.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Names of objects that are in no namespace, or in another one. */}}
{{- define "gateway.elsewhere" -}}
portico-gateway:{{ .Release.Namespace }}:{{ .Release.Name }}
{{- end }}

{{/* The rule for clusters that sleep. */}}
{{- define "gateway.wake" -}}
{{- if .Values.wake.enabled }}
# Which control planes sleep, and the way to wake them.
- apiGroups: [apps]
  resources: [statefulsets, deployments]
  verbs: [get, list, watch, patch]
{{- end }}
{{- end }}
