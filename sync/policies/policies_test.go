// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package policies_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/policies"
)

type fixture struct {
	*harness.Harness
	controller *policies.Controller
	pods       *metadatafake.FakeMetadataClient
	network    rewrite.Network
	events     *record.FakeRecorder
}

// start runs a controller; bounded is with limits of the operator.
func start(t *testing.T, bounded bool, most int, virtual []runtime.Object, hostPods ...runtime.Object) *fixture {
	t.Helper()
	h := prepare(t, bounded, most, virtual, hostPods...)
	h.Run(h.controller.Run)
	return h
}

// prepare returns a fixture that does not run yet: a fake client takes no
// reactors while it is used.
func prepare(t *testing.T, bounded bool, most int, virtual []runtime.Object, hostPods ...runtime.Object) *fixture {
	t.Helper()
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	virtual = append(virtual, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", Labels: map[string]string{"kubernetes.io/metadata.name": "kube-system"}}})
	h := &fixture{
		Harness: harness.New(t, virtual, nil), pods: metadatafake.NewSimpleMetadataClient(scheme, hostPods...), events: record.NewFakeRecorder(100),
		network: rewrite.Network{Door: rewrite.Door{Selector: map[string]string{"portico.dev/door": "vc"}, APIPort: 8443, DNSPort: 1053}},
	}
	if bounded {
		h.network.Bounds = &rewrite.PolicyBounds{}
	}
	c, err := policies.New(policies.Config{
		Translator: h.Translator, Informers: h.Informers, Host: h.Host, Pods: h.pods, Network: func() rewrite.Network { return h.network },
		Events: h.events, Most: most, Clock: h.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.controller = c
	return h
}

func policy(name string, selector map[string]string, types ...networkingv1.PolicyType) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"a": "b"}},
		Spec:       networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: selector}, PolicyTypes: types},
	}
}

