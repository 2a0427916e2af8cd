// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/rewrite"
)

// endpoint is where a connection begins or ends, in one of the two views.
type endpoint struct {
	name            string
	pod             bool // selectors find it, and policies hold for it
	namespace       string
	labels          map[string]string
	namespaceLabels map[string]string
	address         netip.Addr // that blocks find; pods of a network are found by selectors only
	named           map[string]int32
}

// port is a destination's.
type port struct {
	protocol corev1.Protocol
	number   int32
}

// allowed judges a connection as Kubernetes does: the semantics of the API,
// written down once more.
func allowed(t *testing.T, policies []*networkingv1.NetworkPolicy, from, to *endpoint, at port) bool {
	return through(t, policies, from, to, networkingv1.PolicyTypeEgress, to, at) &&
		through(t, policies, to, from, networkingv1.PolicyTypeIngress, to, at)
}

// through reports whether the policies of one end let the other end through.
func through(t *testing.T, policies []*networkingv1.NetworkPolicy, of, other *endpoint, direction networkingv1.PolicyType, to *endpoint, at port) bool {
	isolated := false
	for _, p := range policies {
		if !of.pod || p.Namespace != of.namespace || !slices.Contains(p.Spec.PolicyTypes, direction) || !selects(t, &p.Spec.PodSelector, of.labels) {
			continue
		}
		isolated = true
		if direction == networkingv1.PolicyTypeIngress {
			for _, r := range p.Spec.Ingress {
				if isPeer(t, p.Namespace, r.From, other) && isPort(r.Ports, to, at) {
					return true
				}
			}
			continue
		}
		for _, r := range p.Spec.Egress {
			if isPeer(t, p.Namespace, r.To, other) && isPort(r.Ports, to, at) {
				return true
			}
		}
	}
	return !isolated
}

func selects(t *testing.T, s *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(labels.Set(of))
}

func isPeer(t *testing.T, namespace string, peers []networkingv1.NetworkPolicyPeer, e *endpoint) bool {
	for _, p := range peers {
		if p.IPBlock != nil {
			in := func(cidr string) bool { return e.address.IsValid() && netip.MustParsePrefix(cidr).Contains(e.address) }
			if in(p.IPBlock.CIDR) && !slices.ContainsFunc(p.IPBlock.Except, in) {
				return true
			}
			continue
		}
		if !e.pod || p.PodSelector != nil && !selects(t, p.PodSelector, e.labels) {
			continue
		}
		if p.NamespaceSelector == nil && e.namespace == namespace || p.NamespaceSelector != nil && selects(t, p.NamespaceSelector, e.namespaceLabels) {
			return true
		}
	}
	return len(peers) == 0
}

func isPort(ports []networkingv1.NetworkPolicyPort, to *endpoint, at port) bool {
	for _, p := range ports {
		if orElse(p.Protocol, corev1.ProtocolTCP) != at.protocol {
			continue
		}
		if p.Port == nil {
			return true
		}
		first := p.Port.IntVal
		if p.Port.Type == intstr.String {
			first = to.named[string(at.protocol)+p.Port.StrVal]
		}
		if first != 0 && first <= at.number && at.number <= orElse(p.EndPort, first) {
			return true
		}
	}
	return len(ports) == 0
}

// moved is a label that has another key on the host.
const moved = "argocd.argoproj.io/instance"

var policyNamespaces = map[string]map[string]string{
	"a":           {"kubernetes.io/metadata.name": "a", "team": "red"},
	"b":           {"kubernetes.io/metadata.name": "b", "team": "blue"},
	"c":           {"kubernetes.io/metadata.name": "c"},
	"kube-system": {"kubernetes.io/metadata.name": "kube-system"},
}

// scene is a virtual cluster's network in both views.
type scene struct {
	translator *rewrite.Translator
	network    rewrite.Network
	virtual    []*endpoint // pods and the outside
	host       []*endpoint // the same
	// The DNS and the API server in the eyes of a tenant, and porticod.
	dns, service, address, door *endpoint
}

