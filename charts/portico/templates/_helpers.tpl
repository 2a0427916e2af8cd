{{/* Labels of every object of the chart. */}}
{{- define "portico.labels" -}}
app.kubernetes.io/name: portico
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The one label that selects porticod's pods. No tenant can have it on a pod,
     which everything under app.kubernetes.io/ can be. */}}
{{- define "portico.selector" -}}
portico.dev/door: {{ .Release.Name }}
{{- end }}

{{- define "portico.image" -}}
{{- $i := .Values.controlPlane.image -}}
{{- if $i.digest -}}
{{ $i.repository }}@{{ $i.digest }}
{{- else -}}
{{ $i.repository }}:{{ $i.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Not empty when the store is shared: then porticod has no volume, and there
     can be several. */}}
{{- define "portico.shared" -}}
{{- if or .Values.controlPlane.etcd.enabled (dig "store" "endpoint" "" .Values.AsMap) }}true{{ end -}}
{{- end }}

{{/* Not empty when the cluster sleeps after a time of inactivity. */}}
{{- define "portico.sleepsAfter" -}}
{{- if not (has (dig "sleep" "afterInactivity" "" .Values.AsMap) (list "" "0" "0s" "0m" "0h")) }}true{{ end -}}
{{- end }}

{{/* Not empty when the cluster sleeps, for whatever reason. */}}
{{- define "portico.sleeps" -}}
{{- if or (include "portico.sleepsAfter" .) (dig "sleep" "schedule" "" .Values.AsMap) }}true{{ end -}}
{{- end }}

{{/* When it sleeps and wakes by a calendar, for people. */}}
{{- define "portico.calendar" -}}
{{- $sleep := get .Values.AsMap "sleep" | default dict -}}
{{- $texts := list -}}
{{- with get $sleep "schedule" }}{{ $texts = append $texts (printf "from %s" .) }}{{ end -}}
{{- with dig "wakeup" "schedule" "" $sleep }}{{ $texts = append $texts (printf "until %s" .) }}{{ end -}}
{{- if $texts }}{{ join ", " $texts }}, {{ get $sleep "timezone" | default "UTC" }}{{ end -}}
{{- end }}

{{/* Not empty when porticod has the listener of measurements. */}}
{{- define "portico.metrics" -}}
{{- if or .Values.controlPlane.metrics.enabled .Values.controlPlane.serviceMonitor.enabled }}true{{ end -}}
{{- end }}

{{/* The labels that a Prometheus gives to the series of this cluster. */}}
{{- define "portico.series" -}}
namespace={{ .Release.Namespace | quote }},service="{{ .Release.Name }}-metrics"
{{- end }}

{{/* The common part of containers of porticod that do one small thing. */}}
{{- define "portico.small" -}}
resources:
  requests:
    cpu: 10m
    memory: 64Mi
  limits:
    memory: 256Mi
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* The store keys of portico.yaml for the cluster's own etcd. */}}
{{- define "portico.etcd" -}}
{{- $name := printf "%s-etcd" .Release.Name -}}
{{- $members := list -}}
{{- range until (int .Values.controlPlane.etcd.replicas) -}}
{{- $members = append $members (printf "%s-%d.%s.%s.svc:2379" $name . $name $.Release.Namespace) -}}
{{- end -}}
endpoint: etcds://{{ join "," $members }}
tls:
  caFile: /etc/portico/etcd/ca.crt
  certFile: /etc/portico/etcd/tls.crt
  keyFile: /etc/portico/etcd/tls.key
{{- end }}

{{/* Names of objects that are in no namespace. Neither name can have a colon,
     so that no two clusters can have one object. */}}
{{- define "portico.clusterScoped" -}}
portico:{{ .Release.Namespace }}:{{ .Release.Name }}
{{- end }}

