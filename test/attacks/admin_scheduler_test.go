// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/test/embedded"
)

const schedulerInside = "sync: {nodes: {syncAllNodes: true, enableScheduler: true}}\n"

// withScheduler is a virtual cluster with a scheduler inside, and the first of its
// nodes, on which a pod of another user takes 20 of 32 CPUs.
func withScheduler(t *testing.T) (c *embedded.Cluster, node string) {
	t.Helper()
	c = embedded.NewClusterWith(t, embedded.SharedHost(t), schedulerInside)
	c.CreateNamespace("a")
	nodes, err := c.Host.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node = nodes.Items[0].Name
	others, err := c.Host.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "others-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Host.CoreV1().Namespaces().Delete(context.Background(), others.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	foreign := sized("foreign", "20")
	foreign.Spec.NodeName = node
	embedded.Eventually(t, "pod of another user", func(ctx context.Context) (bool, string) {
		_, err := c.Host.CoreV1().Pods(others.Name).Create(ctx, foreign, metav1.CreateOptions{})
		return err == nil, fmt.Sprint(err)
	})
	embedded.Eventually(t, "node without the room of the other's pod", func(ctx context.Context) (bool, string) {
		n, err := c.Virtual.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		return err == nil && n.Status.Allocatable.Cpu().Cmp(resource.MustParse("12")) <= 0, fmt.Sprint(n.Status.Allocatable, err)
	})
	t.Cleanup(func() {
		if _, err := c.Host.CoreV1().Pods(others.Name).Get(context.Background(), "foreign", metav1.GetOptions{}); err != nil {
			t.Errorf("the pod of the other user: %v", err)
		}
	})
	return c, node
}

// sized is a pod of so many CPUs.
func sized(name, cpus string) *corev1.Pod {
	p := embedded.Pod(name, nil)
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpus)}
	return p
}

func bind(ctx context.Context, c *embedded.Cluster, pod, node string) error {
	return c.Virtual.CoreV1().Pods("a").Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod}, Target: corev1.ObjectReference{Kind: "Node", Name: node},
	}, metav1.CreateOptions{})
}

// A tenant takes room that pods of others have, by a larger node in their own view
// (403) and by a binding of their own (409). The room is the host's to count.
func TestAttackTenantTakesTheRoomOfOthers(t *testing.T) {
	c, node := withScheduler(t)
	p := sized("large", "16")
	p.Spec.SchedulerName = "by-hand"
	c.CreatePod("a", p)
	larger := []byte(`{"status":{"capacity":{"cpu":"1000"},"allocatable":{"cpu":"1000"}}}`)
	if _, err := c.Virtual.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType, larger, metav1.PatchOptions{}, "status"); !apierrors.IsForbidden(err) {
		t.Errorf("a larger node: %v, want a refusal", err)
	}
	err := bind(t.Context(), c, "large", node)
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "not enough room: cpu") || strings.Contains(err.Error(), "foreign") {
		t.Errorf("binding: %v, want a conflict that names nothing of others", err)
	}
	if got := c.HostPod("a", "large").Spec.NodeName; got != "" {
		t.Errorf("the host pod is on %s", got)
	}
}

// A tenant's pod of the highest class that they can make, and one that says it is
// critical to the system, preempt a pod of another user of the host. The scheduler
// inside knows only its own cluster's pods, so they wait.
func TestAttackTenantPreemptsOthers(t *testing.T) {
	c, node := withScheduler(t)
	if _, err := c.Virtual.SchedulingV1().PriorityClasses().Create(t.Context(), &schedulingv1.PriorityClass{
		ObjectMeta: metav1.ObjectMeta{Name: "highest"}, Value: 1_000_000_000,
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, class := range []string{"highest", "system-node-critical"} {
		p := sized(class, "16")
		p.Spec.PriorityClassName, p.Spec.NodeSelector = class, map[string]string{corev1.LabelHostname: node}
		embedded.Eventually(t, "pod of the class "+class, func(ctx context.Context) (bool, string) {
			_, err := c.Virtual.CoreV1().Pods("a").Create(ctx, p, metav1.CreateOptions{})
			return err == nil, fmt.Sprint(err) // the admission's informer sees the class a moment later
		})
		embedded.Eventually(t, "the pod waits", func(ctx context.Context) (bool, string) {
			p, err := c.Virtual.CoreV1().Pods("a").Get(ctx, class, metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			cond := condition(&p.Status, corev1.PodScheduled)
			return cond != nil && cond.Reason == corev1.PodReasonUnschedulable && p.Status.NominatedNodeName == "", fmt.Sprintf("%+v", p.Status)
		})
		if p := c.HostPod("a", class); *p.Spec.Priority != 0 || p.Spec.NodeName != "" {
			t.Errorf("host pod has priority %d and is on %q", *p.Spec.Priority, p.Spec.NodeName)
		}
	}
}

// A tenant with a scheduler of their own reserves room on the host, and makes its
// scheduler wait, by what schedulers write to a status. Both show inside, where
// that scheduler needs them, and do not reach the host.
func TestAttackTenantWritesAsAScheduler(t *testing.T) {
	c, node := withScheduler(t)
	p := sized("p", "1")
	p.Spec.SchedulerName = "by-hand"
	created := c.CreatePod("a", p)
	created.Status.NominatedNodeName = node
	created.Status.Conditions = append(created.Status.Conditions, corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonPreemptionByScheduler,
		LastTransitionTime: metav1.Now(), // an old one is reset by the disruption controller
	})
	got, err := c.Virtual.CoreV1().Pods("a").UpdateStatus(t.Context(), created, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Status.NominatedNodeName != node || condition(&got.Status, corev1.DisruptionTarget) == nil {
		t.Errorf("status inside: %+v, want it as written", got.Status)
	}
	if s := c.HostPod("a", "p").Status; s.NominatedNodeName != "" || condition(&s, corev1.DisruptionTarget) != nil {
		t.Errorf("status on the host: %+v", s)
	}
}