func newScene(t *testing.T, outside bool, bounds *rewrite.PolicyBounds) *scene {
	t.Helper()
	at := netip.MustParseAddr("10.9.9.9")
	s := &scene{translator: mustNew(t, testCluster())}
	s.network = rewrite.Network{Bounds: bounds, Door: rewrite.Door{
		Selector: map[string]string{"portico.dev/door": "my-vcluster"}, Addresses: []netip.Addr{at}, APIPort: 8443, DNSPort: 1053,
	}}
	s.door = &endpoint{name: "porticod", pod: true, namespace: "team-a", labels: s.network.Door.Selector}
	if outside {
		s.network.Door.Selector = nil
		s.door = &endpoint{name: "porticod", address: at}
	}
	s.dns = &endpoint{
		name: "DNS", pod: true, namespace: "kube-system", labels: map[string]string{"k8s-app": "kube-dns"}, namespaceLabels: policyNamespaces["kube-system"],
		address: netip.MustParseAddr("10.96.7.10"), named: map[string]int32{"UDPdns": 53, "TCPdns-tcp": 53},
	}
	s.service = &endpoint{name: "API server", address: netip.MustParseAddr("10.96.7.7")}
	s.address = &endpoint{name: "API server's endpoint", address: at}
	named := map[string]int32{"TCPhttp": 8080, "UDPdns": 53}
	for namespace, of := range policyNamespaces {
		for _, l := range []map[string]string{{"app": "web"}, {"app": "db", moved: "x"}, nil} {
			v := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "p" + l["app"], Labels: l}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
			h, err := s.translator.PodToHost(v, rewrite.Inputs{NamespaceLabels: of})
			if err != nil {
				t.Fatal(err)
			}
			s.virtual = append(s.virtual, &endpoint{name: namespace + "/" + v.Name, pod: true, namespace: namespace, labels: l, namespaceLabels: of, named: named})
			s.host = append(s.host, &endpoint{name: h.Name, pod: true, namespace: "team-a", labels: h.Labels, named: named})
		}
	}
	for _, a := range []string{"192.0.2.1", "192.0.2.200", "10.1.2.3", "10.200.0.1", "2001:db8::1"} {
		e := &endpoint{name: a, address: netip.MustParseAddr(a)}
		s.virtual, s.host = append(s.virtual, e), append(s.host, e)
	}
	// Neighbours: another cluster in the namespace, and a namespace of the host.
	// To a tenant they are outside, at addresses that no block is for.
	for _, n := range []*endpoint{
		{name: "neighbour", pod: true, namespace: "team-a", labels: map[string]string{"app": "web", "portico.dev/cluster": "other", "portico.dev/namespace": "a"}},
		{name: "host pod", pod: true, namespace: "infra", labels: map[string]string{"app": "web"}, namespaceLabels: map[string]string{"team": "red"}},
	} {
		s.virtual, s.host = append(s.virtual, &endpoint{name: n.name}), append(s.host, n)
	}
	return s
}

var policyPorts = []port{
	{corev1.ProtocolTCP, 53}, {corev1.ProtocolUDP, 53}, {corev1.ProtocolTCP, 80}, {corev1.ProtocolTCP, 443}, {corev1.ProtocolTCP, 8080},
	{corev1.ProtocolUDP, 8080}, {corev1.ProtocolTCP, 8443}, {corev1.ProtocolTCP, 9005},
}

