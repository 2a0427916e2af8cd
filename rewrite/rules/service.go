// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// Service is the table of Services.
var Service = Table{
	Kind: "Service",
	Rules: []Rule{
		{Path: "spec.selector", Action: Pass, Pass: "service"},
		{Path: "status.conditions[].reason", Action: Text},
		{Path: "status.conditions[].message", Action: Text},
		{Path: "status.loadBalancer.ingress[].ports[].error", Action: Text},
	},
	Status: []StatusRule{
		{Field: "conditions", Share: Conditions},
		{Field: "loadBalancer", Share: Shown}, // package egress dials none of these addresses
	},
	Reach: serviceReach,
	Kept: []Excuse{
		{Reason: "addresses, allocated or refused by the host", Paths: []string{
			"spec.clusterIP", "spec.clusterIPs[]", "spec.externalIPs[]", "spec.loadBalancerIP", "spec.loadBalancerSourceRanges[]",
			"status.loadBalancer.ingress[].ip", "status.loadBalancer.ingress[].hostname",
		}},
		{Reason: "a DNS name; tenants resolve it through the virtual DNS, which reads the virtual Service", Paths: []string{"spec.externalName"}},
		{Reason: "name of a port within the object or of its own pods", Paths: []string{"spec.ports[].name", "spec.ports[].appProtocol"}},
		{Reason: "name of an implementation that the host offers to everybody", Paths: []string{"spec.loadBalancerClass"}},
		{Reason: "a word that Kubernetes defines", Paths: []string{
			"spec.trafficDistribution", "status.conditions[].type",
		}},
	},
}
