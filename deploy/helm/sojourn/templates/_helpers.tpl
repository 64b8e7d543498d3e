{{- define "sojourn.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "sojourn.fullname" -}}
{{- $name := include "sojourn.name" . }}
{{- default (ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name)) .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "sojourn.selector" -}}
app.kubernetes.io/name: {{ include "sojourn.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: router
{{- end }}

{{- define "sojourn.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "sojourn.labels" -}}
{{ include "sojourn.selector" . }}
{{ include "sojourn.commonLabels" . }}
{{- end }}

{{- define "sojourn.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- define "sojourn.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "sojourn.fullname" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{/* sojourn.toml: what the chart decides, over what `config` says. Helm reads every number as a float; whole ones are written without a fraction. */}}
{{- define "sojourn.toml" -}}
{{- $journal := dict "kind" .Values.journal.kind }}
{{- if eq .Values.journal.kind "sqlite" }}{{ $_ := set $journal "directory" "/var/lib/sojourn" }}{{ end }}
{{- $server := dict "address" "0.0.0.0:50051" "workers" .Values.workers }}
{{- $security := dict }}
{{- with .Values.security.tokens }}{{ $_ := set $security "tokens" "/etc/sojourn/tokens/tokens.toml" }}{{ end }}
{{- with .Values.security.tls }}{{- if .secret }}
{{- $tls := dict "certificate" "/etc/sojourn/tls/tls.crt" "key" "/etc/sojourn/tls/tls.key" }}
{{- if .clientCa }}{{ $_ := set $tls "client_ca" "/etc/sojourn/tls/ca.crt" }}{{ end }}
{{- $_ := set $security "tls" $tls }}
{{- end }}{{ end }}
{{- $ours := dict "journal" $journal "server" $server }}
{{- if $security }}{{ $_ := set $ours "security" $security }}{{ end }}
{{- $text := mergeOverwrite (deepCopy .Values.config) $ours | toToml }}
{{- regexReplaceAll "(?m)( = -?[0-9]+)[.]0$" $text "${1}" | trim }}
{{- end }}

{{/* The ports of Prometheus' endpoint: the one process, or the learner and each worker. */}}
{{- define "sojourn.metricsPorts" -}}
{{- $count := ternary 1 (add1 (int .Values.workers)) (eq (int .Values.workers) 1) | int }}
{{- $ports := list }}
{{- range $i := until $count }}{{ $ports = append $ports (add (int $.Values.metrics.port) $i) }}{{ end }}
{{- toJson $ports }}
{{- end }}

{{/* Kubernetes' gRPC probe speaks no TLS. The port opens when the router is ready and closes when it drains, so TCP tells as much. */}}
{{- define "sojourn.probe" -}}
{{- if .root.Values.security.tls.secret -}}
tcpSocket: {port: grpc}
{{- else -}}
grpc: {port: 50051, service: {{ .service }}}
{{- end }}
{{- end }}

{{- define "sojourn.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "sojourn.containerSecurity" -}}
runAsNonRoot: true
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end }}

{{/* The pod, the same in a Deployment and in a StatefulSet. */}}
{{- define "sojourn.pod" -}}
metadata:
  labels:
    {{- include "sojourn.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include "sojourn.toml" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "sojourn.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false # a Service named sojourn would set variables that look like configuration
  terminationGracePeriodSeconds: {{ add .Values.preStopSeconds (divf .Values.config.server.drain_ms 1000 | ceil) .Values.shutdownSeconds }}
  securityContext:
    {{- include "sojourn.podSecurity" . | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  containers:
    - name: router
      image: {{ include "sojourn.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --config, /etc/sojourn/config/sojourn.toml]
      securityContext:
        {{- include "sojourn.containerSecurity" . | nindent 8 }}
      env:
        {{- if eq .Values.journal.kind "postgres" }}
        - name: SOJOURN_JOURNAL__DSN
          valueFrom:
            secretKeyRef: {name: {{ .Values.journal.postgres.secret | quote }}, key: {{ .Values.journal.postgres.key | quote }}}
        {{- end }}
        {{- if .Values.metrics.enabled }}
        - {name: OTEL_METRICS_EXPORTER, value: prometheus}
        - {name: OTEL_EXPORTER_PROMETHEUS_HOST, value: 0.0.0.0}
        - {name: OTEL_EXPORTER_PROMETHEUS_PORT, value: {{ .Values.metrics.port | quote }}}
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: grpc, containerPort: 50051}
        {{- if .Values.metrics.enabled }}
        {{- range $i, $port := include "sojourn.metricsPorts" . | fromJsonArray }}
        - {name: metrics-{{ $i }}, containerPort: {{ $port }}}
        {{- end }}
        {{- end }}
      startupProbe:
        {{- include "sojourn.probe" (dict "root" . "service" "liveness") | nindent 8 }}
        periodSeconds: 2
        failureThreshold: {{ divf .Values.probes.startupSeconds 2 | ceil }}
      readinessProbe:
        {{- include "sojourn.probe" (dict "root" . "service" "sojourn.v1.RouterService") | nindent 8 }}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      livenessProbe:
        {{- include "sojourn.probe" (dict "root" . "service" "liveness") | nindent 8 }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: {{ .Values.probes.livenessFailures }}
      {{- if .Values.preStopSeconds }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ .Values.preStopSeconds }}}
      {{- end }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/sojourn/config, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        - {name: data, mountPath: /var/lib/sojourn}
        {{- if .Values.security.tokens }}
        - {name: tokens, mountPath: /etc/sojourn/tokens, readOnly: true}
        {{- end }}
        {{- if .Values.security.tls.secret }}
        - {name: tls, mountPath: /etc/sojourn/tls, readOnly: true}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "sojourn.fullname" . }}}
    - name: tmp
      emptyDir: {}
    {{- if eq .Values.journal.kind "postgres" }}
    - name: data # the home directory; the journal is elsewhere
      emptyDir: {}
    {{- end }}
    {{- with .Values.security.tokens }}
    - name: tokens
      secret: {secretName: {{ . | quote }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.security.tls.secret }}
    - name: tls
      secret: {secretName: {{ . | quote }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.topologySpread }}
  topologySpreadConstraints:
    {{- range . }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "sojourn.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