// TestLaw5PoliciesAllowTheSameOnBothSides: for generated policies, each connection
// between pods, and between them and the outside, the DNS and the API server, is
// allowed on the host exactly if it is in the eyes of the tenant; and, where the
// operator has bounds, also within these.
func TestLaw5PoliciesAllowTheSameOnBothSides(t *testing.T) {
	bounds := &rewrite.PolicyBounds{Egress: []networkingv1.NetworkPolicyEgressRule{
		{Ports: []networkingv1.NetworkPolicyPort{tcp(53), {Protocol: ptr(corev1.ProtocolUDP), Port: ptr(intstr.FromInt32(53))}}},
		{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/8", "192.0.2.128/25"}}}}},
		{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.200.0.0/16"}}}, Ports: []networkingv1.NetworkPolicyPort{ranged(9000, 9010)}},
		{To: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "red"}}}}, Ports: []networkingv1.NetworkPolicyPort{tcp(80)}},
	}}
	for name, s := range map[string]*scene{
		"inside": newScene(t, false, nil), "outside": newScene(t, true, nil),
		"inside, bounded": newScene(t, false, bounds), "outside, bounded": newScene(t, true, bounds),
	} {
		t.Run(name, func(t *testing.T) {
			yes, no := 0, 0
			for seed := range uint64(60) {
				r := rand.New(rand.NewPCG(seed, 7))
				var policies []*networkingv1.NetworkPolicy
				for i := range 1 + r.IntN(3) {
					policies = append(policies, randomPolicy(r, fmt.Sprintf("p%d", i)))
				}
				a, b := s.compare(t, seed, policies)
				yes, no = yes+a, no+b
				if t.Failed() {
					return
				}
			}
			if yes < 1000 || no < 1000 {
				t.Errorf("%d connections allowed, %d not: that proves little", yes, no)
			}
		})
	}
}

// TestLaw5NoOrderOfWritesOpensAnything: whichever of a tenant's policies have
// reached the host, and whichever pods have the label, no pod may connect to
// anything out of the operator's bounds.
func TestLaw5NoOrderOfWritesOpensAnything(t *testing.T) {
	s := newScene(t, false, &rewrite.PolicyBounds{Egress: []networkingv1.NetworkPolicyEgressRule{
		{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24", Except: []string{"192.0.2.128/25"}}}}},
	}})
	less := 0
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 11))
		onHost := s.operators()
		for i := range r.IntN(4) { // also none
			onHost = append(onHost, s.translator.NetworkPolicyToHost(randomPolicy(r, fmt.Sprintf("p%d", i)), s.network, rewrite.Inputs{Namespaces: policyNamespaces}))
		}
		for i, e := range s.host {
			if !s.virtual[i].pod {
				continue
			}
			from := *e
			from.labels = maps.Clone(e.labels)
			if r.IntN(2) == 0 {
				from.labels[rewrite.LabelEgressPolicy] = "true"
			}
			for _, to := range s.host {
				for _, at := range policyPorts {
					within := s.within(t, &from, to, at)
					got := through(t, onHost, &from, to, networkingv1.PolicyTypeEgress, to, at)
					if got && !within {
						t.Fatalf("seed %d: %s, labelled %v, may connect to %s %v\n%s", seed, from.name, from.labels, to.name, at, dump(nil, onHost))
					}
					if within && !got {
						less++
					}
				}
			}
		}
	}
	if less == 0 {
		t.Error("no policy prohibited anything: that proves little")
	}
}

// compare compares all connections under some policies, and counts them.
func (s *scene) compare(t *testing.T, seed uint64, policies []*networkingv1.NetworkPolicy) (yes, no int) {
	t.Helper()
	var onHost []*networkingv1.NetworkPolicy
	for _, p := range policies {
		h := s.translator.NetworkPolicyToHost(p, s.network, rewrite.Inputs{Namespaces: policyNamespaces})
		onHost = append(onHost, h)
	}
	pods := s.marked(t, onHost)
	onHost = append(onHost, s.operators()...)
	check := func(from, to *endpoint, at port, want bool, hostFrom, hostTo *endpoint, hostAt port) {
		t.Helper()
		if got := allowed(t, onHost, hostFrom, hostTo, hostAt); got != want {
			t.Fatalf("seed %d: from %s to %s %v is %v on the host, want %v\n%s", seed, from.name, to.name, at, got, want, dump(policies, onHost))
		}
		if want {
			yes++
		} else {
			no++
		}
	}
	for i, from := range s.virtual {
		for j, to := range s.virtual {
			if !from.pod && !to.pod {
				continue
			}
			for _, at := range policyPorts {
				want := allowed(t, policies, from, to, at) && s.within(t, from, pods[j], at)
				check(from, to, at, want, pods[i], pods[j], at)
			}
		}
		if !from.pod {
			continue
		}
		for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
			at := port{protocol, 53}
			want := through(t, policies, from, s.dns, networkingv1.PolicyTypeEgress, s.dns, at)
			if listens := (port{protocol, 1053}); s.door.address.IsValid() {
				// A pod that may connect to an address may do so to all that
				// listens there.
				want = want || allowed(t, policies, from, s.address, listens) && s.within(t, from, s.door, listens)
			}
			check(from, s.dns, at, want, pods[i], s.door, port{protocol, 1053})
		}
		want := allowed(t, policies, from, s.service, port{corev1.ProtocolTCP, 443}) || allowed(t, policies, from, s.address, port{corev1.ProtocolTCP, 8443})
		check(from, s.service, port{corev1.ProtocolTCP, 443}, want, pods[i], s.door, port{corev1.ProtocolTCP, 8443})
	}
	return yes, no
}

