// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// LabelEgressPolicy is on the host pods that some policy of the tenant selects
// for egress. The operator's isolation leaves these to the tenant's policies,
// which add up to less (PolicyBounds).
const LabelEgressPolicy = Prefix + "egress-policy"

// Network describes the host to the policies of a cluster.
type Network struct {
	Door Door
	// Bounds are set where the operator limits the connections of pods.
	Bounds *PolicyBounds
}

// NetworkPolicyToHost returns the host copy of a policy. It has none of the
// tenant's labels and annotations. Inputs.Namespaces has the labels of the
// namespace that the DNS seems to be in.
//
// All namespaces are one on the host, so everything in a peer that speaks of
// namespaces becomes part of its pod selector, as in affinity.go. A rule whose
// peers are all gone goes with them: without peers it would be for everybody.
func (t *Translator) NetworkPolicyToHost(v *networkingv1.NetworkPolicy, n Network, in Inputs) *networkingv1.NetworkPolicy {
	p := &policy{translation: t.begin("NetworkPolicy", v, in), host: n}
	h := &networkingv1.NetworkPolicy{
		ObjectMeta: t.bare("NetworkPolicy", v),
		Spec:       networkingv1.NetworkPolicySpec{PodSelector: *p.pods(&v.Spec.PodSelector), PolicyTypes: policyTypes(&v.Spec)},
	}
	for _, r := range v.Spec.Ingress {
		h.Spec.Ingress = append(h.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: p.peers(r.From), Ports: ports(r.Ports)})
	}
	for i := range v.Spec.Egress {
		h.Spec.Egress = append(h.Spec.Egress, p.egress(&v.Spec.Egress[i])...)
	}
	return h
}

// policyTypes are the directions of a policy, which depend on its rules where it
// does not say them.
func policyTypes(s *networkingv1.NetworkPolicySpec) []networkingv1.PolicyType {
	switch {
	case len(s.PolicyTypes) > 0:
		return slices.Clone(s.PolicyTypes)
	case len(s.Egress) > 0:
		return []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	}
	return []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
}

// policy is the translation of one.
type policy struct {
	*translation
	host Network
}

// pods translates a selector of pods in the policy's own namespace.
func (p *policy) pods(virtual *metav1.LabelSelector) *metav1.LabelSelector {
	s := virtual.DeepCopy()
	p.ownPods(s)
	return s
}

// peers translates those of a rule. None is everybody, before and after.
func (p *policy) peers(virtual []networkingv1.NetworkPolicyPeer) []networkingv1.NetworkPolicyPeer {
	var out []networkingv1.NetworkPolicyPeer
	for i := range virtual {
		out = append(out, p.peer(&virtual[i]))
	}
	return out
}

func (p *policy) peer(virtual *networkingv1.NetworkPolicyPeer) networkingv1.NetworkPolicyPeer {
	switch {
	case virtual.IPBlock != nil:
		return networkingv1.NetworkPolicyPeer{IPBlock: virtual.IPBlock.DeepCopy()}
	case virtual.NamespaceSelector == nil:
		return networkingv1.NetworkPolicyPeer{PodSelector: p.pods(virtual.PodSelector)}
	}
	s := virtual.PodSelector.DeepCopy()
	if s == nil {
		s = &metav1.LabelSelector{}
	}
	p.moveKeys(s)
	require(s, p.namespacesMatching(virtual.NamespaceSelector)...)
	require(s, p.inCluster())
	return networkingv1.NetworkPolicyPeer{PodSelector: s}
}

// ports are those of pods on both sides. The protocol is written out, as the API
// has it.
func ports(virtual []networkingv1.NetworkPolicyPort) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for i := range virtual {
		p := *virtual[i].DeepCopy()
		p.Protocol = ptr.To(protocolOf(&p))
		out = append(out, p)
	}
	return out
}