{{/* portico.yaml: the keys of values.yaml next to controlPlane, and those that
     follow from the release itself. A Deployment always elects its leader:
     there are two porticods for a moment in every rollout. */}}
{{- define "portico.config" -}}
{{- $config := deepCopy (omit .Values.AsMap "controlPlane" "global") -}}
{{- $host := mergeOverwrite (dict) (get $config "host" | default dict) (dict "namespace" .Release.Namespace) -}}
{{- $replicas := 1 -}}
{{- if include "portico.shared" . -}}
{{- $replicas = max 2 (int .Values.controlPlane.replicas) -}}
{{- end -}}
{{- $pods := get $config "pods" | default dict -}}
{{- if not (hasKey $pods "hostsImage") -}}
{{- $pods = set $pods "hostsImage" (include "portico.image" .) -}}
{{- end -}}
{{- $ingress := .Values.controlPlane.ingress -}}
{{- if $ingress.enabled -}}
{{- $config = set $config "certSANs" (append (get $config "certSANs" | default list) $ingress.host | uniq) -}}
{{- end -}}
{{- if .Values.controlPlane.etcd.enabled -}}
{{- $config = set $config "store" (mergeOverwrite (get $config "store" | default dict) (include "portico.etcd" . | fromYaml)) -}}
{{- end -}}
{{- if include "portico.metrics" . -}}
{{- $config = set $config "metrics" (dict "listen" "0.0.0.0:9402") -}}
{{- end -}}
{{- $set := dict "name" .Release.Name "host" $host "replicas" $replicas "pods" $pods "dataDir" "/var/lib/portico" "listen" "0.0.0.0:8443" -}}
{{- toYaml (mergeOverwrite $config $set) -}}
{{- end }}

{{/* Quantities by resource: the defaults in .all, with .set over them. An empty
     one takes a default away. */}}
{{- define "portico.quantities" -}}
{{- $all := deepCopy .all -}}
{{- range $name, $value := .set -}}
{{- $_ := set $all $name $value -}}
{{- end -}}
{{- $lines := list -}}
{{- range $name, $value := $all -}}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) -}}
{{- $lines = append $lines (printf "%s: %q" $name (toString $value)) -}}
{{- end -}}
{{- end -}}
{{- join "\n" $lines -}}
{{- end }}

{{/* Mistakes that are no single value's, so that no schema finds them. */}}
{{- define "portico.check" -}}
{{- if or (gt (len .Release.Name) 40) (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" .Release.Name)) -}}
{{- fail (printf "the name of the release is the name of the virtual cluster: %q must be at most 40 lower-case letters, digits and hyphens, and begin with a letter" .Release.Name) -}}
{{- end -}}
{{- if and (gt (int .Values.controlPlane.replicas) 1) (not (include "portico.shared" .)) -}}
{{- fail "controlPlane.replicas: more than one needs a shared store; set controlPlane.etcd.enabled, or store.endpoint" -}}
{{- end -}}
{{- $leave := eq (dig "sleep" "scope" "" .Values.AsMap) "workloads" -}}
{{- $stay := or (not $leave) (dig "sleep" "exclude" "selector" dict .Values.AsMap) -}}
{{- if and $leave (gt (int .Values.controlPlane.replicas) 1) -}}
{{- fail "sleep.scope: workloads needs controlPlane.replicas 1: controllers of another replica would see the pods go" -}}
{{- end -}}
{{- if and (include "portico.sleeps" .) $stay (dig "coredns" "enabled" true .Values.AsMap) (ne (dig "coredns" "mode" "embedded" .Values.AsMap) "deployment") -}}
{{- fail "sleep: pods would have no DNS while the cluster sleeps; set coredns.mode to deployment as well" -}}
{{- end -}}
{{- if and .Values.controlPlane.etcd.enabled (dig "store" "endpoint" "" .Values.AsMap) -}}
{{- fail "store.endpoint and controlPlane.etcd.enabled name two stores; set one of them" -}}
{{- end -}}
{{- $isolation := dig "isolation" (dict) .Values.AsMap -}}
{{- if and (dig "enabled" false $isolation) (dig "networkPolicy" "enabled" true $isolation) (dig "store" "endpoint" "" .Values.AsMap) (not (dig "networkPolicy" "controlPlane" "egress" list $isolation)) -}}
{{- fail "isolation.networkPolicy.controlPlane.egress: porticod would not reach store.endpoint; add a rule for the way there" -}}
{{- end -}}
{{- if and .Values.controlPlane.ingress.enabled (not .Values.controlPlane.ingress.host) -}}
{{- fail "controlPlane.ingress.host: an Ingress that passes TLS through finds the cluster by its host name" -}}
{{- end -}}
{{- end }}

{{- /* A kind of sync.custom in URLs, as Plural in cmd/porticod/config/custom.go has it. */ -}}
{{- define "portico.customResource" -}}
{{ .resource | default (printf "%ss" (lower .kind)) }}
{{- end -}}
