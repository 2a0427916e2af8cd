// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"io"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubectl/pkg/drain"

	"portico.dev/portico/test/embedded"
)

// The host's administrator drains a node, with kubectl's own code and without
// --force: no tenant pod is refused, whoever made it, and those of a Deployment are
// made again elsewhere. kubectl takes a pod without a controller for one that nobody
// would make again.
func TestHostDrainsANodeWithoutForce(t *testing.T) {
	h := embedded.PrivateHost(t) // The node is out of service for all.
	c := newClusterOn(t, h)
	ctx := t.Context()
	c.CreateNamespace("a")
	if _, err := c.Virtual.AppsV1().Deployments("a").Create(ctx, deploymentOf("web", "v1", 4), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.CreatePod("a", embedded.Pod("bare", nil))
	c.Settled("a", "bare")
	var node string
	embedded.Eventually(t, "pods run", func(ctx context.Context) (bool, string) {
		d, err := c.Virtual.AppsV1().Deployments("a").Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return d.Status.ReadyReplicas == 4, fmt.Sprint(d.Status)
	})
	bare, err := c.Virtual.CoreV1().Pods("a").Get(ctx, "bare", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node = bare.Spec.NodeName
	helper := &drain.Helper{
		Ctx: ctx, Client: h.Client, GracePeriodSeconds: -1, IgnoreAllDaemonSets: true, Timeout: embedded.Patience, Out: io.Discard, ErrOut: io.Discard,
	}
	victims, errs := helper.GetPodsForDeletion(node)
	if len(errs) > 0 {
		t.Fatalf("kubectl drain refuses pods: %v", errs)
	}
	if warnings := victims.Warnings(); warnings != "" {
		t.Errorf("kubectl drain warns: %s", warnings)
	}
	hostNode, err := h.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := drain.RunCordonOrUncordon(helper, hostNode, true); err != nil {
		t.Fatal(err)
	}
	if err := drain.RunNodeDrain(helper, node); err != nil {
		t.Fatalf("kubectl drain: %v", err)
	}
	embedded.Eventually(t, "all pods elsewhere", func(ctx context.Context) (bool, string) {
		pods, err := c.Virtual.CoreV1().Pods("a").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		ready := 0
		for _, p := range pods.Items {
			if p.Spec.NodeName == node || p.Name == "bare" {
				return false, p.Name + " is on " + p.Spec.NodeName
			}
			if p.Status.Phase == corev1.PodRunning {
				ready++
			}
		}
		return ready == 4, fmt.Sprint(ready, " of ", len(pods.Items), " run")
	})
}
