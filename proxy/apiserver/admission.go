// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"maps"
	"slices"
)

// plugin is one row of the table of admission plugins: why a plugin runs in a
// virtual cluster, or why it does not.
type plugin struct {
	// asks names the virtual objects that the plugin looks at besides that of the
	// request.
	asks string
	// off means that the plugin does not run in a virtual cluster.
	off bool
	// added means that ordinary clusters leave the plugin to their administrator.
	added bool
	why   string
}

// Answers that several rows share.
const (
	nothing   = "nothing"
	hostNodes = "the host decides with the true nodes; virtual ones can be made up, or changed by the tenant"
)

// plugins lists every admission plugin that an ordinary cluster runs, and those
// that a virtual one runs besides. An object of a kind that the host has goes
// through the host's own chain as well; so a plugin that would need objects which
// live on the host does not run here. docs/admission.md shows the table.
var plugins = map[string]plugin{
	"NamespaceLifecycle":            {asks: "namespaces", why: "namespaces are the tenant's"},
	"LimitRanger":                   {asks: "limit ranges", why: "the tenant's own limits; those of the host namespace hold on the host"},
	"ServiceAccount":                {asks: "service accounts, Secrets", why: "accounts are the tenant's"},
	"PodSecurity":                   {asks: "namespaces", why: "the tenant's own levels; that of the host namespace holds on the host"},
	"Priority":                      {asks: "priority classes", why: "the tenant's own classes and those that are shown; the host decides about the classes that a pod takes there"},
	"RuntimeClass":                  {asks: "runtime classes", why: "the tenant's own classes and those that are shown; the host decides about the classes that a pod takes there"},
	"PodTopologyLabels":             {asks: "nodes", why: "a tenant's binding only; the host adds its own labels to the pods that it binds"},
	"ResourceQuota":                 {asks: "resource quotas", why: "the tenant's own quotas; those of the host namespace hold on the host"},
	"DefaultStorageClass":           {asks: "storage classes", why: "a default that is shown or the tenant's own is a name in the claim; without one the host's default holds"},
	"DefaultIngressClass":           {asks: "ingress classes", why: "a default that is shown or the tenant's own is a name in the Ingress"},
	"CertificateApproval":           {asks: nothing, why: "it asks the tenant's RBAC"},
	"CertificateSigning":            {asks: nothing, why: "it asks the tenant's RBAC"},
	"PodGroupProtection":            {asks: nothing, why: "PodGroups are the tenant's"},
	"ClusterTrustBundleAttest":      {asks: nothing, why: "it asks the tenant's RBAC"},
	"CertificateSubjectRestriction": {asks: nothing, why: "it reads the request only"},
	"DefaultTolerationSeconds":      {asks: nothing, why: "the host would add the same"},
	"MutatingAdmissionPolicy":       {asks: "policies, their parameters, namespaces", why: "policies are the tenant's"},
	"MutatingAdmissionWebhook":      {asks: "webhooks, namespaces", why: "webhooks are the tenant's"},
	"ValidatingAdmissionPolicy":     {asks: "policies, their parameters, namespaces", why: "policies are the tenant's"},
	"ValidatingAdmissionWebhook":    {asks: "webhooks, namespaces", why: "webhooks are the tenant's"},

	"DenyServiceExternalIPs": {asks: nothing, added: true,
		why: "every node of the host takes the traffic to an external IP, also traffic that is meant for others (CVE-2020-8554)"},

	"PersistentVolumeClaimResize": {asks: "storage classes", off: true,
		why: "the host decides by the class that it made the volume with, which need not be shown; a tenant can make a class of any name"},
	"PodResizeValidator":           {asks: "nodes", off: true, why: hostNodes},
	"NodeDeclaredFeatureValidator": {asks: "nodes", off: true, why: hostNodes},
	"StorageObjectInUseProtection": {asks: nothing, off: true, why: "it adds kubernetes.io/pvc-protection; the host's own finalizer is shown"},
	"TaintNodesByCondition": {asks: nothing, off: true,
		why: "it taints a new node until the controller of nodes has looked at it; that controller runs on the host, whose nodes these are"},
}

// pluginsThat returns the names of the plugins that a question is true of, sorted.
func pluginsThat(is func(plugin) bool) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		if is(plugins[name]) {
			names = append(names, name)
		}
	}
	return names
}
