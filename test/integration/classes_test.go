// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"portico.dev/portico/test/embedded"
)

// TestHostClasses: a pod takes a class of the host's with it, with the values
// of the host's own admission; any other class stays inside.
func TestHostClasses(t *testing.T) {
	h, ctx := embedded.SharedHost(t), t.Context()
	never := corev1.PreemptNever
	unique := "-" + rand.String(6) // the host is shared, and so are names without a namespace
	gold, hidden, sandbox := "gold"+unique, "hidden"+unique, "sandbox"+unique
	forTenants := map[string]string{"classes-test": unique[1:]}
	for _, class := range []*schedulingv1.PriorityClass{
		{ObjectMeta: metav1.ObjectMeta{Name: gold, Labels: forTenants}, Value: 1000, PreemptionPolicy: &never},
		{ObjectMeta: metav1.ObjectMeta{Name: hidden}, Value: 900_000_000},
	} {
		if _, err := h.Client.SchedulingV1().PriorityClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := h.Client.SchedulingV1().PriorityClasses().Delete(context.WithoutCancel(ctx), class.Name, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := h.Client.NodeV1().RuntimeClasses().Create(ctx, &nodev1.RuntimeClass{
		ObjectMeta: metav1.ObjectMeta{Name: sandbox, Labels: forTenants}, Handler: "sandbox",
		Overhead:   &nodev1.Overhead{PodFixed: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}},
		Scheduling: &nodev1.Scheduling{Tolerations: []corev1.Toleration{{Key: "sandbox", Operator: corev1.TolerationOpExists}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Client.NodeV1().RuntimeClasses().Delete(context.WithoutCancel(ctx), sandbox, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	c := newClusterWith(t, h, fmt.Sprintf(`sync:
  fromHost:
    priorityClasses: {enabled: true, selector: {matchLabels: {classes-test: "%[1]s"}}}
    runtimeClasses: {enabled: true, selector: {matchLabels: {classes-test: "%[1]s"}}}
`, unique[1:]))
	embedded.Eventually(t, "classes of the host", func(ctx context.Context) (bool, string) {
		_, err := c.Virtual.SchedulingV1().PriorityClasses().Get(ctx, gold, metav1.GetOptions{})
		if err == nil {
			_, err = c.Virtual.NodeV1().RuntimeClasses().Get(ctx, sandbox, metav1.GetOptions{})
		}
		return err == nil, fmt.Sprint(err)
	})

	virtual, host := c.classedPod("gold", corev1.PodSpec{PriorityClassName: gold, RuntimeClassName: &sandbox})
	for side, pod := range map[string]*corev1.Pod{"virtual": virtual, "host": host} {
		s := pod.Spec
		if s.PriorityClassName != gold || *s.Priority != 1000 || *s.PreemptionPolicy != never {
			t.Errorf("%s pod has class %q, priority %d, policy %s", side, s.PriorityClassName, *s.Priority, *s.PreemptionPolicy)
		}
		if s.RuntimeClassName == nil || *s.RuntimeClassName != sandbox || s.Overhead.Cpu().String() != "10m" ||
			!slices.ContainsFunc(s.Tolerations, func(t corev1.Toleration) bool { return t.Key == "sandbox" }) {
			t.Errorf("%s pod has runtime class %v, overhead %v, tolerations %v", side, s.RuntimeClassName, s.Overhead, s.Tolerations)
		}
	}

	// A name that is not shown is no name.
	refused := embedded.Pod("hidden", nil)
	refused.Spec.PriorityClassName = hidden
	if _, err := c.Virtual.CoreV1().Pods("default").Create(ctx, refused, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a class that is not shown: %v, want Forbidden", err)
	}
	c.attackHostClasses(hidden, "own"+unique)
}

// attackHostClasses: neither a class of the system nor one that the tenant
// makes under a name of the host's has any effect there.
func (c *cluster) attackHostClasses(names ...string) {
	c.T.Helper()
	for _, class := range names {
		if _, err := c.Virtual.SchedulingV1().PriorityClasses().Create(c.T.Context(), &schedulingv1.PriorityClass{
			ObjectMeta: metav1.ObjectMeta{Name: class}, Value: 1_000_000_000,
		}, metav1.CreateOptions{}); err != nil {
			c.T.Fatal(err)
		}
	}
	for _, class := range append(names, "system-node-critical") {
		virtual, host := c.classedPod(class, corev1.PodSpec{PriorityClassName: class})
		if virtual.Spec.PriorityClassName != class || *virtual.Spec.Priority < 1_000_000_000 {
			c.T.Errorf("tenant sees class %q, priority %d, want %q", virtual.Spec.PriorityClassName, *virtual.Spec.Priority, class)
		}
		if host.Spec.PriorityClassName != "" || *host.Spec.Priority != 0 {
			c.T.Errorf("class %s: host pod has class %q, priority %d", class, host.Spec.PriorityClassName, *host.Spec.Priority)
		}
	}
}

// classedPod makes a pod and returns both sides of it. The Priority admission
// plugin looks only into its informer, so a pod can be refused for a moment
// after its class was made, here as in any cluster (plugin/pkg/admission/priority).
func (c *cluster) classedPod(name string, spec corev1.PodSpec) (virtual, host *corev1.Pod) {
	c.T.Helper()
	spec.Containers = []corev1.Container{{Name: "app", Image: "nginx"}}
	embedded.Eventually(c.T, "pod "+name, func(ctx context.Context) (bool, string) {
		var err error
		virtual, err = c.Virtual.CoreV1().Pods("default").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
		behind := apierrors.IsForbidden(err) && strings.Contains(err.Error(), "no PriorityClass with name")
		if err != nil && !behind {
			c.T.Fatalf("create pod %s: %v", name, err)
		}
		return err == nil, fmt.Sprint(err)
	})
	var err error
	if host, err = c.Host.CoreV1().Pods(c.Namespace).Get(c.T.Context(), c.HostName("default", name), metav1.GetOptions{}); err != nil {
		c.T.Fatalf("host pod of %s: %v", name, err)
	}
	return virtual, host
}
