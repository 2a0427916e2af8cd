// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"portico.dev/portico/test/embedded"
)

// TestHostHonoursTheTenantsBudget: an eviction on the host is refused as one
// inside is, also where only the controller inside can count, and for no pod of
// another namespace.
func TestHostHonoursTheTenantsBudget(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "sync: {toHost: {podDisruptionBudgets: {enabled: true}}}\n")
	ctx := t.Context()
	for _, namespace := range []string{"a", "b"} {
		c.CreateNamespace(namespace)
	}
	web := map[string]string{"app": "web"}
	other := c.CreatePod("b", embedded.Pod("other", web))
	_, err := c.Virtual.AppsV1().Deployments("a").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](3), Selector: &metav1.LabelSelector{MatchLabels: web},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: web}, Spec: embedded.Pod("", nil).Spec},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	budgets := c.Virtual.PolicyV1().PodDisruptionBudgets("a")
	if _, err := budgets.Create(ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{}, MaxUnavailable: ptr.To(intstr.FromString("34%"))},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	hostBudgets := c.Host.PolicyV1().PodDisruptionBudgets(c.Namespace)
	// 34% of 3 is rounded up to 2, as upstream does it.
	allows := func(least, allowed int32) {
		t.Helper()
		embedded.Eventually(t, fmt.Sprintf("at least %d pods, %d may go", least, allowed), func(ctx context.Context) (bool, string) {
			b, err := hostBudgets.Get(ctx, c.HostName("a", "web"), metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			s := &b.Status
			return b.Spec.MaxUnavailable == nil && b.Spec.MinAvailable != nil && b.Spec.MinAvailable.IntVal == least && s.ObservedGeneration == b.Generation &&
				s.DisruptionsAllowed == allowed && s.ExpectedPods == 3, fmt.Sprintf("%+v", b)
		})
	}
	allows(1, 2)
	for change, least := range map[string]int32{`{"spec":{"maxUnavailable":0}}`: 3, `{"spec":{"maxUnavailable":null,"minAvailable":"100%"}}`: 3} {
		if _, err := budgets.Patch(ctx, "web", types.MergePatchType, []byte(change), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		allows(least, 0)
		if _, err := budgets.Patch(ctx, "web", types.MergePatchType, []byte(`{"spec":{"minAvailable":null,"maxUnavailable":"34%"}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		allows(1, 2)
	}
	if _, err := budgets.Patch(ctx, "web", types.MergePatchType, []byte(`{"spec":{"maxUnavailable":0}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	allows(3, 0)
	pods, err := c.Virtual.CoreV1().Pods("a").List(ctx, metav1.ListOptions{})
	if err != nil || len(pods.Items) != 3 {
		t.Fatalf("%d pods, %v", len(pods.Items), err)
	}
	evict := func(host string) error {
		return c.Host.PolicyV1().Evictions(c.Namespace).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: host, Namespace: c.Namespace}})
	}
	if err := evict(c.HostName("a", pods.Items[0].Name)); !apierrors.IsTooManyRequests(err) {
		t.Errorf("evict on the host under the budget: %v, want 429", err)
	}
	if err := evict(c.HostName("b", other.Name)); err != nil {
		t.Errorf("evict a pod that the budget does not select: %v", err)
	}
	if err := budgets.Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "copy gone from the host", func(ctx context.Context) (bool, string) {
		_, err := hostBudgets.Get(ctx, c.HostName("a", "web"), metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
	if err := evict(c.HostName("a", pods.Items[0].Name)); err != nil {
		t.Errorf("evict without the budget: %v", err)
	}
}
