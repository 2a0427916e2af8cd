// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"

	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

// hurried is a clock whose timers have always passed.
type hurried struct{ clock.WithTicker }

func (h hurried) NewTimer(time.Duration) clock.Timer { return h.WithTicker.NewTimer(0) }

func removal() door.Removal {
	return door.Removal{Cluster: "vc", Namespace: hostNamespace, Clock: hurried{clock.RealClock{}}}
}

func partial(apiVersion, kind, namespace, name string, labels map[string]string, finalizers ...string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: apiVersion, Kind: kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels, UID: "uid", Finalizers: finalizers},
	}
}

// actions lists the objects of a verb, as resource/name.
func actions(client *metadatafake.FakeMetadataClient, verb string) []string {
	var all []string
	for _, a := range client.Actions() {
		if d, ok := a.(interface{ GetName() string }); ok && a.GetVerb() == verb {
			all = append(all, a.GetResource().Resource+"/"+d.GetName())
		}
	}
	slices.Sort(all)
	return all
}

func TestRemovalTakesTheClustersObjectsOnly(t *testing.T) {
	ours, other := map[string]string{rewrite.LabelCluster: "vc"}, map[string]string{rewrite.LabelCluster: "other"}
	pushed := map[string]string{rewrite.LabelCluster: "vc", rewrite.LabelHostNamespace: hostNamespace}
	elsewhere := map[string]string{rewrite.LabelCluster: "vc", rewrite.LabelHostNamespace: "team-b"}
	meta := emptyMetadata(
		partial("v1", "ConfigMap", hostNamespace, "vc.anchor", ours),
		partial("v1", "Pod", hostNamespace, "p", ours),
		partial("v1", "PersistentVolumeClaim", hostNamespace, "c", ours),
		partial("discovery.k8s.io/v1", "EndpointSlice", hostNamespace, "s", ours),
		partial("v1", "Pod", hostNamespace, "q", other),
		partial("v1", "Secret", hostNamespace, "operators", nil),
		partial("v1", "Pod", "team-b", "p", ours),
		partial("scheduling.k8s.io/v1", "PriorityClass", "", "high", pushed),
		partial("scheduling.k8s.io/v1", "PriorityClass", "", "of-team-b", elsewhere),
	)
	r := removal()
	r.PriorityClasses = true
	if err := r.Run(t.Context(), fake.NewClientset(), meta); err != nil {
		t.Fatal(err)
	}
	want := []string{"configmaps/vc.anchor", "endpointslices/s", "persistentvolumeclaims/c", "pods/p", "priorityclasses/high"}
	if d := cmp.Diff(want, actions(meta, "delete")); d != "" {
		t.Errorf("deleted (-want +got):\n%s", d)
	}
	meta.ClearActions()
	if err := r.Run(t.Context(), fake.NewClientset(), meta); err != nil || actions(meta, "delete") != nil {
		t.Errorf("again: %v, deleted %v", err, actions(meta, "delete"))
	}
}

// TestRemovalReleasesWhatNobodyElseWould: a tenant's finalizer, for which ours
// stands on the host, has no controller any more. The host's own stay.
func TestRemovalReleasesWhatNobodyElseWould(t *testing.T) {
	held := partial("v1", "Pod", hostNamespace, "p", map[string]string{rewrite.LabelCluster: "vc"}, "example.com/host", rewrite.FinalizerVirtual)
	meta := emptyMetadata(held)
	// As a host does: objects with finalizers stay.
	meta.PrependReactor("delete", "pods", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, nil })
	var patch string
	meta.PrependReactor("patch", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		patch = string(a.(clienttesting.PatchAction).GetPatch())
		return true, held, meta.Tracker().Delete(a.GetResource(), a.GetNamespace(), "p")
	})
	if err := removal().Run(t.Context(), fake.NewClientset(), meta); err != nil {
		t.Fatal(err)
	}
	want := `[{"op":"test","path":"/metadata/uid","value":"uid"},` +
		`{"op":"test","path":"/metadata/finalizers/1","value":"portico.dev/virtual-finalizers"},{"op":"remove","path":"/metadata/finalizers/1"}]`
	if d := cmp.Diff(want, patch); d != "" {
		t.Errorf("patch (-want +got):\n%s", d)
	}
}

// TestRemovalWaitsForTheLastPorticod: it would make removed objects again.
func TestRemovalWaitsForTheLastPorticod(t *testing.T) {
	client := fake.NewClientset(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc-0", Labels: map[string]string{door.LabelDoor: "vc"}}})
	meta := emptyMetadata(partial("v1", "Pod", hostNamespace, "p", map[string]string{rewrite.LabelCluster: "vc"}))
	r := removal()
	var reports []string
	r.Report = func(left string) {
		if len(reports) == 0 {
			if gone := actions(meta, "delete"); gone != nil {
				t.Errorf("deleted %v beside a porticod", gone)
			}
			if err := client.CoreV1().Pods(hostNamespace).Delete(t.Context(), "vc-0", metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}
		reports = append(reports, left)
	}
	if err := r.Run(t.Context(), client, meta); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"1 of porticod's own pods (vc-0)", "1 pods (p)"}, reports); d != "" {
		t.Errorf("reports (-want +got):\n%s", d)
	}
}

func TestRemovalIsRefused(t *testing.T) {
	ours := map[string]string{rewrite.LabelCluster: "vc"}
	for name, c := range map[string]struct {
		client *fake.Clientset
		meta   *metadatafake.FakeMetadataClient
		want   error
	}{
		"while a control plane is there": {fake.NewClientset(), emptyMetadata(partial("apps/v1", "StatefulSet", hostNamespace, "vc", ours), partial("v1", "Pod", hostNamespace, "p", ours)), door.ErrInUse},
		"while replicas are there":       {fake.NewClientset(), emptyMetadata(partial("apps/v1", "Deployment", hostNamespace, "vc", ours), partial("v1", "Pod", hostNamespace, "p", ours)), door.ErrInUse},
		"of what is somebody else's": {
			fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc.anchor"}}),
			emptyMetadata(partial("v1", "Pod", hostNamespace, "p", ours)), door.ErrNotOurs,
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := removal().Run(t.Context(), c.client, c.meta)
			if !errors.Is(err, c.want) || actions(c.meta, "delete") != nil {
				t.Errorf("%v, deleted %v; want %v", err, actions(c.meta, "delete"), c.want)
			}
		})
	}
}

// TestRemovalSaysWhatIsLeft when its time is over.
func TestRemovalSaysWhatIsLeft(t *testing.T) {
	meta := emptyMetadata(partial("v1", "PersistentVolumeClaim", hostNamespace, "c", map[string]string{rewrite.LabelCluster: "vc"}, "example.com/host"))
	meta.PrependReactor("delete", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, nil })
	ctx, cancel := context.WithCancel(t.Context())
	r := removal()
	r.Clock, r.Report = clock.RealClock{}, func(string) { cancel() }
	err := r.Run(ctx, fake.NewClientset(), meta)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 persistentvolumeclaims (c)") {
		t.Errorf("%v", err)
	}
}
