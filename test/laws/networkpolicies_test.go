// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package laws

import (
	"fmt"
	"math/rand"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	"k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
)

// FuzzPolicies: whatever policy the API of the virtual cluster takes, that of the
// host takes its translation, with and without limits of the operator, and its
// defaults change nothing, which would be corrected for ever.
func FuzzPolicies(f *testing.F) {
	for seed := range int64(200) {
		f.Add(seed)
	}
	tr := newTranslator(f)
	port := func(n int32) networkingv1.NetworkPolicyPort {
		return networkingv1.NetworkPolicyPort{Port: ptr.To(intstr.FromInt32(n))} // as an operator writes it
	}
	bounds := &rewrite.PolicyBounds{Egress: []networkingv1.NetworkPolicyEgressRule{
		{Ports: []networkingv1.NetworkPolicyPort{port(53)}},
		{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/8", "172.16.0.0/12"}}}}},
		{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "2001:db8::/32"}}}, Ports: []networkingv1.NetworkPolicyPort{port(443), port(80)}},
	}}
	doors := []rewrite.Door{
		{Selector: map[string]string{"portico.dev/door": cluster}, APIPort: 8443, DNSPort: 1053},
		{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")}, APIPort: 8443},
	}
	f.Fuzz(func(t *testing.T, seed int64) {
		v := networkPolicy(rand.New(rand.NewSource(seed)))
		legacyscheme.Scheme.Default(v)
		if errs := validatePolicy(t, v); len(errs) > 0 {
			return // the door refuses it
		}
		for i, n := range []rewrite.Network{{Door: doors[0]}, {Door: doors[1]}, {Door: doors[0], Bounds: bounds}, {Door: doors[1], Bounds: bounds}} {
			h := wire(t, tr.NetworkPolicyToHost(v, n, rewrite.Inputs{}))
			if errs := validatePolicy(t, h); len(errs) > 0 {
				t.Errorf("host %d refuses it: %v\nvirtual: %+v\nhost: %+v", i, errs, v.Spec, h.Spec)
			}
			defaulted := h.DeepCopy()
			legacyscheme.Scheme.Default(defaulted)
			if !apiequality.Semantic.DeepEqual(h.Spec, defaulted.Spec) {
				t.Errorf("host %d makes %+v of %+v", i, defaulted.Spec, h.Spec)
			}
		}
	})
}

// TestMostPoliciesAreTaken by the door: a law about none would prove nothing.
func TestMostPoliciesAreTaken(t *testing.T) {
	taken := 0
	for seed := range int64(200) {
		v := networkPolicy(rand.New(rand.NewSource(seed)))
		legacyscheme.Scheme.Default(v)
		if len(validatePolicy(t, v)) == 0 {
			taken++
		}
	}
	if taken < 100 {
		t.Errorf("%d of 200", taken)
	}
}

func validatePolicy(t *testing.T, p *networkingv1.NetworkPolicy) field.ErrorList {
	t.Helper()
	internal := &networking.NetworkPolicy{}
	if err := legacyscheme.Scheme.Convert(p, internal, nil); err != nil {
		t.Fatal(err)
	}
	return validation.ValidateNetworkPolicy(internal, validation.NetworkPolicyValidationOptions{})
}

// networkPolicy makes a policy that may be valid.
func networkPolicy(r *rand.Rand) *networkingv1.NetworkPolicy {
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "p"}}
	p.Spec.PodSelector = *labelSelector(r)
	p.Spec.PolicyTypes = [][]networkingv1.PolicyType{
		nil, {networkingv1.PolicyTypeIngress}, {networkingv1.PolicyTypeEgress}, {networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
	}[r.Intn(4)]
	for range r.Intn(3) {
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: policyPeers(r), Ports: policyPorts(r)})
	}
	for range r.Intn(4) {
		p.Spec.Egress = append(p.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: policyPeers(r), Ports: policyPorts(r)})
	}
	return p
}

func labelSelector(r *rand.Rand) *metav1.LabelSelector {
	s := &metav1.LabelSelector{}
	keys := []string{"app", "kubernetes.io/metadata.name", "argocd.argoproj.io/instance", "portico.dev/cluster", "k8s-app"}
	for range r.Intn(2) {
		s.MatchLabels = map[string]string{keys[r.Intn(len(keys))]: []string{"", "web", "kube-dns", "kube-system"}[r.Intn(4)]}
	}
	for range r.Intn(2) {
		op := []metav1.LabelSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist"}[r.Intn(4)]
		e := metav1.LabelSelectorRequirement{Key: keys[r.Intn(len(keys))], Operator: op}
		if op == "In" || op == "NotIn" {
			e.Values = []string{"web", "db"}
		}
		s.MatchExpressions = append(s.MatchExpressions, e)
	}
	return s
}

func policyPeers(r *rand.Rand) (out []networkingv1.NetworkPolicyPeer) {
	for range r.Intn(3) {
		var p networkingv1.NetworkPolicyPeer
		if r.Intn(2) == 0 {
			p.IPBlock = ipBlock(r)
		} else {
			if r.Intn(2) == 0 {
				p.PodSelector = labelSelector(r)
			}
			if p.PodSelector == nil || r.Intn(2) == 0 {
				p.NamespaceSelector = labelSelector(r)
			}
		}
		out = append(out, p)
	}
	return out
}

// ipBlock makes one of any length, some of whose exceptions are as long.
func ipBlock(r *rand.Rand) *networkingv1.IPBlock {
	address, bits := netip.AddrFrom4([4]byte{[]byte{10, 172, 192, 0}[r.Intn(4)], byte(r.Intn(32)), 0, 0}), 32
	if r.Intn(4) == 0 {
		address, bits = netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::", r.Intn(8))), 128
	}
	length := r.Intn(bits + 1)
	b := &networkingv1.IPBlock{CIDR: netip.PrefixFrom(address, length).Masked().String()}
	for range r.Intn(3) {
		b.Except = append(b.Except, netip.PrefixFrom(address, min(bits, length+r.Intn(12))).Masked().String())
	}
	return b
}

func policyPorts(r *rand.Rand) (out []networkingv1.NetworkPolicyPort) {
	for range r.Intn(3) {
		var p networkingv1.NetworkPolicyPort
		switch r.Intn(4) {
		case 0:
		case 1:
			p.Port = ptr.To(intstr.FromString([]string{"http", "dns", "dns-tcp"}[r.Intn(3)]))
		default:
			n := int32(1 + r.Intn(500))
			p.Port = ptr.To(intstr.FromInt32(n))
			if r.Intn(2) == 0 {
				p.EndPort = ptr.To(n + int32(r.Intn(100)))
			}
		}
		if r.Intn(2) == 0 {
			p.Protocol = ptr.To([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}[r.Intn(3)])
		}
		out = append(out, p)
	}
	return out
}
