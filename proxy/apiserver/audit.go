// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import genericoptions "k8s.io/apiserver/pkg/server/options"

// Audit says which requests are logged, and where to, as kube-apiserver's flags
// of the same names do. The zero value logs nothing.
type Audit struct {
	// PolicyFile is an audit.k8s.io/v1 Policy.
	PolicyFile string
	// LogPath is a file, or "-" for standard output.
	LogPath string
	// LogMaxSize is the size in megabytes at which the file becomes an old one, and
	// the log goes on in a new file; 0 means never. LogMaxAge is how many days, and
	// LogMaxBackups how many, old files are kept; 0 means no limit.
	LogMaxAge, LogMaxBackups, LogMaxSize int
	// WebhookConfigFile is a kubeconfig that leads to a server that takes events.
	WebhookConfigFile string
}

func (a Audit) apply(o *genericoptions.AuditOptions) {
	o.PolicyFile = a.PolicyFile
	o.LogOptions.Path = a.LogPath
	o.LogOptions.MaxAge, o.LogOptions.MaxBackups, o.LogOptions.MaxSize = a.LogMaxAge, a.LogMaxBackups, a.LogMaxSize
	o.WebhookOptions.ConfigFile = a.WebhookConfigFile
}
