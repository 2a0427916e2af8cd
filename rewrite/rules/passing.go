// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// PassingKeys are, by kind, the keys of a tenant's that reach the host. A kind
// that is here, also with an empty list, has no others: clouds and operators
// read Services, Secrets, ConfigMaps and claims for keys that no list can hold,
// and act on them with rights of their own. Pods are not here, because people
// watch them on the host by their own labels: they have [PodKeys].
//
// The keys here are those by which Kubernetes itself acts on the one object, so
// that it behaves as in any cluster.
var PassingKeys = map[string][]KeyGroup{
	"Service": {
		{
			Name: "kube-proxy", Reason: "kube-proxy leaves such a Service alone: to another proxy, or as one without an address",
			Labels: []string{"service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"},
		},
		{
			Name: "topology", Reason: "the EndpointSlice controller prefers endpoints in the client's zone",
			Annotations: []string{"service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"},
		},
		{
			Name: "Windows", Reason: "kube-proxy on a Windows node sets up its load balancer so",
			Annotations: []string{"preserve-destination", "winProxyOptimization"},
		},
		{
			Name: "source ranges", Reason: "the old form of spec.loadBalancerSourceRanges: without it, a load balancer would be open to everybody",
			Annotations: []string{"service.beta.kubernetes.io/load-balancer-source-ranges"},
		},
	},
	"EndpointSlice": {
		{
			Name: "kube-proxy", Reason: "the same as for a Service",
			Labels: []string{"service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"},
		},
	},
	"PersistentVolumeClaim": {
		{
			Name: "storage class", Reason: "the old form of spec.storageClassName, which counts before the field",
			Annotations: []string{"volume.beta.kubernetes.io/storage-class"},
		},
	},
	"ResourceClaim": {
		{
			Name: "claim of a pod", Reason: "the host's claim controller finds by it the claim that was made for a pod which controls it",
			Annotations: []string{"resource.kubernetes.io/pod-claim-name"},
		},
	},
	"Secret":    {},
	"ConfigMap": {},
}
