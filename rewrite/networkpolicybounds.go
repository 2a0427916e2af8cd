// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// PolicyBounds are the connections that the operator lets pods open, besides
// those to porticod and to each other, as rules of the host. Policies add up:
// next to the operator's own policy, a tenant's permission would be one to
// leave the cluster, and a tenant's prohibition would prohibit nothing. So the
// operator's policy leaves out the pods that a tenant's policy selects
// (LabelEgressPolicy), and the permissions of such a policy on the host are its
// intersection with the bounds.
//
// Where an intersection cannot be written down, such as that of addresses with
// pods, it is left out: less is allowed then, and never more.
type PolicyBounds struct {
	Egress []networkingv1.NetworkPolicyEgressRule
}

// bound returns the rules that are the intersection of a rule of the host with
// the bounds. pods are all of the cluster, which the rule's own selectors never
// leave.
func (b *PolicyBounds) bound(r *networkingv1.NetworkPolicyEgressRule, pods networkingv1.NetworkPolicyPeer) []networkingv1.NetworkPolicyEgressRule {
	var out []networkingv1.NetworkPolicyEgressRule
	selected := slices.DeleteFunc(slices.Clone(r.To), func(p networkingv1.NetworkPolicyPeer) bool { return p.IPBlock != nil })
	if len(r.To) == 0 {
		selected = []networkingv1.NetworkPolicyPeer{pods}
	}
	if len(selected) > 0 {
		out = append(out, networkingv1.NetworkPolicyEgressRule{To: selected, Ports: r.Ports})
	}
	for i := range b.Egress {
		within := &b.Egress[i]
		common, some := commonPorts(r.Ports, within.Ports)
		if !some {
			continue
		}
		to := commonPeers(r.To, within.To)
		if len(to) == 0 && (len(r.To) > 0 || len(within.To) > 0) {
			continue // no one, and an empty list would be everyone
		}
		out = append(out, networkingv1.NetworkPolicyEgressRule{To: to, Ports: common})
	}
	return out
}

// commonPeers are the peers that two rules have in common outside of the cluster.
func commonPeers(tenants, bounds []networkingv1.NetworkPolicyPeer) []networkingv1.NetworkPolicyPeer {
	var out []networkingv1.NetworkPolicyPeer
	switch {
	case len(tenants) == 0:
		for i := range bounds {
			out = append(out, *bounds[i].DeepCopy())
		}
	case len(bounds) == 0:
		for i := range tenants {
			if block, ok := commonBlock(tenants[i].IPBlock, tenants[i].IPBlock); ok {
				out = append(out, networkingv1.NetworkPolicyPeer{IPBlock: block})
			}
		}
	default:
		for i := range tenants {
			for j := range bounds {
				if block, ok := commonBlock(tenants[i].IPBlock, bounds[j].IPBlock); ok {
					out = append(out, networkingv1.NetworkPolicyPeer{IPBlock: block})
				}
			}
		}
	}
	return out
}

// commonBlock is the intersection of two blocks. Two networks have none, or one
// is in the other.
func commonBlock(a, b *networkingv1.IPBlock) (*networkingv1.IPBlock, bool) {
	if a == nil || b == nil {
		return nil, false
	}
	p, ok := prefix(a.CIDR)
	q, also := prefix(b.CIDR)
	if !ok || !also || !p.Overlaps(q) {
		return nil, false
	}
	if q.Bits() > p.Bits() {
		p = q
	}
	var except []netip.Prefix
	for _, s := range slices.Concat(a.Except, b.Except) {
		e, ok := prefix(s)
		switch {
		case !ok:
			return nil, false // a block without it would be wider
		case !e.Overlaps(p):
			continue
		case e.Bits() <= p.Bits():
			return nil, false // all of it
		}
		except = append(except, e)
	}
	slices.SortFunc(except, netip.Prefix.Compare)
	out := &networkingv1.IPBlock{CIDR: p.String()}
	for _, e := range slices.Compact(except) {
		out.Except = append(out.Except, e.String())
	}
	return out, true
}

// prefix reads a network. IPv4 addresses that are written as IPv6 ones are none:
// a host might take them for the others, which they are not in the eyes of Overlaps.
func prefix(cidr string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(cidr)
	return p.Masked(), err == nil && !p.Addr().Is4In6()
}

// commonPorts are the ports that two rules have in common, and whether there are
// some. None is all.
func commonPorts(a, b []networkingv1.NetworkPolicyPort) ([]networkingv1.NetworkPolicyPort, bool) {
	switch {
	case len(a) == 0:
		return ports(b), true
	case len(b) == 0:
		return ports(a), true
	}
	var out []networkingv1.NetworkPolicyPort
	for i := range a {
		for j := range b {
			if p, ok := commonPort(&a[i], &b[j]); ok {
				out = append(out, p)
			}
		}
	}
	return ports(out), len(out) > 0
}

// commonPort is the port that two have in common. It may share memory with them.
func commonPort(a, b *networkingv1.NetworkPolicyPort) (networkingv1.NetworkPolicyPort, bool) {
	switch {
	case protocolOf(a) != protocolOf(b):
		return networkingv1.NetworkPolicyPort{}, false
	case b.Port == nil:
		return *a, true
	case a.Port == nil:
		return *b, true
	case a.Port.Type == intstr.String || b.Port.Type == intstr.String:
		// A name has another number in each pod.
		return *a, *a.Port == *b.Port
	}
	first := max(a.Port.IntVal, b.Port.IntVal)
	last := min(ptr.Deref(a.EndPort, a.Port.IntVal), ptr.Deref(b.EndPort, b.Port.IntVal))
	out := networkingv1.NetworkPolicyPort{Protocol: ptr.To(protocolOf(a)), Port: ptr.To(intstr.FromInt32(first))}
	if last > first {
		out.EndPort = &last
	}
	return out, first <= last
}
