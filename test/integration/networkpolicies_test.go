// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/test/embedded"
)

// warned are the warnings of all answers to a client.
type warned struct{ texts []string }

func (w *warned) HandleWarningHeader(_ int, _, text string) { w.texts = append(w.texts, text) }

// warnedClient is the administrator's, with the warnings that it gets.
func warnedClient(t *testing.T, c *embedded.Cluster) (kubernetes.Interface, *warned) {
	t.Helper()
	w := &warned{}
	config := rest.CopyConfig(c.Config)
	config.WarningHandler = w
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client, w
}

// denied selects pods for connections that they open, which may go to pods of
// namespaces of team red, and to the DNS.
func denied(name string, selector map[string]string) *networkingv1.NetworkPolicy {
	port := intstr.FromInt32(53)
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: selector},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
			Egress: []networkingv1.NetworkPolicyEgressRule{
				{To: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "red"}}}}},
				{Ports: []networkingv1.NetworkPolicyPort{{Port: &port}}},
			},
		},
	}
}

// TestNetworkPoliciesReachTheHost with selectors that find the pods there, within
// the operator's limits, and go when they go inside.
func TestNetworkPoliciesReachTheHost(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "sync: {toHost: {networkPolicies: {enabled: true}}}\nisolation: {enabled: true}\n")
	client, warnings := warnedClient(t, c)
	ctx := t.Context()
	for _, namespace := range []string{"a", "b"} {
		c.CreateNamespace(namespace)
	}
	if _, err := client.CoreV1().Namespaces().Patch(ctx, "b", types.MergePatchType, []byte(`{"metadata":{"labels":{"team":"red"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.CreatePod("a", embedded.Pod("web", map[string]string{"app": "web"}))
	c.CreatePod("a", embedded.Pod("db", map[string]string{"app": "db"}))
	c.CreatePod("b", embedded.Pod("peer", nil))
	if _, err := client.NetworkingV1().NetworkPolicies("a").Create(ctx, denied("out", map[string]string{"app": "web"}), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(warnings.texts) != 0 {
		t.Errorf("warnings %q", warnings.texts)
	}
	hostPolicies := c.Host.NetworkingV1().NetworkPolicies(c.Namespace)
	var host *networkingv1.NetworkPolicy
	embedded.Eventually(t, "policy on the host", func(ctx context.Context) (bool, string) {
		var err error
		host, err = hostPolicies.Get(ctx, c.HostName("a", "out"), metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	found := func(selector *metav1.LabelSelector) (names []string) {
		t.Helper()
		pods, err := c.Host.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(selector)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range pods.Items {
			names = append(names, pods.Items[i].Name)
		}
		return names
	}
	if got := found(&host.Spec.PodSelector); !slices.Equal(got, []string{c.HostName("a", "web")}) {
		t.Errorf("the policy selects %v on the host", got)
	}
	embedded.Eventually(t, "the peer found by the label of its namespace", func(context.Context) (bool, string) {
		got := found(host.Spec.Egress[0].To[0].PodSelector)
		return slices.Equal(got, []string{c.HostName("b", "peer")}), fmt.Sprint(got)
	})
	// Port 53 of everybody: the cluster's pods, any address as the operator allows,
	// and porticod. The operator's block has no such peer that is everybody.
	for i, r := range host.Spec.Egress {
		if len(r.To) == 0 && (len(r.Ports) != 1 || r.Ports[0].Port.IntVal != 53) {
			t.Errorf("rule %d lets pods connect to everybody: %+v", i, r)
		}
	}
	label := labels.Set{rewrite.LabelEgressPolicy: "true"}
	embedded.Eventually(t, "the pod left to the policy", func(context.Context) (bool, string) {
		got := found(&metav1.LabelSelector{MatchLabels: label})
		return slices.Contains(got, c.HostName("a", "web")) && !slices.Contains(got, c.HostName("a", "db")), fmt.Sprint(got)
	})
	seen, err := client.CoreV1().Pods("a").Get(ctx, "web", metav1.GetOptions{})
	if err != nil || len(seen.Labels) != 1 {
		t.Errorf("labels inside: %v, %v", seen.Labels, err)
	}
	// Another write of the tenant's to the pod leaves the mark.
	if _, err := client.CoreV1().Pods("a").Patch(ctx, "web", types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if h := c.HostPod("a", "web"); h.Labels[rewrite.LabelEgressPolicy] != "true" {
		t.Errorf("labels on the host after a write: %v", h.Labels)
	}
	if err := client.NetworkingV1().NetworkPolicies("a").Delete(ctx, "out", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "policy gone from the host, and its mark", func(ctx context.Context) (bool, string) {
		_, err := hostPolicies.Get(ctx, c.HostName("a", "out"), metav1.GetOptions{})
		marked := slices.Contains(found(&metav1.LabelSelector{MatchLabels: label}), c.HostName("a", "web"))
		return apierrors.IsNotFound(err) && !marked, fmt.Sprint(err, marked)
	})
}

// TestNetworkPoliciesThatNobodyEnforcesHaveAWarning on each write of one, and on
// no other.
func TestNetworkPoliciesThatNobodyEnforcesHaveAWarning(t *testing.T) {
	c := embedded.NewCluster(t)
	client, warnings := warnedClient(t, c)
	c.CreateNamespace("a")
	policies := client.NetworkingV1().NetworkPolicies("a")
	if _, err := policies.Create(t.Context(), denied("out", nil), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := policies.Patch(t.Context(), "out", types.MergePatchType, []byte(`{"spec":{"egress":[]}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := policies.List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := policies.Delete(t.Context(), "out", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(warnings.texts) != 2 || !strings.Contains(warnings.texts[0], "not enforced") || !strings.Contains(warnings.texts[0], "sync.toHost.networkPolicies") {
		t.Errorf("warnings %q, want two", warnings.texts)
	}
	if l, err := c.Host.NetworkingV1().NetworkPolicies(c.Namespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(l.Items) != 0 {
		t.Errorf("host policies %v, %v", l.Items, err)
	}
}
