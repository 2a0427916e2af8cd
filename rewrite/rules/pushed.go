// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// Secret is the table of Secrets.
var Secret = Table{
	Kind: "Secret",
	Rules: []Rule{
		{Path: "type", Action: Pass, Pass: "SecretToHost"},
	},
	Kept: []Excuse{
		{Reason: "bytes that the host hands to pods of the namespace", Paths: []string{"data"}},
		{Reason: "written only; a Secret that is read has no such field", Paths: []string{"stringData"}},
	},
}

// ConfigMap is the table of ConfigMaps.
var ConfigMap = Table{
	Kind: "ConfigMap",
	Kept: []Excuse{
		{Reason: "text and bytes that the host hands to pods of the namespace", Paths: []string{"data", "binaryData"}},
	},
}

// EndpointSlice is the table of EndpointSlices.
var EndpointSlice = Table{
	Kind: "EndpointSlice",
	Rules: []Rule{
		{Path: "endpoints[].targetRef", Action: Pass, Pass: "EndpointSliceToHost"},
	},
	Kept: []Excuse{
		{Reason: "address that the tenant's own pods are led to", Paths: []string{"endpoints[].addresses[]"}},
		{Reason: "name in the DNS, which the tenant resolves through the virtual one", Paths: []string{"endpoints[].hostname"}},
		{Reason: "the node, or its zone, is the host's and has the same name inside; proxies weigh endpoints by it", Paths: []string{
			"endpoints[].nodeName", "endpoints[].zone", "endpoints[].hints.forZones[].name", "endpoints[].hints.forNodes[].name",
			"endpoints[].deprecatedTopology",
		}},
		{Reason: "name of a port within the object or of its own Service", Paths: []string{"ports[].name", "ports[].appProtocol"}},
	},
}

// PriorityClass is the table of PriorityClasses.
var PriorityClass = Table{
	Kind: "PriorityClass",
	Rules: []Rule{
		{Path: "value", Action: Pass, Pass: "PriorityClassToHost"},
		{Path: "globalDefault", Action: Pass, Pass: "PriorityClassToHost"},
	},
	Kept: []Excuse{
		{Reason: "text for people", Paths: []string{"description"}},
	},
}

// NetworkPolicy is the table of NetworkPolicies.
var NetworkPolicy = Table{
	Kind: "NetworkPolicy",
	Rules: []Rule{
		{Path: "spec.podSelector", Action: Pass, Pass: "NetworkPolicyToHost"},
		{Path: "spec.ingress[].from[]", Action: Pass, Pass: "NetworkPolicyToHost"},
		{Path: "spec.egress[].to[]", Action: Pass, Pass: "egress"},
		{Path: "spec.egress[].ports[]", Action: Pass, Pass: "egress"},
	},
	Kept: []Excuse{
		{Reason: "port of the tenant's own pods, which have the same ports on the host", Paths: []string{"spec.ingress[].ports[]"}},
	},
}

// Ingress is the table of Ingresses.
var Ingress = Table{
	Kind: "Ingress",
	Rules: []Rule{
		{Path: "spec.defaultBackend", Action: Pass, Pass: "IngressToHost"},
		{Path: "spec.tls[].secretName", Action: Pass, Pass: "IngressToHost"},
		{Path: "spec.rules[].http.paths[].backend", Action: Pass, Pass: "IngressToHost"},
	},
	Kept: []Excuse{
		{Reason: "class of the host, one of those that the operator lists", Paths: []string{"spec.ingressClassName"}},
		{Reason: "host name, one of those that the operator allows (IngressPolicy.Validate)", Paths: []string{"spec.tls[].hosts[]", "spec.rules[].host"}},
		{Reason: "part of a URL, without characters that are a controller's (IngressPolicy.Validate)", Paths: []string{"spec.rules[].http.paths[].path"}},
		{Reason: "a word of the API", Paths: []string{"spec.rules[].http.paths[].pathType"}},
		{Reason: "a copy has no status of the tenant's; the host's is shown", Paths: []string{"status.loadBalancer"}},
	},
}

// PodDisruptionBudget is the table of PodDisruptionBudgets.
var PodDisruptionBudget = Table{
	Kind: "PodDisruptionBudget",
	Rules: []Rule{
		{Path: "spec.selector", Action: Pass, Pass: "BudgetToHost"},
		{Path: "spec.minAvailable", Action: Pass, Pass: "BudgetToHost"},
		{Path: "spec.maxUnavailable", Action: Pass, Pass: "BudgetToHost"},
	},
	Kept: []Excuse{
		{Reason: "a word of the API", Paths: []string{"spec.unhealthyPodEvictionPolicy"}},
		{Reason: "a copy has no status of the tenant's: the host's controller writes it", Paths: []string{"status.disruptedPods", "status.conditions[]"}},
	},
}
