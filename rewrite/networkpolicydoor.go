// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// Door is where porticod listens, as policies see it: behind all Services.
type Door struct {
	// Selector of the pods of porticod; nil means that it is outside of the host.
	Selector map[string]string
	// Addresses at which the API server is shown inside.
	Addresses []netip.Addr
	APIPort   int32
	// DNSPort is 0 if porticod is not the DNS.
	DNSPort int32
}

// egress translates a rule for connections that pods open. The API server and
// an embedded DNS are not on the host where a tenant sees them: policies are
// applied when the address of a Service has become that of an endpoint.
func (p *policy) egress(r *networkingv1.NetworkPolicyEgressRule) []networkingv1.NetworkPolicyEgressRule {
	rules := []networkingv1.NetworkPolicyEgressRule{{To: p.peers(r.To), Ports: ports(r.Ports)}}
	switch {
	case p.host.Bounds != nil:
		rules = p.host.Bounds.bound(&rules[0], p.everyPod())
	case len(r.To) == 0 && len(r.Ports) == 0:
		return rules // everywhere
	}
	to, reached := p.doors(), p.doorPorts(r)
	if len(to) == 0 || len(reached) == 0 {
		return rules
	}
	return append(rules, networkingv1.NetworkPolicyEgressRule{To: to, Ports: reached})
}

// everyPod is every pod of the cluster.
func (p *policy) everyPod() networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{p.inCluster()},
	}}
}

// doors are the peers that porticod is.
func (p *policy) doors() []networkingv1.NetworkPolicyPeer {
	if s := p.host.Door.Selector; s != nil {
		return []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: s}}}
	}
	var out []networkingv1.NetworkPolicyPeer
	for _, a := range p.host.Door.Addresses {
		out = append(out, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: netip.PrefixFrom(a, a.BitLen()).String()}})
	}
	return out
}

// doorPorts are the ports of porticod that a tenant's rule leads to.
func (p *policy) doorPorts(r *networkingv1.NetworkPolicyEgressRule) []networkingv1.NetworkPolicyPort {
	d := &p.host.Door
	dns := d.DNSPort != 0 && reaches(r.To, p.isDNS)
	service := reaches(r.To, func(peer *networkingv1.NetworkPolicyPeer) bool { return within(peer.IPBlock, p.t.cluster.APIServerIP) })
	endpoint := reaches(r.To, func(peer *networkingv1.NetworkPolicyPeer) bool {
		return slices.ContainsFunc(d.Addresses, func(a netip.Addr) bool { return within(peer.IPBlock, a.String()) })
	})
	var out []networkingv1.NetworkPolicyPort
	for _, at := range []struct {
		reached  bool
		protocol corev1.Protocol
		port     int32
	}{
		{dns && hasPort(r.Ports, corev1.ProtocolUDP, DNSServicePort, "dns"), corev1.ProtocolUDP, d.DNSPort},
		{dns && hasPort(r.Ports, corev1.ProtocolTCP, DNSServicePort, "dns-tcp"), corev1.ProtocolTCP, d.DNSPort},
		{
			service && hasPort(r.Ports, corev1.ProtocolTCP, p.t.cluster.APIServerPort, "") ||
				endpoint && hasPort(r.Ports, corev1.ProtocolTCP, d.APIPort, ""),
			corev1.ProtocolTCP, d.APIPort,
		},
	} {
		if at.reached {
			out = append(out, networkingv1.NetworkPolicyPort{Protocol: ptr.To(at.protocol), Port: ptr.To(intstr.FromInt32(at.port))})
		}
	}
	return out
}

// reaches reports whether one of a rule's peers is meant. None is everybody.
func reaches(peers []networkingv1.NetworkPolicyPeer, is func(*networkingv1.NetworkPolicyPeer) bool) bool {
	for i := range peers {
		if is(&peers[i]) {
			return true
		}
	}
	return len(peers) == 0
}

// isDNS reports whether a peer is the DNS: a pod of kube-system in the eyes of a
// tenant, at the address of kube-dns.
func (p *policy) isDNS(peer *networkingv1.NetworkPolicyPeer) bool {
	if peer.IPBlock != nil {
		return within(peer.IPBlock, p.t.cluster.DNSIP)
	}
	namespace := p.in.Namespaces[DNSNamespace]
	if namespace == nil {
		namespace = map[string]string{corev1.LabelMetadataName: DNSNamespace}
	}
	if peer.NamespaceSelector == nil && p.namespace != DNSNamespace {
		return false
	}
	return matches(peer.NamespaceSelector, namespace) && matches(peer.PodSelector, DNSLabels())
}

// matches reports whether a selector, or none, lets an object with these labels
// through.
func matches(selector *metav1.LabelSelector, of map[string]string) bool {
	if selector == nil {
		return true
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(of))
}

// within reports whether an address is in a block, if there is one.
func within(b *networkingv1.IPBlock, address string) bool {
	if b == nil {
		return false
	}
	a, err := netip.ParseAddr(address)
	if err != nil || !contains(b.CIDR, a) {
		return false
	}
	return !slices.ContainsFunc(b.Except, func(e string) bool { return contains(e, a) })
}

func contains(cidr string, a netip.Addr) bool {
	p, err := netip.ParsePrefix(cidr)
	return err == nil && p.Contains(a)
}

// hasPort reports whether a rule's ports have the one of that number, or of that
// name in the pod.
func hasPort(ports []networkingv1.NetworkPolicyPort, protocol corev1.Protocol, number int32, name string) bool {
	for i := range ports {
		p := &ports[i]
		if protocolOf(p) != protocol {
			continue
		}
		switch {
		case p.Port == nil:
			return true
		case p.Port.Type == intstr.String:
			if name != "" && p.Port.StrVal == name {
				return true
			}
		case p.Port.IntVal <= number && number <= ptr.Deref(p.EndPort, p.Port.IntVal):
			return true
		}
	}
	return len(ports) == 0
}

func protocolOf(p *networkingv1.NetworkPolicyPort) corev1.Protocol {
	return ptr.Deref(p.Protocol, corev1.ProtocolTCP)
}
