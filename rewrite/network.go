// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	// The limits of the API for dnsConfig; the kubelet cuts to the same
	// figures.
	maxNameservers = 3
	maxSearches    = 32
	maxSearchChars = 2048
	// maxHostname is the kernel's limit.
	maxHostname = 64
)

// network gives the pod its virtual hostname, the door under the API server's
// names, and the virtual DNS.
func (c *translation) network(spec *corev1.PodSpec) {
	c.hostname(spec)
	c.hostAliases(spec)
	c.dns(spec)
}

func (c *restoration) network(spec *corev1.PodSpec) {
	unreplace(c.overlay, "dnsConfig", &spec.DNSConfig)
	unreplace(c.overlay, "dnsPolicy", &spec.DNSPolicy)
	c.hostAliases(spec)
	unreplace(c.overlay, "hostnameOverride", &spec.HostnameOverride)
	unreplace(c.overlay, "setHostnameAsFQDN", &spec.SetHostnameAsFQDN)
	undrop(c.overlay, "subdomain", &spec.Subdomain)
	unreplace(c.overlay, "hostname", &spec.Hostname)
}

// hostname sets the name that the kubelet would have taken from the pod's. The
// subdomain stays off the host: with it the kubelet would write a name of the
// host namespace into /etc/hosts (etchosts.go writes the virtual one). A pod that
// wants its full name as hostname gets the virtual one in so many words, and so
// does a pod whose name has dots, which no hostname but an override may have. A
// host that is too old for overrides knows the latter by a label.
func (c *translation) hostname(spec *corev1.PodSpec) {
	if spec.HostNetwork || spec.HostnameOverride != nil {
		drop(c.overlay, "subdomain", &spec.Subdomain)
		return
	}
	name := c.hostnameOf(spec)
	if spec.Hostname == "" {
		replace(c.overlay, "hostname", &spec.Hostname, podHostname(c.name))
	}
	full := spec.SetHostnameAsFQDN != nil && *spec.SetHostnameAsFQDN && spec.Subdomain != ""
	if full {
		name = c.fullName(name, spec.Subdomain)
	}
	if name != spec.Hostname && len(name) <= maxHostname {
		replace(c.overlay, "setHostnameAsFQDN", &spec.SetHostnameAsFQDN, nil)
		replace(c.overlay, "hostnameOverride", &spec.HostnameOverride, &name)
	}
	drop(c.overlay, "subdomain", &spec.Subdomain)
}

// hostnameOf returns the hostname that a kubelet gives to a virtual pod without
// an override, and without its domain (k8s.io/kubernetes/pkg/kubelet,
// GeneratePodHostNameAndDomain).
func (c *translation) hostnameOf(spec *corev1.PodSpec) string {
	if spec.Hostname != "" {
		return spec.Hostname
	}
	return strings.TrimRight(c.name[:min(len(c.name), validation.DNS1123LabelMaxLength)], "-.")
}

// podHostname makes a DNS label of a pod's name.
func podHostname(pod string) string {
	name := strings.ReplaceAll(pod, ".", "-")
	return strings.TrimRight(name[:min(len(name), validation.DNS1123LabelMaxLength)], "-")
}

// hostAliases lets the API server's names lead to the door even where the
// virtual DNS is not in use.
func (c *translation) hostAliases(spec *corev1.PodSpec) {
	if c.t.cluster.APIServerIP == "" {
		return
	}
	alias := corev1.HostAlias{
		IP: c.t.cluster.APIServerIP,
		Hostnames: []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc." + c.t.cluster.ClusterDomain,
		},
	}
	c.overlay.put("hostAliases", alias)
	spec.HostAliases = append(spec.HostAliases, alias)
}

// hostAliases removes the alias that was added.
func (c *restoration) hostAliases(spec *corev1.PodSpec) {
	i := c.addedAlias(spec.HostAliases)
	if i < 0 {
		return
	}
	if spec.HostAliases = slices.Delete(spec.HostAliases, i, i+1); len(spec.HostAliases) == 0 {
		spec.HostAliases = nil
	}
}

// addedAlias returns where the alias that was added stands, or -1. It is the
// last that equals it: the list is keyed by address, and a tenant's own alias
// for the door's comes before it.
func (c *restoration) addedAlias(list []corev1.HostAlias) int {
	var added corev1.HostAlias
	if !c.overlay.get("hostAliases", &added) {
		return -1
	}
	for i := len(list) - 1; i >= 0; i-- {
		if a := list[i]; a.IP == added.IP && slices.Equal(a.Hostnames, added.Hostnames) {
			return i
		}
	}
	return -1
}

// dns points a pod that uses the cluster's DNS to the virtual one, with the
// search path of its virtual namespace, and merges the tenant's own settings as
// the kubelet does (k8s.io/kubernetes/pkg/kubelet/network/dns).
func (c *translation) dns(spec *corev1.PodSpec) {
	if c.t.cluster.DNSIP == "" {
		return
	}
	switch spec.DNSPolicy {
	case corev1.DNSClusterFirst, "":
		if spec.HostNetwork {
			return // the kubelet treats it as Default
		}
	case corev1.DNSClusterFirstWithHostNet:
	case corev1.DNSDefault, corev1.DNSNone:
		return
	default:
		return
	}
	domain, five := c.t.cluster.ClusterDomain, "5"
	config := &corev1.PodDNSConfig{
		Nameservers: []string{c.t.cluster.DNSIP},
		Searches:    []string{c.namespace + ".svc." + domain, "svc." + domain, domain},
		Options:     []corev1.PodDNSConfigOption{{Name: "ndots", Value: &five}},
	}
	if own := spec.DNSConfig; own != nil {
		config.Nameservers = merged(config.Nameservers, own.Nameservers, maxNameservers)
		config.Searches = fitting(merged(config.Searches, own.Searches, maxSearches), maxSearchChars)
		config.Options = mergedOptions(config.Options, own.Options)
	}
	replace(c.overlay, "dnsPolicy", &spec.DNSPolicy, corev1.DNSNone)
	replace(c.overlay, "dnsConfig", &spec.DNSConfig, config)
}

// merged appends the entries that list does not have yet, up to limit entries.
func merged(list, more []string, limit int) []string {
	for _, s := range more {
		if len(list) < limit && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// fitting returns the first of list that, with a space between them, have at
// most so many characters.
func fitting(list []string, chars int) []string {
	used := -1
	for i, s := range list {
		if used += 1 + len(s); used > chars {
			return list[:i]
		}
	}
	return list
}

// mergedOptions lets the tenant's options win over ours.
func mergedOptions(ours, own []corev1.PodDNSConfigOption) []corev1.PodDNSConfigOption {
	var out []corev1.PodDNSConfigOption
	for _, o := range ours {
		if !slices.ContainsFunc(own, func(p corev1.PodDNSConfigOption) bool { return p.Name == o.Name }) {
			out = append(out, o)
		}
	}
	for i := range own {
		out = append(out, *own[i].DeepCopy())
	}
	return out
}
