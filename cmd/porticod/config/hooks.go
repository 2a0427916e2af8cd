// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Hook is a webhook of the operator that sees objects of the tenant's, in the form
// of admission/v1.
type Hook struct {
	// Name is in errors, logs and measurements, a DNS label.
	Name string `json:"name"`
	// URL is where reviews are posted, https://HOST[:PORT]/PATH. The name resolves
	// where porticod runs, not inside the virtual cluster.
	URL string `json:"url"`
	// CAFile has the authorities of the hook's certificate, in PEM; empty means the
	// system's. CertFile and KeyFile are our client certificate; empty means none.
	CAFile   string `json:"caFile,omitempty"`
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
	// Timeout is a duration of 10ms to 10s. Default: 5s; for ToVirtual 1s.
	Timeout string `json:"timeout,omitempty"`
	// FailurePolicy is Fail or Ignore, for a hook that cannot be asked. Default: Fail;
	// for ToVirtual it is always Ignore.
	FailurePolicy string `json:"failurePolicy,omitempty"`
	// Direction is ToHost or ToVirtual. Default: ToHost.
	Direction string `json:"direction,omitempty"`
	// Kinds are resources out of HookKinds.
	Kinds []string `json:"kinds,omitempty"`
	// Operations are CREATE and UPDATE. Default: CREATE.
	Operations []string `json:"operations,omitempty"`
	// References are objects of the host namespace that an answer may refer to.
	References []HookReference `json:"references,omitempty"`
}

// HookReference is an object of the host namespace, of the operator's.
type HookReference struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// Words of hooks.
const (
	HookFail      = "Fail"
	HookIgnore    = "Ignore"
	HookToHost    = "ToHost"
	HookToVirtual = "ToVirtual"
	HookCreate    = "CREATE"
	HookUpdate    = "UPDATE"
)

// HookKinds are the resources that hooks can see. Ingresses come back as a
// status only.
var HookKinds = []string{"pods", "services", "persistentvolumeclaims", "ingresses"}

// IsBack reports whether a hook sees objects on their way to the tenant.
func (h *Hook) IsBack() bool { return h.Direction == HookToVirtual }

// Wait returns the timeout.
func (h *Hook) Wait() time.Duration {
	d, err := time.ParseDuration(h.Timeout)
	switch {
	case err == nil:
		return d
	case h.IsBack():
		return time.Second
	}
	return 5 * time.Second // no timeout is set, or a mistake has been reported
}

func (c *Config) validateHooks(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i := range c.Hooks {
		h, at := &c.Hooks[i], path.Index(i)
		if names[h.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), h.Name))
		}
		names[h.Name] = true
		errs = append(errs, h.validate(at)...)
		if slices.Contains(h.Kinds, "ingresses") && !c.Sync.ToHost.Ingresses.Enabled {
			errs = append(errs, field.Invalid(at.Child("kinds"), "ingresses", "needs sync.toHost.ingresses"))
		}
	}
	return errs
}

func (h *Hook) validate(at *field.Path) field.ErrorList {
	errs := label(at.Child("name"), h.Name)
	if u, err := url.Parse(h.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		errs = append(errs, field.Invalid(at.Child("url"), h.URL, "must be a URL such as https://hooks.example:8443/pods, without credentials"))
	}
	for _, file := range []struct{ key, path string }{{"caFile", h.CAFile}, {"certFile", h.CertFile}, {"keyFile", h.KeyFile}} {
		if file.path != "" && !filepath.IsAbs(file.path) {
			errs = append(errs, field.Invalid(at.Child(file.key), file.path, "must be an absolute path"))
		}
	}
	if (h.CertFile == "") != (h.KeyFile == "") {
		errs = append(errs, field.Required(at, "certFile and keyFile belong together"))
	}
	if d, err := time.ParseDuration(h.Timeout); h.Timeout != "" && (err != nil || d < 10*time.Millisecond || d > 10*time.Second) {
		errs = append(errs, field.Invalid(at.Child("timeout"), h.Timeout, "must be a duration of 10ms to 10s"))
	}
	return append(append(errs, h.validateWords(at)...), references(at.Child("references"), h.References)...)
}

