// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/test/embedded"
)

// TestPushedPriorityClasses: pods have the tenant's class on the host, with no
// more than the operator lets it be worth, and the tenant sees its own.
func TestPushedPriorityClasses(t *testing.T) {
	h, ctx := embedded.SharedHost(t), t.Context()
	c := newClusterWith(t, h, "sync: {toHost: {priorityClasses: {enabled: true, maxValue: 1000}}}\n")
	client, hosts := c.Virtual.SchedulingV1().PriorityClasses(), h.Client.SchedulingV1().PriorityClasses()
	never := corev1.PreemptNever
	for name, value := range map[string]int32{"low": 500, "high": 1_000_000_000} {
		if _, err := client.Create(ctx, &schedulingv1.PriorityClass{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value, PreemptionPolicy: &never,
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ours := metav1.ListOptions{LabelSelector: fmt.Sprintf("%s=%s", rewrite.LabelHostNamespace, c.Namespace)}
	for _, want := range []struct {
		name          string
		value, onHost int32
	}{{"low", 500, 500}, {"high", 1_000_000_000, 1000}} {
		virtual, host := c.classedPod(want.name, corev1.PodSpec{PriorityClassName: want.name})
		if s := virtual.Spec; s.PriorityClassName != want.name || *s.Priority != want.value || *s.PreemptionPolicy != never {
			t.Errorf("tenant sees class %q, priority %d, policy %s", s.PriorityClassName, *s.Priority, *s.PreemptionPolicy)
		}
		class, err := hosts.Get(ctx, host.Spec.PriorityClassName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if class.Annotations[rewrite.AnnotationName] != want.name || class.Value != want.onHost || *host.Spec.Priority != want.onHost {
			t.Errorf("host class %q: value %d, priority of the pod %d, want %d", class.Name, class.Value, *host.Spec.Priority, want.onHost)
		}
	}
	if _, host := c.classedPod("critical", corev1.PodSpec{PriorityClassName: "system-node-critical"}); host.Spec.PriorityClassName != "" || *host.Spec.Priority != 0 {
		t.Errorf("host pod has class %q, priority %d", host.Spec.PriorityClassName, *host.Spec.Priority)
	}

	// Copies have no owner: they go with the tenant's.
	for _, name := range []string{"low", "high"} {
		if err := client.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}
	embedded.Eventually(t, "copies gone from the host", func(ctx context.Context) (bool, string) {
		list, err := hosts.List(ctx, ours)
		if err != nil {
			return false, err.Error()
		}
		return len(list.Items) == 0, fmt.Sprintf("%d left", len(list.Items))
	})
}
