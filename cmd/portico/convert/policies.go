// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"slices"
	"strings"
)

const (
	noLabels     = "The objects have the chart's labels."
	noScopes     = "A quota with scopes: make one in the host namespace, porticod passes on its refusals."
	noMoreRules  = "Rules for incoming connections: make a NetworkPolicy in the host namespace. For the way out: isolation.networkPolicy.workloads.egress and .controlPlane.egress."
	oneNamespace = "The limits are for the cluster's one host namespace."

	policies = "policies"
)

// policyRows are the keys of vcluster.yaml under policies that limit a cluster.
// There each has a switch of its own, and here is one for all of them.
var policyRows = slices.Concat(
	one(
		via(policies+".podSecurityStandard", "isolation.podSecurityStandard", text, podSecurity, "Holds for every pod, with isolation.enabled."),
		via(policies+".resourceQuota.enabled", "isolation.resourceQuota.enabled", anything, limit, "With isolation.enabled."),
		via(policies+".resourceQuota.quota", "isolation.resourceQuota.quota", object, ofLimit, "Adds to the default, which is the same."),
		none(policies+".resourceQuota.scopeSelector", noScopes),
		none(policies+".resourceQuota.scopes", noScopes),
		via(policies+".limitRange.enabled", "isolation.limitRange.enabled", anything, limit, "With isolation.enabled."),
		via(policies+".limitRange.default", "isolation.limitRange.default", object, ofLimit, ""),
		via(policies+".limitRange.defaultRequest", "isolation.limitRange.defaultRequest", object, ofLimit, ""),
		via(policies+".limitRange.min", "isolation.limitRange.min", object, ofLimit, ""),
		via(policies+".limitRange.max", "isolation.limitRange.max", object, ofLimit, ""),
		via(policies+".networkPolicy.enabled", "isolation.networkPolicy.enabled", anything, limit, "With isolation.enabled. It limits the way out, and not the way in."),
	),
	when(policies+".networkPolicy.enabled",
		move(policies+".networkPolicy.outgoingConnections.ipBlock", "isolation.networkPolicy.outgoingConnections.ipBlock", object, ""),
		none(policies+".networkPolicy.outgoingConnections.platform", noPlatform, true),
		move(policies+".networkPolicy.extraWorkloadRules", "isolation.networkPolicy.workloads.egress", list, ""),
		move(policies+".networkPolicy.extraControlPlaneRules", "isolation.networkPolicy.controlPlane.egress", list, ""),
		none(policies+".networkPolicy.workload", noMoreRules),
		none(policies+".networkPolicy.controlPlane", noMoreRules),
		all(policies+".networkPolicy.fallbackDns", "Names outside of the cluster are resolved by porticod."),
	),
	each(none, noLabels,
		policies+".resourceQuota.labels", policies+".resourceQuota.annotations", policies+".limitRange.labels", policies+".limitRange.annotations",
		policies+".networkPolicy.labels", policies+".networkPolicy.annotations"),
)

// oldPolicyRows are those of the charts before 0.20, which had one switch too.
var oldPolicyRows = slices.Concat(
	one(move("isolation.enabled", "isolation.enabled", boolean, "")),
	when("isolation.enabled",
		none("isolation.namespace", oneNamespace),
		move("isolation.podSecurityStandard", "isolation.podSecurityStandard", text, "Holds for every pod."),
		none("isolation.nodeProxyPermission", "Rights follow from the features that are on: sync.nodes.proxy."),
		ours("isolation.resourceQuota.enabled", boolean),
		move("isolation.resourceQuota.quota", "isolation.resourceQuota.quota", object, "Adds to the default, which is the same."),
		none("isolation.resourceQuota.scopeSelector", noScopes, map[string]any{"matchExpressions": []any{}}),
		none("isolation.resourceQuota.scopes", noScopes),
		ours("isolation.limitRange.enabled", boolean),
		ours("isolation.limitRange.default", object),
		ours("isolation.limitRange.defaultRequest", object),
		ours("isolation.limitRange.min", object),
		ours("isolation.limitRange.max", object),
		ours("isolation.networkPolicy.enabled", boolean),
		ours("isolation.networkPolicy.outgoingConnections.ipBlock", object),
		none("isolation.networkPolicy.outgoingConnections.platform", noPlatform, true),
	),
)

// limits are the sections that can be switched on, and the one that a section
// with the value auto follows.
var limits = map[string]string{"resourceQuota": "limitRange", "limitRange": "resourceQuota", "networkPolicy": ""}

// limited says whether a file of vcluster's switches a section on.
func (c *conversion) limited(section string) bool {
	switch v := c.at(policies + "." + section + ".enabled"); {
	case isTrue(v):
		return true
	case v == nil || v == "auto":
		return limits[section] != "" && c.on(policies+"."+limits[section]+".enabled")
	}
	return false
}

// isolate switches on the limits that a file of vcluster's has, and no other.
func (c *conversion) isolate(r row) error {
	if err := c.set(r.path, "isolation.enabled", true); err != nil {
		return err
	}
	if asksNothing(c.at(policies + ".podSecurityStandard")) {
		if err := c.set(r.path, "isolation.podSecurityStandard", "privileged"); err != nil {
			return err
		}
	}
	for section := range limits {
		if !c.limited(section) {
			if err := c.set(r.path, "isolation."+section+".enabled", false); err != nil {
				return err
			}
		}
	}
	return nil
}

func podSecurity(c *conversion, r row, v any) error {
	if v != "privileged" {
		if err := c.isolate(r); err != nil {
			return err
		}
	} else if !c.limited("resourceQuota") && !c.limited("limitRange") && !c.limited("networkPolicy") {
		c.needless(r.path)
		return nil
	}
	return c.put(r, r.to, v)
}

// limit is for the switch of a section.
func limit(c *conversion, r row, _ any) error {
	if !c.limited(sectionOf(r)) {
		c.needless(r.path)
		return nil
	}
	if err := c.isolate(r); err != nil {
		return err
	}
	return c.put(r, r.to, true)
}

// ofLimit is for a value of a section, which may be on without a switch.
func ofLimit(c *conversion, r row, v any) error {
	if !c.limited(sectionOf(r)) {
		c.needless(r.path)
		return nil
	}
	if err := c.isolate(r); err != nil {
		return err
	}
	return c.put(r, r.to, v)
}

// sectionOf is the section of policies that a row is of.
func sectionOf(r row) string { return strings.Split(r.path, ".")[1] }
