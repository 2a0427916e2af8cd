// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/rewrite"
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
	errs = append(errs, c.CoreDNS.validate(field.NewPath("coredns"))...)
	errs = append(errs, oneOf(field.NewPath("reads"), c.Reads, ReadsCached, ReadsStrict)...)
	errs = append(errs, c.Store.validate(field.NewPath("store"))...)
	errs = append(errs, c.validateReplicas()...)
	errs = append(errs, c.Sync.Nodes.validate(field.NewPath("sync", "nodes"))...)
	errs = append(errs, c.Sync.FromHost.validate(field.NewPath("sync", "fromHost"))...)
	errs = append(errs, c.Sync.FromHost.ConfigMaps.validate(field.NewPath("sync", "fromHost", "configMaps"), c.Host.Namespace)...)
	errs = append(errs, c.Sync.FromHost.Secrets.validate(field.NewPath("sync", "fromHost", "secrets"), c.Host.Namespace)...)
	errs = append(errs, c.Sync.ToHost.PriorityClasses.validate(field.NewPath("sync", "toHost", "priorityClasses"))...)
	errs = append(errs, c.Sync.ToHost.StorageClasses.validate(field.NewPath("sync", "toHost", "storageClasses"))...)
	errs = append(errs, c.Sync.ToHost.PersistentVolumes.validate(field.NewPath("sync", "toHost", "persistentVolumes"))...)
	errs = append(errs, c.Sync.ToHost.ResourceClaims.validate(field.NewPath("sync", "toHost", "resourceClaims"), &c.Sync.FromHost.DeviceClasses)...)
	errs = append(errs, c.Sync.ToHost.Ingresses.validate(field.NewPath("sync", "toHost", "ingresses"))...)
	errs = append(errs, c.validateCustom(field.NewPath("sync", "custom"))...)
	errs = append(errs, c.Pods.validate(field.NewPath("pods"))...)
	errs = append(errs, c.validateSelectors()...)
	errs = append(errs, c.Metadata.validate(field.NewPath("metadata"))...)
	errs = append(errs, c.Isolation.validate(field.NewPath("isolation"), &c.CoreDNS)...)
	errs = append(errs, c.ProxyProtocol.validate(field.NewPath("proxyProtocol"))...)
	errs = append(errs, c.Sleep.validate(field.NewPath("sleep"), &c.CoreDNS)...)
	errs = append(errs, c.Egress.validate(field.NewPath("egress"))...)
	errs = append(errs, c.validateMapServices(field.NewPath("mapServices"))...)
	errs = append(errs, images(field.NewPath("images"), c.Images)...)
	errs = append(errs, c.validateHooks(field.NewPath("hooks"))...)
	errs = append(errs, c.validatePatches(field.NewPath("patches"))...)
	errs = append(errs, c.Metrics.validate(field.NewPath("metrics"))...)
	errs = append(errs, c.Audit.validate(field.NewPath("audit"))...)
	errs = append(errs, c.Tracing.validate(field.NewPath("tracing"))...)
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
	if h.WorkloadServiceAccount != "" {
		for _, msg := range validation.IsDNS1123Subdomain(h.WorkloadServiceAccount) {
			errs = append(errs, field.Invalid(path.Child("workloadServiceAccount"), h.WorkloadServiceAccount, msg))
		}
	}
	if h.AdvertiseAddress != "" {
		errs = append(errs, address(path.Child("advertiseAddress"), h.AdvertiseAddress, false)...)
	}
	return append(errs, h.validateBounds(path)...)
}

// mostOfHost is more than any API server takes.
const mostOfHost = 100_000

// validateBounds refuses bounds that would keep everyone out.
func (h *Host) validateBounds(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, bound := range []struct {
		name  string
		value int
	}{{"qps", h.QPS}, {"burst", h.Burst}, {"maxStreams", h.MaxStreams}} {
		if bound.value < 1 || bound.value > mostOfHost {
			errs = append(errs, field.Invalid(path.Child(bound.name), bound.value, "must be 1 to 100000"))
		}
	}
	return errs
}

// validateReplicas refuses configurations that look highly available and are
// not.
func (c *Config) validateReplicas() field.ErrorList {
	path := field.NewPath("replicas")
	switch {
	case c.Replicas < 1:
		return field.ErrorList{field.Invalid(path, c.Replicas, "must be at least 1")}
	case c.Replicas > 1 && c.Store.Endpoint == "":
		return field.ErrorList{field.Invalid(path, c.Replicas, "more than one replica needs a shared store: SQLite has one writer (set store.endpoint)")}
	}
	return nil
}