func (h *fixture) create(p *networkingv1.NetworkPolicy) {
	h.T.Helper()
	if _, err := h.Virtual.NetworkingV1().NetworkPolicies(p.Namespace).Create(h.T.Context(), p, metav1.CreateOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

func (h *fixture) delete(name string) {
	h.T.Helper()
	if err := h.Virtual.NetworkingV1().NetworkPolicies("shop").Delete(h.T.Context(), name, metav1.DeleteOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

// wait waits until the host policy of a virtual one is as it should be; nil: is not there.
func (h *fixture) wait(name string, is func(*networkingv1.NetworkPolicy) bool) {
	h.T.Helper()
	h.Eventually("host policy of "+name, func(ctx context.Context) (bool, any) {
		p, err := h.Host.NetworkingV1().NetworkPolicies(harness.HostNamespace).Get(ctx, h.Translator.Name("shop", name), metav1.GetOptions{})
		if err != nil {
			return is == nil && apierrors.IsNotFound(err), err
		}
		return is != nil && is(p), p.Spec
	})
}

func there(*networkingv1.NetworkPolicy) bool { return true }

func TestPolicyFollowsTheTenants(t *testing.T) {
	h := start(t, false, 0, nil)
	p := policy("p", map[string]string{"app": "web"}, networkingv1.PolicyTypeIngress)
	h.create(p)
	h.wait("p", func(host *networkingv1.NetworkPolicy) bool {
		return host.Labels["portico.dev/namespace"] == "shop" && host.Labels["app"] == "" && host.Annotations["a"] == ""
	})
	p.Spec.PodSelector = metav1.LabelSelector{}
	if _, err := h.Virtual.NetworkingV1().NetworkPolicies("shop").Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("p", func(host *networkingv1.NetworkPolicy) bool {
		return len(host.Spec.PodSelector.MatchLabels) == 0 && len(host.Spec.PodSelector.MatchExpressions) == 2
	})
	// Somebody on the host opens it, or takes it away.
	host := h.Host.NetworkingV1().NetworkPolicies(harness.HostNamespace)
	name := h.Translator.Name("shop", "p")
	opened, err := host.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	opened.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}}
	if _, err := host.Update(t.Context(), opened, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("p", func(host *networkingv1.NetworkPolicy) bool { return len(host.Spec.Ingress) == 0 })
	if err := host.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("p", there)
	h.delete("p")
	h.wait("p", nil)
}

func TestLeftoverOfAPolicyIsRemoved(t *testing.T) {
	h := harness.New(t, nil, nil)
	left := h.Translator.NetworkPolicyToHost(policy("gone", nil, networkingv1.PolicyTypeEgress), rewrite.Network{}, rewrite.Inputs{})
	foreign := left.DeepCopy()
	foreign.Name = "operators"
	for _, p := range []*networkingv1.NetworkPolicy{left, foreign} {
		if _, err := h.Host.NetworkingV1().NetworkPolicies(harness.HostNamespace).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	f := &fixture{Harness: h}
	c, err := policies.New(policies.Config{
		Translator: h.Translator, Informers: h.Informers, Host: h.Host, Network: func() rewrite.Network { return rewrite.Network{} }, Events: record.NewFakeRecorder(1), Clock: h.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Run(c.Run)
	f.wait("gone", nil)
	h.OnlyWrites("networkpolicies", left.Name, "operators")
	if _, err := h.Host.NetworkingV1().NetworkPolicies(harness.HostNamespace).Get(t.Context(), "operators", metav1.GetOptions{}); err != nil {
		t.Errorf("a policy that is not ours: %v", err)
	}
}

// The DNS seems to be in kube-system: rules that lead there follow its labels.
func TestRuleFollowsTheLabelsOfTheDNSsNamespace(t *testing.T) {
	h := start(t, false, 0, nil)
	p := policy("dns", nil, networkingv1.PolicyTypeEgress)
	p.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{
		To:    []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"system": "yes"}}}},
		Ports: []networkingv1.NetworkPolicyPort{{}},
	}}
	h.create(p)
	h.wait("dns", func(host *networkingv1.NetworkPolicy) bool { return len(host.Spec.Egress) == 1 })
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", Labels: map[string]string{"system": "yes"}}}
	if _, err := h.Virtual.CoreV1().Namespaces().Update(t.Context(), ns, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("dns", func(host *networkingv1.NetworkPolicy) bool {
		return len(host.Spec.Egress) == 2 && host.Spec.Egress[1].To[0].PodSelector.MatchLabels["portico.dev/door"] == "vc"
	})
}

func TestMorePoliciesThanThereIsRoomFor(t *testing.T) {
	h := start(t, false, 1, nil)
	h.create(policy("first", nil, networkingv1.PolicyTypeIngress))
	h.wait("first", there)
	h.create(policy("second", nil, networkingv1.PolicyTypeIngress))
	if e := <-h.events.Events; !strings.Contains(e, "NotEnforced") {
		t.Errorf("event %q", e)
	}
	h.delete("first")
	h.wait("first", nil)
	h.Clock.Step(2 * 60 * 1e9)
	h.wait("second", there)
}

func TestRefusedPolicyHasAnEvent(t *testing.T) {
	h := prepare(t, true, 0, []runtime.Object{virtualPod("web", map[string]string{"app": "web"})}, hostPod(t, "web", map[string]string{"app": "web"}))
	h.Host.PrependReactor("create", "networkpolicies", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(networkingv1.Resource("networkpolicies"), "secret-host-name", fmt.Errorf("exceeded quota"))
	})
	h.Run(h.controller.Run)
	h.create(policy("p", nil, networkingv1.PolicyTypeEgress))
	if e := <-h.events.Events; !strings.Contains(e, "NotEnforced") || strings.Contains(e, "secret") {
		t.Errorf("event %q", e)
	}
	h.Stop()
	if marked := h.marked(); len(marked) != 0 {
		t.Errorf("pods %v are left to a policy that the host has refused", marked)
	}
}

func virtualPod(name string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: labels}}
}

