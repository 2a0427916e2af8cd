// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/test/embedded"
)

// With the host API away, all objects can still be read and own kinds can still
// be written; the rest fails soon and says when to try again. When the host is
// back, everything goes on by itself.
func TestHostAPIAway(t *testing.T) {
	h := embedded.PrivateHost(t)
	c := newClusterOn(t, h)
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", nil))
	c.Settled("a", "p")

	var exit *exec.ExitError
	if err := h.Process.End(syscall.SIGKILL); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if _, err := c.Virtual.CoreV1().Pods("a").Get(t.Context(), "p", metav1.GetOptions{}); err != nil {
		t.Errorf("get from the cache: %v", err)
	}
	if l, err := c.Virtual.CoreV1().Pods("a").List(t.Context(), metav1.ListOptions{}); err != nil || len(l.Items) != 1 {
		t.Errorf("list from the cache: %v, %v", l, err)
	}
	if _, err := c.Virtual.CoreV1().ConfigMaps("a").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "own"}}, metav1.CreateOptions{}); err != nil {
		t.Errorf("write of an own kind: %v", err)
	}
	// One request without the client's own retries, to see the answer itself.
	result := c.Virtual.CoreV1().RESTClient().Post().MaxRetries(0).Namespace("a").Resource("pods").Body(embedded.Pod("q", nil)).Do(t.Context())
	err := result.Error()
	if !apierrors.IsServiceUnavailable(err) {
		t.Errorf("create a pod: %v, want 503", err)
	}
	if seconds, ok := apierrors.SuggestsClientDelay(err); !ok || seconds <= 0 {
		t.Errorf("create a pod: %v does not say when to try again", err)
	}

	h.Start()
	if h.Err != nil {
		t.Fatalf("start the host again: %v", h.Err)
	}
	embedded.Eventually(t, "pod created after the outage", func(ctx context.Context) (bool, string) {
		_, err := c.Virtual.CoreV1().Pods("a").Create(ctx, embedded.Pod("q", nil), metav1.CreateOptions{})
		return err == nil || apierrors.IsAlreadyExists(err), fmt.Sprint(err)
	})
	c.Settled("a", "q")
}
