// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"

	"portico.dev/portico/test/embedded"
)

// TestWritesWithoutEffect: a write that porticod would put back is refused with a
// reason, and what holds is accepted.
func TestWritesWithoutEffect(t *testing.T) {
	h, ctx := embedded.SharedHost(t), t.Context()
	c := newClusterWith(t, h, "")
	c.CreatePod("default", embedded.Pod("p", nil))
	c.Settled("default", "p")
	pod, err := c.Virtual.CoreV1().Pods("default").Get(ctx, "p", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node := pod.Spec.NodeName
	embedded.Eventually(t, "made-up node", func(ctx context.Context) (bool, string) {
		_, err := c.Virtual.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	class := "undone-" + rand.String(6) // the host is shared
	c.hostClass(t, class, nil)
	volume := c.boundClaim(t, "data", &class).Spec.VolumeName
	var shown *corev1.PersistentVolume
	embedded.Eventually(t, "volume", func(ctx context.Context) (bool, string) {
		shown, err = c.Virtual.CoreV1().PersistentVolumes().Get(ctx, volume, metav1.GetOptions{})
		return err == nil && shown.Status.Phase == corev1.VolumeBound, fmt.Sprint(shown, err)
	})
	core := c.Virtual.CoreV1().RESTClient()
	for reason, w := range map[string]struct {
		path, subresource, patch string // no patch: a deletion
		refusal                  string // empty: it holds
	}{
		"the policy of a volume":       {path: "persistentvolumes/" + volume, patch: `{"spec":{"persistentVolumeReclaimPolicy":"Recycle"}}`, refusal: "ask the operator"},
		"the end of a volume":          {path: "persistentvolumes/" + volume, refusal: "while the claim default/data is bound to it"},
		"the status of a volume":       {path: "persistentvolumes/" + volume, subresource: "status", patch: `{"status":{"phase":"Released"}}`, refusal: "status cannot be changed"},
		"a label of a volume":          {path: "persistentvolumes/" + volume, patch: `{"metadata":{"labels":{"mine":"x"}}}`},
		"the status of a made-up node": {path: "nodes/" + node, subresource: "status", patch: `{"status":{"nodeInfo":{"osImage":"mine"}}}`, refusal: "status.nodeInfo"},
		"the end of a made-up node":    {path: "nodes/" + node, refusal: "cannot be deleted"},
		"a taint":                      {path: "nodes/" + node, patch: `{"spec":{"taints":[{"key":"mine","effect":"NoSchedule"}]}}`},
		"the Service of the DNS":       {path: "namespaces/kube-system/services/kube-dns", patch: `{"spec":{"selector":{"app":"mine"}}}`, refusal: "cannot be changed"},
		"a label of the DNS's Service": {path: "namespaces/kube-system/services/kube-dns", patch: `{"metadata":{"labels":{"mine":"x"}}}`},
	} {
		t.Run(reason, func(t *testing.T) {
			var err error
			if w.patch == "" {
				err = core.Delete().AbsPath("/api/v1/" + w.path).Do(ctx).Error()
			} else {
				err = core.Patch(types.MergePatchType).AbsPath("/api/v1/"+w.path, w.subresource).Body([]byte(w.patch)).Do(ctx).Error()
			}
			switch {
			case w.refusal == "" && err != nil:
				t.Error(err)
			case w.refusal != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), w.refusal)):
				t.Errorf("got %v, want Forbidden with %q", err, w.refusal)
			}
		})
	}
	if now, err := c.Virtual.CoreV1().PersistentVolumes().Get(ctx, volume, metav1.GetOptions{}); err != nil ||
		now.Spec.PersistentVolumeReclaimPolicy != shown.Spec.PersistentVolumeReclaimPolicy || now.UID != shown.UID {
		t.Errorf("volume after the refusals: %+v, %v", now.Spec, err)
	}
	// porticod itself goes on: the volume goes with its claim.
	if err := c.Virtual.CoreV1().PersistentVolumeClaims("default").Delete(ctx, "data", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "end of the volume", func(ctx context.Context) (bool, string) {
		_, err := c.Virtual.CoreV1().PersistentVolumes().Get(ctx, volume, metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}
