{{- define "lastgood.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "lastgood.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else if contains (include "lastgood.name" .) .Release.Name }}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "lastgood.name" .) | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "lastgood.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lastgood.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lastgood.labels" -}}
{{ include "lastgood.selectorLabels" . }}
app.kubernetes.io/part-of: lastgood
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "lastgood.serviceAccountName" -}}
{{- default (include "lastgood.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "lastgood.image" -}}
{{- with .Values.image -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{/*
The volume behind the store. Where nobody says: a claim if one is named, if a class is named to make it from, if the
operator is to write to it, or if an earlier release made one. Otherwise an empty folder, which every cluster has.
*/}}
{{- define "lastgood.storeKind" -}}
{{- $made := lookup "v1" "PersistentVolumeClaim" .Release.Namespace (printf "%s-store" (include "lastgood.fullname" .)) }}
{{- with .Values.store }}
{{- if .kind }}
{{- .kind }}
{{- else if or .claim.existing .claim.storageClassName .capture $made }}
{{- "claim" }}
{{- else }}
{{- "emptyDir" }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the operator may do where models live: exactly what it does, and only the secrets that are named. */}}
{{- define "lastgood.watchRules" -}}
- apiGroups: [lastgood.dev]
  resources: [modelsnapshots, modeldeployments, modelrollbacks]
  verbs: [get, list, watch]
- apiGroups: [lastgood.dev]
  resources: [modeltrustpolicies]
  verbs: [get, list, watch]
- apiGroups: [lastgood.dev]
  resources: [modelsnapshots/status, modeldeployments/status, modelrollbacks/status]
  verbs: [patch]
# The records of its rollbacks; `delete` keeps no more than historyLimit of them.
- apiGroups: [lastgood.dev]
  resources: [modelrollbacks]
  verbs: [create, delete]
# The switch itself: one server-side apply of the bound fields.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, patch]
# Crash loops, and what a verification Job found.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
# Jobs that mount a claim read-only and hash what is on it.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create, get, list, watch, delete]
# Signature bundles: read when a ModelSnapshot names one, and never listed.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
{{- with .Values.sources.secrets }}
# Credentials of remote sources, by name.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ toJson . }}
  verbs: [get]
{{- end }}
{{- end }}

{{/* A role binding's way to name the operator. */}}
{{- define "lastgood.subject" -}}
- kind: ServiceAccount
  name: {{ include "lastgood.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
