// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/rewrite"
)

// policyNetwork is a host with porticod in pods, and the operator's limits if
// bounded.
func policyNetwork(bounded bool) rewrite.Network {
	n := rewrite.Network{Door: rewrite.Door{
		Selector: map[string]string{"portico.dev/door": "my-vcluster"}, Addresses: []netip.Addr{netip.MustParseAddr("10.9.9.9")}, APIPort: 8443, DNSPort: 1053,
	}}
	if bounded {
		n.Bounds = &rewrite.PolicyBounds{Egress: []networkingv1.NetworkPolicyEgressRule{
			{Ports: []networkingv1.NetworkPolicyPort{tcp(53)}},
			{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/8", "192.168.0.0/16"}}}}},
		}}
	}
	return n
}

// TestPolicyGolden translates testdata/policies/<case>.in.yaml, and compares with
// <case>.host.yaml, and with <case>.bounded.yaml where the operator has limits.
func TestPolicyGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/policies/*.in.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	tr := mustNew(t, testCluster())
	for _, in := range cases {
		raw, err := os.ReadFile(in)
		if err != nil {
			t.Fatal(err)
		}
		v := &networkingv1.NetworkPolicy{}
		if err := yaml.UnmarshalStrict(raw, v); err != nil {
			t.Fatal(err)
		}
		before := v.DeepCopy()
		for suffix, bounded := range map[string]bool{".host.yaml": false, ".bounded.yaml": true} {
			golden := strings.TrimSuffix(in, ".in.yaml") + suffix
			got := render(t, tr.NetworkPolicyToHost(v, policyNetwork(bounded), rewrite.Inputs{Namespaces: policyNamespaces}))
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("%s (-want +got):\n%s", golden, d)
			}
		}
		if d := diff(before, v); d != "" {
			t.Errorf("the argument has changed:\n%s", d)
		}
	}
}

// egressPolicy is a policy about egress only, for all pods of a namespace, with
// the given rules.
func egressPolicy(rules ...networkingv1.NetworkPolicyEgressRule) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "p"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}, Egress: rules},
	}
}

// A tenant writes a policy that allows its pods to connect to everything, which
// would add up with the operator's: with no peer, with all addresses, with
// addresses that the operator excludes, as IPv4 in IPv6 too, and with ports that
// the operator allows of everybody. None of it allows an address that the operator does not.
func TestAttackPolicyAllowsMoreThanTheOperator(t *testing.T) {
	block := func(cidr string, except ...string) networkingv1.NetworkPolicyEgressRule {
		return networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: cidr, Except: except}}}}
	}
	many := block("0.0.0.0/1")
	many.To = append(many.To, block("128.0.0.0/1").To...)
	privateWeb := block("10.0.0.0/8")
	privateWeb.Ports = []networkingv1.NetworkPolicyPort{tcp(80), ranged(1, 65535)}
	tr := mustNew(t, testCluster())
	for name, rule := range map[string]networkingv1.NetworkPolicyEgressRule{
		"everything": {}, "all addresses": block("0.0.0.0/0"), "all of IPv6": block("::/0"), "what is excluded": block("10.0.0.0/8"),
		"one address": block("10.1.2.3/32"), "the rest of a block": block("8.0.0.0/6", "8.0.0.0/8"), "two halves": many,
		"IPv4 in IPv6": block("::ffff:10.0.0.0/104"), "all IPv4 in IPv6": block("::ffff:0:0/96"), "bits after the prefix": block("10.1.2.3/8"),
		"an exception that is none": block("0.0.0.0/0", "nowhere"), "ports of a private network": privateWeb,
	} {
		h := tr.NetworkPolicyToHost(egressPolicy(rule), policyNetwork(true), rewrite.Inputs{})
		for _, address := range []string{"10.1.2.3", "10.0.0.1", "192.168.1.1", "2001:db8::1", "::ffff:10.1.2.3"} {
			to := &endpoint{name: address, address: netip.MustParseAddr(address)}
			for _, r := range h.Spec.Egress {
				if isPeer(t, "team-a", r.To, to) && isPort(r.Ports, to, port{"TCP", 80}) {
					t.Errorf("%s: %s can be reached: %+v", name, address, r)
				}
			}
		}
	}
}

// Where the operator allows IPv6, a tenant writes IPv4 addresses that the operator
// excludes as IPv6 ones, which a network may take for the same. Such a block
// allows nothing.
func TestAttackPolicyWritesAddressesOtherwise(t *testing.T) {
	n := policyNetwork(true)
	n.Bounds.Egress = []networkingv1.NetworkPolicyEgressRule{
		{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "::/0", Except: []string{"fc00::/7"}}}}},
	}
	tr := mustNew(t, testCluster())
	for cidr, want := range map[string]int{"::ffff:10.0.0.0/104": 0, "::ffff:0:0/96": 0, "10.0.0.0/8": 0, "2001:db8::/32": 1} {
		rule := networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: cidr}}}, Ports: []networkingv1.NetworkPolicyPort{tcp(80)}}
		if h := tr.NetworkPolicyToHost(egressPolicy(rule), n, rewrite.Inputs{}); len(h.Spec.Egress) != want {
			t.Errorf("%s: %d rules, want %d: %+v", cidr, len(h.Spec.Egress), want, h.Spec.Egress)
		}
	}
}

// A tenant labels a pod as Portico labels those that have left the operator's
// policy, and takes the label off a pod that has it. Neither reaches the host's
// label, in a new pod or in one that is there, and the host's is not shown.
func TestAttackPodTakesItselfOutOfTheOperatorsPolicy(t *testing.T) {
	tr := mustNew(t, testCluster())
	labelled := pod("demo", "p", map[string]string{rewrite.LabelEgressPolicy: "true"})
	h := podToHost(t, labelled, testInputs())
	if _, ok := h.Labels[rewrite.LabelEgressPolicy]; ok {
		t.Errorf("labels of a new pod: %v", h.Labels)
	}
	h.Labels[rewrite.LabelEgressPolicy] = "true" // by sync/policies
	seen := toVirtual(t, tr, h).(*corev1.Pod)
	if d := diff(labelled.Labels, seen.Labels); d != "" {
		t.Errorf("labels inside (-want +got):\n%s", d)
	}
	in := testInputs()
	for what, labels := range map[string]map[string]string{"none": nil, "another value": {rewrite.LabelEgressPolicy: "false"}} {
		next := seen.DeepCopy()
		next.Labels = labels
		in.Host = h
		if got := podToHost(t, next, in).Labels[rewrite.LabelEgressPolicy]; got != "true" {
			t.Errorf("%s: the host's label is %q", what, got)
		}
	}
}

// A tenant's policies select and let in pods of other namespaces of the host, of
// other clusters, and porticod, by every kind of peer, by labels of Portico's and
// by selectors that find nothing. On the host no selector reaches out of the
// cluster, and none that finds nothing becomes one that finds everything.
func TestAttackPolicySelectsPodsOfOthers(t *testing.T) {
	tr := mustNew(t, testCluster())
	nothing := metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "a", Operator: metav1.LabelSelectorOpExists}, {Key: "a", Operator: metav1.LabelSelectorOpDoesNotExist},
	}}
	reserved := metav1.LabelSelector{MatchLabels: map[string]string{"portico.dev/cluster": "other", "portico.dev/door": "my-vcluster"}}
	var peers []networkingv1.NetworkPolicyPeer
	for _, pods := range []*metav1.LabelSelector{nil, {}, &nothing, &reserved} {
		for _, namespaces := range []*metav1.LabelSelector{nil, {}, &nothing, &reserved} {
			if pods != nil || namespaces != nil {
				peers = append(peers, networkingv1.NetworkPolicyPeer{PodSelector: pods, NamespaceSelector: namespaces})
			}
		}
	}
	others := []*endpoint{
		{name: "another cluster", pod: true, namespace: "team-a", labels: map[string]string{"portico.dev/cluster": "other", "portico.dev/namespace": "demo"}},
		{name: "porticod", pod: true, namespace: "team-a", labels: map[string]string{"portico.dev/door": "my-vcluster"}},
		{name: "a pod of the host", pod: true, namespace: "infra"},
	}
	own := &endpoint{name: "own", pod: true, namespace: "team-a", labels: map[string]string{"portico.dev/cluster": "my-vcluster", "portico.dev/namespace": "demo"}}
	for _, bounded := range []bool{false, true} {
		for _, peer := range peers {
			v := egressPolicy(networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{peer}})
			v.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{peer}}}
			if peer.PodSelector != nil {
				v.Spec.PodSelector = *peer.PodSelector
			}
			n := policyNetwork(bounded)
			n.Door.DNSPort = 0 // which a rule may well lead to
			h := tr.NetworkPolicyToHost(v, n, rewrite.Inputs{})
			for _, other := range others {
				out := slices.ContainsFunc(h.Spec.Egress, func(r networkingv1.NetworkPolicyEgressRule) bool { return isPeer(t, "team-a", r.To, other) })
				if out || isPeer(t, "team-a", h.Spec.Ingress[0].From, other) || other.namespace == "team-a" && selects(t, &h.Spec.PodSelector, other.labels) {
					t.Errorf("%+v: reaches %s", peer, other.name)
				}
			}
			empty := peer.PodSelector == &nothing || peer.NamespaceSelector == &nothing
			if empty && isPeer(t, "team-a", h.Spec.Ingress[0].From, own) {
				t.Errorf("%+v: a selector of nothing finds a pod", peer)
			}
		}
	}
}