func (n *Nodes) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if n.SyncAllNodes && n.NodeSelector != "" {
		errs = append(errs, field.Invalid(path.Child("nodeSelector"), n.NodeSelector, "syncAllNodes shows all nodes; set one of the two"))
	}
	if _, err := n.Labels(); err != nil {
		errs = append(errs, field.Invalid(path.Child("nodeSelector"), n.NodeSelector, "must be labels, a=b,c=d: "+err.Error()))
	}
	if n.ClearImageStatus && !n.Real() {
		errs = append(errs, field.Invalid(path.Child("clearImageStatus"), true, "made-up nodes have no images; set enabled as well"))
	}
	if n.Proxy && !n.Real() {
		errs = append(errs, field.Invalid(path.Child("proxy"), true, "made-up nodes have no kubelet; set enabled as well"))
	}
	if n.EnableScheduler && !n.SyncAllNodes && n.NodeSelector == "" {
		errs = append(errs, field.Invalid(path.Child("enableScheduler"), true,
			"a scheduler needs host nodes to choose from before a pod runs there; set syncAllNodes or nodeSelector as well"))
	}
	return errs
}

// validateSelectors refuses selectors that no pod can satisfy.
func (c *Config) validateSelectors() field.ErrorList {
	shown, err := c.Sync.Nodes.Labels()
	if err != nil {
		return nil // reported already
	}
	var errs field.ErrorList
	for _, k := range slices.Sorted(maps.Keys(shown)) {
		if v, both := c.Pods.NodeSelector[k]; both && v != shown[k] {
			errs = append(errs, field.Invalid(field.NewPath("pods", "nodeSelector").Key(k), v, "sync.nodes.nodeSelector shows only nodes with "+k+"="+shown[k]))
		}
	}
	return errs
}

// validate finds now the faults that the host would report for every single
// pod.
func (p *Pods) validate(path *field.Path) field.ErrorList {
	errs := metav1validation.ValidateLabels(p.NodeSelector, path.Child("nodeSelector"))
	if strings.TrimSpace(p.HostsImage) != p.HostsImage { // the runtime judges the rest
		errs = append(errs, field.Invalid(path.Child("hostsImage"), p.HostsImage, "must not begin or end with a space"))
	}
	errs = append(errs, p.validateAllowed(path)...)
	for i, t := range p.Tolerations {
		at := path.Child("tolerations").Index(i)
		if t.Key != "" {
			errs = append(errs, metav1validation.ValidateLabelName(t.Key, at.Child("key"))...)
		}
		switch t.Operator {
		case corev1.TolerationOpExists:
			if t.Value != "" {
				errs = append(errs, field.Invalid(at.Child("value"), t.Value, "must be empty when the operator is Exists"))
			}
		case corev1.TolerationOpEqual, "":
			if t.Key == "" {
				errs = append(errs, field.Required(at.Child("key"), "only the operator Exists goes without a key"))
			}
		default:
			errs = append(errs, field.NotSupported(at.Child("operator"), t.Operator, []corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists}))
		}
		switch t.Effect {
		case "", corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
		default:
			errs = append(errs, field.NotSupported(at.Child("effect"), t.Effect,
				[]corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}))
		}
	}
	return errs
}

// validateAllowed refuses entries that would allow nothing.
func (p *Pods) validateAllowed(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, key := range p.AllowedTolerations {
		if key != rewrite.Everything {
			errs = append(errs, metav1validation.ValidateLabelName(key, path.Child("allowedTolerations").Index(i))...)
		}
	}
	for i, name := range p.Schedulers {
		for _, msg := range validation.IsDNS1123Subdomain(name) {
			errs = append(errs, field.Invalid(path.Child("schedulers").Index(i), name, msg))
		}
	}
	for i, name := range p.VolumeDrivers {
		if at := path.Child("volumeDrivers").Index(i); name == "" {
			errs = append(errs, field.Required(at, "a driver has a name"))
		} else if name != rewrite.Everything && strings.ContainsAny(name, "* ") {
			errs = append(errs, field.Invalid(at, name, "must be the whole name of a driver, or * alone"))
		}
	}
	return errs
}

// images checks the map of images. The runtime judges the images themselves.
func images(path *field.Path, m map[string]string) field.ErrorList {
	var errs field.ErrorList
	for _, from := range slices.Sorted(maps.Keys(m)) {
		if from == "" || m[from] == "" {
			errs = append(errs, field.Required(path.Key(from), "neither image may be empty"))
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
