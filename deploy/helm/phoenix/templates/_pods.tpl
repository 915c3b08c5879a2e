{{/* Names begin with the release, unless its name has "phoenix" in it. */}}
{{- define "phoenix.name" -}}
{{- if contains "phoenix" .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-phoenix" .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* What selects the pods of one component. `component` and `root` are given. */}}
{{- define "phoenix.selector" -}}
app.kubernetes.io/name: phoenix
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "phoenix.labels" -}}
{{ include "phoenix.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{- define "phoenix.image" -}}
{{ .root.Values.images.registry }}/phoenix-{{ .image }}:{{ .root.Values.images.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{/* Settings are read when a process starts: a change of the checksum replaces the pods. */}}
{{- define "phoenix.podMetadata" -}}
labels:
  {{- include "phoenix.selector" . | nindent 2 }}
annotations:
  checksum/settings: {{ toJson .root.Values.settings | sha256sum | quote }}
{{- end -}}

{{- define "phoenix.podBasics" -}}
# Otherwise a Service becomes PHOENIX_API_PORT=tcp://… in every pod, which looks like a setting.
enableServiceLinks: false
automountServiceAccountToken: false
# Makes the pause process the first one, which reaps what a killed process leaves behind: ffmpeg is a grandchild.
shareProcessNamespace: true
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  # By number: the kubelet cannot see from a name that it is not root.
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "phoenix.containerBasics" -}}
image: {{ include "phoenix.image" . }}
{{- with .root.Values.images.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
envFrom:
  - configMapRef: {name: {{ include "phoenix.name" .root }}-settings}
  - secretRef: {name: {{ .root.Values.secretName }}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "phoenix.mounts" -}}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* In every pod rather than in one Job: pods of a new version then wait for its tables by themselves, in any order. */}}
{{- define "phoenix.migration" -}}
- name: migrate
  {{- include "phoenix.containerBasics" . | nindent 2 }}
  args: [db, upgrade]
  {{- if eq .component "gpu" }}
  env:
    # The image asks for all GPUs; of a container without a limit, some runtimes believe it.
    - {name: NVIDIA_VISIBLE_DEVICES, value: void}
  {{- end }}
  resources:
    requests: {cpu: 100m, memory: 128Mi}
    limits: {memory: 512Mi}
  volumeMounts:
    {{- include "phoenix.mounts" . | nindent 4 }}
{{- end -}}