// marked are the endpoints of the host, with the label on the pods that a policy
// selects for egress.
func (s *scene) marked(t *testing.T, onHost []*networkingv1.NetworkPolicy) []*endpoint {
	var out []*endpoint
	for i, e := range s.host {
		if s.virtual[i].pod && slices.ContainsFunc(onHost, func(p *networkingv1.NetworkPolicy) bool {
			return slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) && selects(t, &p.Spec.PodSelector, e.labels)
		}) {
			with := *e
			with.labels = maps.Clone(e.labels)
			with.labels[rewrite.LabelEgressPolicy] = "true"
			e = &with
		}
		out = append(out, e)
	}
	return out
}

// operators are the policies of the operator, as the chart makes them.
func (s *scene) operators() []*networkingv1.NetworkPolicy {
	if s.network.Bounds == nil {
		return nil
	}
	cluster := map[string]string{"portico.dev/cluster": "my-vcluster"}
	own := func(name string, op metav1.LabelSelectorOperator, rules []networkingv1.NetworkPolicyEgressRule) *networkingv1.NetworkPolicy {
		p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name}}
		p.Spec.PodSelector = metav1.LabelSelector{MatchLabels: cluster, MatchExpressions: []metav1.LabelSelectorRequirement{{Key: rewrite.LabelEgressPolicy, Operator: op}}}
		p.Spec.PolicyTypes, p.Spec.Egress = []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}, rules
		return p
	}
	door := networkingv1.NetworkPolicyEgressRule{Ports: []networkingv1.NetworkPolicyPort{tcp(8443), tcp(1053), {Protocol: ptr(corev1.ProtocolUDP), Port: ptr(intstr.FromInt32(1053))}}}
	if sel := s.network.Door.Selector; sel != nil {
		door.To = []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: sel}}}
	} else {
		door.To = []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: s.door.address.String() + "/32"}}}
	}
	pods := networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: cluster}}}}
	return []*networkingv1.NetworkPolicy{
		own("workloads", metav1.LabelSelectorOpDoesNotExist, append([]networkingv1.NetworkPolicyEgressRule{door, pods}, s.network.Bounds.Egress...)),
		own("egress-policies", metav1.LabelSelectorOpExists, nil),
	}
}

// within reports whether the operator lets a pod connect to an endpoint of the host.
func (s *scene) within(t *testing.T, from, to *endpoint, at port) bool {
	if s.network.Bounds == nil || !from.pod || to.labels["portico.dev/cluster"] == "my-vcluster" {
		return true
	}
	return slices.ContainsFunc(s.network.Bounds.Egress, func(r networkingv1.NetworkPolicyEgressRule) bool {
		return isPeer(t, "team-a", r.To, to) && isPort(r.Ports, to, at)
	})
}

func tcp(n int32) networkingv1.NetworkPolicyPort {
	return networkingv1.NetworkPolicyPort{Port: ptr(intstr.FromInt32(n))}
}

