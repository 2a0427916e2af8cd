// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxName leaves room for the rest of a host name in 63 characters.
const maxName = 40

func (c *Config) validate() field.ErrorList {
	var errs field.ErrorList
	if c.Name == "" {
		errs = append(errs, field.Required(field.NewPath("name"), "the virtual cluster needs a name"))
	} else {
		errs = append(errs, label(field.NewPath("name"), c.Name)...)
	}
	if len(c.Name) > maxName {
		errs = append(errs, field.TooLong(field.NewPath("name"), c.Name, maxName))
	}
	errs = append(errs, c.Host.validate(field.NewPath("host"))...)
	if !filepath.IsAbs(c.DataDir) {
		errs = append(errs, field.Invalid(field.NewPath("dataDir"), c.DataDir, "must be an absolute path"))
	}
	errs = append(errs, address(field.NewPath("listen"), c.Listen, true)...)
	for i, san := range c.CertSANs {
		if net.ParseIP(san) == nil && len(validation.IsDNS1123Subdomain(san)) > 0 {
			errs = append(errs, field.Invalid(field.NewPath("certSANs").Index(i), san, "must be an IP address or a DNS name"))
		}
	}
	for _, msg := range validation.IsDNS1123Subdomain(c.ClusterDomain) {
		errs = append(errs, field.Invalid(field.NewPath("clusterDomain"), c.ClusterDomain, msg))
	}
	errs = append(errs, oneOf(field.NewPath("reads"), c.Reads, ReadsCached, ReadsStrict)...)
	errs = append(errs, oneOf(field.NewPath("store", "durability"), c.Store.Durability, DurabilityFull, DurabilityNormal)...)
	errs = append(errs, c.validateReplicas()...)
	errs = append(errs, c.Sync.Nodes.validate(field.NewPath("sync", "nodes"))...)
	if c.LogLevel < 0 || c.LogLevel > 10 {
		errs = append(errs, field.Invalid(field.NewPath("logLevel"), c.LogLevel, "must be 0 to 10"))
	}
	return errs
}

func (h *Host) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if h.Namespace == "" {
		errs = append(errs, field.Required(path.Child("namespace"), "the virtual cluster needs a namespace of the host"))
	} else {
		errs = append(errs, label(path.Child("namespace"), h.Namespace)...)
	}
	if h.ServiceName != "" {
		for _, msg := range validation.IsDNS1035Label(h.ServiceName) {
			errs = append(errs, field.Invalid(path.Child("serviceName"), h.ServiceName, msg))
		}
	}
	if h.AdvertiseAddress != "" {
		errs = append(errs, address(path.Child("advertiseAddress"), h.AdvertiseAddress, false)...)
	}
	return errs
}

// validateReplicas refuses what would look highly available and is not.
func (c *Config) validateReplicas() field.ErrorList {
	path := field.NewPath("replicas")
	switch {
	case c.Replicas < 1:
		return field.ErrorList{field.Invalid(path, c.Replicas, "must be at least 1")}
	case c.Replicas > 1 && c.Store.Endpoint == "":
		return field.ErrorList{field.Invalid(path, c.Replicas, "more than one replica needs a shared store: SQLite has one writer (set store.endpoint)")}
	case c.Store.Endpoint != "":
		return field.ErrorList{field.Invalid(field.NewPath("store", "endpoint"), c.Store.Endpoint, "shared stores are not supported yet; leave it empty for SQLite")}
	}
	return nil
}

func (n *Nodes) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	const notYet = "not supported yet; nodes are made up for the host nodes that pods are on"
	for _, f := range []struct {
		name string
		set  bool
	}{{"enabled", n.Enabled}, {"syncAllNodes", n.SyncAllNodes}, {"nodeSelector", n.NodeSelector != ""}, {"enableScheduler", n.EnableScheduler}} {
		if f.set {
			errs = append(errs, field.Forbidden(path.Child(f.name), notYet))
		}
	}
	return errs
}

func label(path *field.Path, v string) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range validation.IsDNS1123Label(v) {
		errs = append(errs, field.Invalid(path, v, msg))
	}
	return errs
}

func oneOf(path *field.Path, v string, allowed ...string) field.ErrorList {
	if slices.Contains(allowed, v) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, v, allowed)}
}

// address checks IP:port. Only a listener may leave the port to be chosen.
func address(path *field.Path, v string, chosen bool) field.ErrorList {
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		return field.ErrorList{field.Invalid(path, v, "must be IP:port")}
	}
	var errs field.ErrorList
	if net.ParseIP(strings.Trim(host, "[]")) == nil {
		errs = append(errs, field.Invalid(path, v, "must begin with an IP address"))
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 || (n == 0 && !chosen) {
		errs = append(errs, field.Invalid(path, v, "must end with a port number"))
	}
	return errs
}