func hostPod(t *testing.T, name string, labels map[string]string) *metav1.PartialObjectMetadata {
	tr := harness.Translator(t)
	l := maps.Clone(labels)
	maps.Copy(l, tr.NamespaceSelector("shop"))
	return &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: harness.HostNamespace, Name: tr.Name("shop", name), Labels: l, Annotations: map[string]string{
			rewrite.AnnotationNamespace: "shop", rewrite.AnnotationName: name, rewrite.AnnotationKind: "Pod",
		}},
	}
}

// marked are the host pods with the label.
func (h *fixture) marked() []string {
	list, err := h.pods.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(harness.HostNamespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		h.T.Fatal(err)
	}
	var out []string
	for i := range list.Items {
		if _, ok := list.Items[i].Labels[rewrite.LabelEgressPolicy]; ok {
			out = append(out, list.Items[i].Annotations[rewrite.AnnotationName])
		}
	}
	slices.Sort(out)
	return out
}

func (h *fixture) marks(want ...string) {
	h.T.Helper()
	h.Eventually(fmt.Sprintf("marked pods: %v", want), func(context.Context) (bool, any) {
		got := h.marked()
		return slices.Equal(got, want), got
	})
}

// TestMarksFollowPoliciesAndLabels: a pod is marked exactly while a policy on the
// host selects it for connections that it opens.
func TestMarksFollowPoliciesAndLabels(t *testing.T) {
	web, db := map[string]string{"app": "web"}, map[string]string{"app": "db"}
	leftover := hostPod(t, "leftover", map[string]string{"app": "none", rewrite.LabelEgressPolicy: "true"})
	h := start(t, true, 0, []runtime.Object{virtualPod("web", web), virtualPod("db", db)}, hostPod(t, "web", web), hostPod(t, "db", db), leftover)
	h.marks()
	h.create(policy("in", nil, networkingv1.PolicyTypeIngress))
	h.wait("in", there)
	h.create(policy("out", web, networkingv1.PolicyTypeEgress))
	h.marks("web")

	// The pod changes on the host first, then inside.
	pods := h.pods.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(harness.HostNamespace)
	relabel := func(name string, labels map[string]string) {
		t.Helper()
		body := fmt.Appendf(nil, `{"metadata":{"labels":{"app":%q}}}`, labels["app"])
		if _, err := pods.Patch(t.Context(), h.Translator.Name("shop", name), "application/merge-patch+json", body, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Virtual.CoreV1().Pods("shop").Update(t.Context(), virtualPod(name, labels), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	relabel("db", web)
	h.marks("db", "web")
	relabel("web", db)
	h.marks("db")
	h.create(policy("all", nil, networkingv1.PolicyTypeEgress))
	h.marks("db", "leftover", "web")
	h.delete("all")
	h.marks("db")
	h.delete("out")
	h.marks()
}

// TestMarkGoesBeforeThePolicy: pods get the operator's policy back before the
// tenant's, without which they could do nothing, goes.
func TestMarkGoesBeforeThePolicy(t *testing.T) {
	web := map[string]string{"app": "web"}
	h := prepare(t, true, 0, []runtime.Object{virtualPod("web", web)}, hostPod(t, "web", web))
	var atDelete []string
	deleted := make(chan struct{})
	h.Host.PrependReactor("delete", "networkpolicies", func(clienttesting.Action) (bool, runtime.Object, error) {
		atDelete = h.marked()
		close(deleted)
		return false, nil, nil
	})
	h.Run(h.controller.Run)
	h.create(policy("out", web, networkingv1.PolicyTypeEgress))
	h.marks("web")
	h.delete("out")
	<-deleted
	if len(atDelete) != 0 {
		t.Errorf("pods %v were still left to the policy when it went", atDelete)
	}
	h.wait("out", nil)
	h.marks()
}