func ranged(first, last int32) networkingv1.NetworkPolicyPort {
	p := tcp(first)
	p.EndPort = &last
	return p
}

func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func randomPolicy(r *rand.Rand, name string) *networkingv1.NetworkPolicy {
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: one(r, "a", "b", "kube-system"), Name: name}}
	p.Spec.PodSelector = *randomSelector(r, podSelectors)
	p.Spec.PolicyTypes = one(r,
		[]networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		[]networkingv1.PolicyType{networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress})
	for range r.IntN(3) {
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: randomPeers(r), Ports: randomPorts(r)})
	}
	for range r.IntN(3) {
		p.Spec.Egress = append(p.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: randomPeers(r), Ports: randomPorts(r)})
	}
	return p
}

var podSelectors = []metav1.LabelSelector{
	{}, {MatchLabels: map[string]string{"app": "web"}}, {MatchLabels: map[string]string{moved: "x"}}, {MatchLabels: map[string]string{"k8s-app": "kube-dns"}},
	{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"db"}}}},
	{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpDoesNotExist}}},
	{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "portico.dev/cluster", Operator: metav1.LabelSelectorOpExists}}},
	{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpExists}, {Key: "app", Operator: metav1.LabelSelectorOpDoesNotExist}}},
}

var namespaceSelectors = []metav1.LabelSelector{
	{}, {MatchLabels: map[string]string{"team": "red"}}, {MatchLabels: map[string]string{"kubernetes.io/metadata.name": "kube-system"}},
	{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"red"}}}},
	{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: metav1.LabelSelectorOpExists}}},
	{MatchLabels: map[string]string{"team": "none"}},
}

func randomSelector(r *rand.Rand, of []metav1.LabelSelector) *metav1.LabelSelector {
	s := one(r, of...)
	return s.DeepCopy()
}

func randomPeers(r *rand.Rand) []networkingv1.NetworkPolicyPeer {
	var out []networkingv1.NetworkPolicyPeer
	for range r.IntN(3) {
		out = append(out, one(r,
			networkingv1.NetworkPolicyPeer{PodSelector: randomSelector(r, podSelectors)},
			networkingv1.NetworkPolicyPeer{NamespaceSelector: randomSelector(r, namespaceSelectors)},
			networkingv1.NetworkPolicyPeer{PodSelector: randomSelector(r, podSelectors), NamespaceSelector: randomSelector(r, namespaceSelectors)},
			networkingv1.NetworkPolicyPeer{IPBlock: one(r,
				&networkingv1.IPBlock{CIDR: "0.0.0.0/0"}, &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/8"}},
				&networkingv1.IPBlock{CIDR: "192.0.2.0/24", Except: []string{"192.0.2.1/32"}}, &networkingv1.IPBlock{CIDR: "10.96.7.10/32"},
				&networkingv1.IPBlock{CIDR: "10.9.9.9/32"}, &networkingv1.IPBlock{CIDR: "2001:db8::/32"}, &networkingv1.IPBlock{CIDR: "10.200.0.0/15"},
			)},
		))
	}
	return out
}

func randomPorts(r *rand.Rand) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for range r.IntN(3) {
		p := one(r, tcp(53), tcp(80), tcp(443), tcp(8443), ranged(9000, 9100), ranged(50, 100), ranged(1, 1000),
			networkingv1.NetworkPolicyPort{}, networkingv1.NetworkPolicyPort{Port: ptr(intstr.FromString("http"))},
			networkingv1.NetworkPolicyPort{Port: ptr(intstr.FromString("dns"))}, networkingv1.NetworkPolicyPort{Port: ptr(intstr.FromString("dns-tcp"))})
		if r.IntN(3) == 0 {
			p.Protocol = ptr(corev1.ProtocolUDP)
		}
		out = append(out, p)
	}
	return out
}

func dump(virtual, host []*networkingv1.NetworkPolicy) string {
	out, err := yaml.Marshal(map[string]any{"virtual": virtual, "host": host})
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func orElse[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