// references refuses kinds that are no data of a pod.
func references(path *field.Path, listed []HookReference) field.ErrorList {
	var errs field.ErrorList
	for i, r := range listed {
		if !slices.Contains([]string{"Secret", "ConfigMap", "PersistentVolumeClaim"}, r.Kind) {
			errs = append(errs, field.NotSupported(path.Index(i).Child("kind"), r.Kind, []string{"Secret", "ConfigMap", "PersistentVolumeClaim"}))
		}
		for _, msg := range validation.IsDNS1123Subdomain(r.Name) {
			errs = append(errs, field.Invalid(path.Index(i).Child("name"), r.Name, msg))
		}
	}
	return errs
}

func (h *Hook) validateWords(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if h.FailurePolicy != "" {
		errs = append(errs, oneOf(at.Child("failurePolicy"), h.FailurePolicy, HookFail, HookIgnore)...)
	}
	if h.Direction != "" {
		errs = append(errs, oneOf(at.Child("direction"), h.Direction, HookToHost, HookToVirtual)...)
	}
	if len(h.Kinds) == 0 {
		errs = append(errs, field.Required(at.Child("kinds"), "a hook sees objects of some kinds"))
	}
	for i, kind := range h.Kinds {
		errs = append(errs, oneOf(at.Child("kinds").Index(i), kind, HookKinds...)...)
	}
	for i, op := range h.Operations {
		errs = append(errs, oneOf(at.Child("operations").Index(i), op, HookCreate, HookUpdate)...)
	}
	if !h.IsBack() {
		return errs
	}
	if h.FailurePolicy == HookFail {
		errs = append(errs, field.Invalid(at.Child("failurePolicy"), h.FailurePolicy, "an object that is not shown is gone for those inside: on the way back a failure is ignored"))
	}
	if len(h.Operations) > 0 || len(h.References) > 0 {
		errs = append(errs, field.Invalid(at.Child("direction"), h.Direction, "operations and references are for the way to the host"))
	}
	if slices.Contains(h.Kinds, "ingresses") {
		errs = append(errs, field.Invalid(at.Child("kinds"), "ingresses", "only the status of an Ingress comes back"))
	}
	return errs
}

// Patch is an expression in CEL that changes objects of the tenant's on their way to
// the host, in one of the two forms of a MutatingAdmissionPolicy.
type Patch struct {
	// Name is in errors, logs and measurements, a DNS label.
	Name string `json:"name"`
	// Kinds are resources out of HookKinds.
	Kinds []string `json:"kinds,omitempty"`
	// Operations are CREATE and UPDATE. Default: CREATE.
	Operations []string `json:"operations,omitempty"`
	// ApplyConfiguration gives an Object{}, JSONPatch a list of JSONPatch{}. One of
	// them is set.
	ApplyConfiguration string `json:"applyConfiguration,omitempty"`
	JSONPatch          string `json:"jsonPatch,omitempty"`
	// References are objects of the host namespace that the changed object may refer
	// to.
	References []HookReference `json:"references,omitempty"`
}

// validatePatches looks at everything but the expressions, which are compiled at
// a start: no package that a command line tool uses links CEL.
func (c *Config) validatePatches(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i := range c.Hooks {
		names[c.Hooks[i].Name] = true
	}
	for i := range c.Patches {
		p, at := &c.Patches[i], path.Index(i)
		errs = append(errs, label(at.Child("name"), p.Name)...)
		if names[p.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
		}
		names[p.Name] = true
		if (p.ApplyConfiguration == "") == (p.JSONPatch == "") {
			errs = append(errs, field.Required(at, "one of applyConfiguration and jsonPatch"))
		}
		if len(p.Kinds) == 0 {
			errs = append(errs, field.Required(at.Child("kinds"), "a patch changes objects of some kinds"))
		}
		for j, kind := range p.Kinds {
			errs = append(errs, oneOf(at.Child("kinds").Index(j), kind, HookKinds...)...)
		}
		if slices.Contains(p.Kinds, "ingresses") && !c.Sync.ToHost.Ingresses.Enabled {
			errs = append(errs, field.Invalid(at.Child("kinds"), "ingresses", "needs sync.toHost.ingresses"))
		}
		for j, op := range p.Operations {
			errs = append(errs, oneOf(at.Child("operations").Index(j), op, HookCreate, HookUpdate)...)
		}
		errs = append(errs, references(at.Child("references"), p.References)...)
	}
	return errs
}
