// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"context"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/klog/v2/ktesting"
	"sigs.k8s.io/kwok/pkg/utils/lifecycle"
)

func TestStagesAreComplete(t *testing.T) {
	byKind, err := stages()
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]int{"Node": 2, "Pod": 3} {
		found := 0
		for kind, list := range byKind {
			if kind.Kind != ref {
				continue
			}
			found = len(list)
			if _, err := lifecycle.NewLifecycle(list); err != nil {
				t.Errorf("stages of %s do not compile: %v", ref, err)
			}
		}
		if found != want {
			t.Errorf("got %d stages of %s, want %d", found, ref, want)
		}
	}
}

func TestNodesHaveNetworksOfTheirOwn(t *testing.T) {
	names, addresses := map[string]bool{}, map[string]bool{}
	networks := map[netip.Prefix]bool{}
	for i := range maxNodes {
		n := node(DefaultPrefix, i)
		network, err := netip.ParsePrefix(n.Spec.PodCIDR)
		if err != nil || network.Masked() != network {
			t.Fatalf("node %d: pod network %q is no network: %v", i, n.Spec.PodCIDR, err)
		}
		if names[n.Name] || addresses[n.Status.Addresses[0].Address] || networks[network] {
			t.Fatalf("node %d shares its name, address or pod network: %v", i, n)
		}
		names[n.Name], addresses[n.Status.Addresses[0].Address], networks[network] = true, true, true
	}
}

func TestOptionsRefuseWhatHasNoNetwork(t *testing.T) {
	for _, count := range []int{-1, maxNodes + 1} {
		if _, err := (Options{Nodes: count}).complete(); err == nil {
			t.Errorf("%d nodes were accepted", count)
		}
	}
}

// TestPodLifecycle plays a plain pod and a Job's pod through their lives.
func TestPodLifecycle(t *testing.T) {
	_, ctx := ktesting.NewTestContext(t)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client := fake.NewClientset()
	config, err := baseConfig(client)
	if err != nil {
		t.Fatal(err)
	}
	// The fake client knows neither fields nor leases well enough for kwok's
	// lease elections; this test is about the stages.
	config.NodeLeaseDurationSeconds = 0
	options := Options{Nodes: 1, Prefix: DefaultPrefix}
	ended := make(chan error, 1)
	runCtx, stop := context.WithCancel(ctx)
	go func() { ended <- run(runCtx, config, options) }()
	if err := WaitReady(ctx, client, options); err != nil {
		t.Fatal(err)
	}

	events, err := client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, labels := range map[string]map[string]string{
		"plain": nil,
		"job":   {"batch.kubernetes.io/job-name": "j"},
	} {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: labels},
			Spec: corev1.PodSpec{
				NodeName:   node(DefaultPrefix, 0).Name,
				Containers: []corev1.Container{{Name: "c", Image: "i"}},
			},
			Status: corev1.PodStatus{Phase: corev1.PodPending},
		}
		if _, err := client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	awaitPhases(ctx, t, events, map[string]corev1.PodPhase{"plain": corev1.PodRunning, "job": corev1.PodSucceeded})

	// The fake tracker deletes at once, so deletion begins here as the API
	// server would begin it: with a timestamp.
	pod, err := client.CoreV1().Pods("default").Get(ctx, "plain", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	now := metav1.Now()
	pod.DeletionTimestamp = &now
	if _, err := client.CoreV1().Pods("default").Update(ctx, pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitDeletion(ctx, t, events, "plain")

	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run ended with %v", err)
	}
}

func awaitPhases(ctx context.Context, t *testing.T, events watch.Interface, want map[string]corev1.PodPhase) {
	t.Helper()
	for len(want) > 0 {
		select {
		case <-ctx.Done():
			t.Fatalf("pods did not reach %v", want)
		case e := <-events.ResultChan():
			pod, ok := e.Object.(*corev1.Pod)
			if ok && want[pod.Name] == pod.Status.Phase {
				if pod.Status.PodIP == "" {
					t.Errorf("pod %s has no address", pod.Name)
				}
				delete(want, pod.Name)
			}
		}
	}
}

func awaitDeletion(ctx context.Context, t *testing.T, events watch.Interface, name string) {
	t.Helper()
	for {
		select {
		case <-ctx.Done():
			t.Fatalf("pod %s was not deleted", name)
		case e := <-events.ResultChan():
			pod, ok := e.Object.(*corev1.Pod)
			if ok && pod.Name == name && e.Type == watch.Deleted {
				return
			}
		}
	}
}
