// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/url"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Metrics says where the operator reads the measurements of the process.
type Metrics struct {
	// Listen is the address and port of a listener that serves /metrics to those
	// who have the token in the host Secret NAME.metrics. Empty means none.
	Listen string `json:"listen,omitempty"`
}

func (m *Metrics) validate(path *field.Path) field.ErrorList {
	if m.Listen == "" {
		return nil
	}
	return address(path.Child("listen"), m.Listen, true)
}

// Audit says which requests of the virtual cluster are logged, and where to.
type Audit struct {
	// PolicyFile is an audit.k8s.io/v1 Policy. Empty means that nothing is logged.
	PolicyFile string `json:"policyFile,omitempty"`

	Log     AuditLog     `json:"log"`
	Webhook AuditWebhook `json:"webhook"`
}

// AuditLog is a file of audit events, one JSON object on each line.
type AuditLog struct {
	// Path of the file; "-" means standard output, empty means none.
	Path string `json:"path,omitempty"`
	// MaxAge is how many days an old file is kept, and MaxBackups how many old files
	// there are; 0 means no limit. MaxSize is the size in megabytes at which the
	// file becomes an old one; 0 means never.
	MaxAge     int `json:"maxAge"`
	MaxBackups int `json:"maxBackups"`
	MaxSize    int `json:"maxSize"`
}

// AuditWebhook is a server that takes audit events.
type AuditWebhook struct {
	// ConfigFile is a kubeconfig that leads to it. Empty means none.
	ConfigFile string `json:"configFile,omitempty"`
}

func (a *Audit) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	to := a.Log.Path != "" || a.Webhook.ConfigFile != ""
	if a.PolicyFile != "" && !to {
		errs = append(errs, field.Required(path.Child("log", "path"), "a policy needs a log or a webhook"))
	}
	if a.PolicyFile == "" && to {
		errs = append(errs, field.Required(path.Child("policyFile"), "without a policy nothing is logged"))
	}
	for _, bound := range []struct {
		name  string
		value int
	}{{"maxAge", a.Log.MaxAge}, {"maxBackups", a.Log.MaxBackups}, {"maxSize", a.Log.MaxSize}} {
		if bound.value < 0 {
			errs = append(errs, field.Invalid(path.Child("log", bound.name), bound.value, "must not be negative"))
		}
	}
	return errs
}

// Tracing says where the spans of requests go.
type Tracing struct {
	// Endpoint is the URL of a collector that speaks OTLP. Empty leaves it to
	// the variables OTEL_*.
	Endpoint string `json:"endpoint,omitempty"`
	// Protocol is "grpc" or "http/protobuf". Default: the one in the variables,
	// else "grpc".
	Protocol string `json:"protocol,omitempty"`
	// SamplingRatePerMillion is how many of a million requests are traced.
	SamplingRatePerMillion int `json:"samplingRatePerMillion"`
	// Trusted are users and groups of the virtual cluster whose own traces are
	// continued, sampled or not as they say.
	Trusted []string `json:"trusted,omitempty"`

	TLS TracingTLS `json:"tls"`
}

// TracingTLS is the TLS of connections to the collector.
type TracingTLS struct {
	// CAFile has the authorities, in PEM; empty means the system's.
	CAFile string `json:"caFile,omitempty"`
	// CertFile and KeyFile are our client certificate, in PEM.
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
}

// Protocols of Tracing.
const (
	ProtocolGRPC = "grpc"
	ProtocolHTTP = "http/protobuf"
)

func (t *Tracing) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if t.Endpoint != "" {
		if u, err := url.Parse(t.Endpoint); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
			errs = append(errs, field.Invalid(path.Child("endpoint"), t.Endpoint, "must be a URL such as https://collector.monitoring:4317, http for no TLS; credentials belong into OTEL_EXPORTER_OTLP_HEADERS"))
		}
	}
	if t.Protocol != "" {
		errs = append(errs, oneOf(path.Child("protocol"), t.Protocol, ProtocolGRPC, ProtocolHTTP)...)
	}
	if t.SamplingRatePerMillion < 0 || t.SamplingRatePerMillion > 1_000_000 {
		errs = append(errs, field.Invalid(path.Child("samplingRatePerMillion"), t.SamplingRatePerMillion, "must be 0 to 1000000"))
	}
	for i, who := range t.Trusted {
		if who == "" {
			errs = append(errs, field.Required(path.Child("trusted").Index(i), "a user or a group has a name"))
		}
	}
	if (t.TLS.CertFile == "") != (t.TLS.KeyFile == "") {
		errs = append(errs, field.Required(path.Child("tls"), "certFile and keyFile belong together"))
	}
	return errs
}
