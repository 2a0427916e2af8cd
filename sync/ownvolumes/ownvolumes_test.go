// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package ownvolumes_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/kinds"
	"portico.dev/portico/sync/ownvolumes"
)

type fixture struct {
	*harness.Harness
}

func start(t *testing.T, virtual ...runtime.Object) *fixture {
	t.Helper()
	return startWith(t, 0, virtual...)
}

func startWith(t *testing.T, most int, virtual ...runtime.Object) *fixture {
	t.Helper()
	h := &fixture{harness.New(t, virtual, nil)}
	for _, obj := range virtual {
		if claim, ok := obj.(*corev1.PersistentVolumeClaim); ok {
			h.onHost(claim)
		}
	}
	// As the API does, a write of the status leaves the rest alone.
	h.Virtual.PrependReactor("update", "persistentvolumes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "status" {
			return false, nil, nil
		}
		said := a.(clienttesting.UpdateAction).GetObject().(*corev1.PersistentVolume)
		obj, err := h.Virtual.Tracker().Get(a.GetResource(), "", said.Name)
		if err != nil {
			return true, nil, err
		}
		now := obj.(*corev1.PersistentVolume).DeepCopy()
		now.Status = said.Status
		return true, now, h.Virtual.Tracker().Update(a.GetResource(), now, "")
	})
	c, err := ownvolumes.New(ownvolumes.Config{
		Translator: h.Translator, Virtual: h.Virtual, Informers: h.Informers, Host: h.Host, Clock: h.Clock,
		Limits: ownvolumes.Limits{Drivers: []string{"kubernetes.io/nfs"}}, Events: record.NewFakeRecorder(100), Most: most,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Run(c.Run)
	return h
}

// onHost gives the host the claim of a virtual one, as the door does.
func (h *fixture) onHost(claim *corev1.PersistentVolumeClaim) {
	h.T.Helper()
	host, err := h.Translator.PersistentVolumeClaimToHost(claim, rewrite.Inputs{})
	if err != nil {
		h.T.Fatal(err)
	}
	host.UID = claim.UID
	if err := h.Host.Tracker().Add(host); err != nil {
		h.T.Fatal(err)
	}
}

func volume(name, class, size string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: class, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)},
			AccessModes:            []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			VolumeMode:             ptr.To(corev1.PersistentVolumeFilesystem),
			PersistentVolumeSource: corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "nfs.example.com", Path: "/" + name}},
		},
	}
}

func claim(name, class string, uid types.UID) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: uid},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, VolumeMode: ptr.To(corev1.PersistentVolumeFilesystem),
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
	}
}

func (h *fixture) volume(name, what string, want func(*corev1.PersistentVolume) bool) *corev1.PersistentVolume {
	h.T.Helper()
	var last *corev1.PersistentVolume
	h.Eventually("volume "+name+": "+what, func(ctx context.Context) (bool, any) {
		v, err := h.Virtual.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			v, err = nil, nil
		}
		last = v
		return err == nil && want(v), v
	})
	return last
}

func in(phase corev1.PersistentVolumePhase) func(*corev1.PersistentVolume) bool {
	return func(v *corev1.PersistentVolume) bool { return v != nil && v.Status.Phase == phase }
}

// copied waits for the copy of a volume; nil is none.
func (h *fixture) copied(name, what string, want func(*corev1.PersistentVolume) bool) *corev1.PersistentVolume {
	h.T.Helper()
	var last *corev1.PersistentVolume
	h.Eventually("copy of "+name+": "+what, func(ctx context.Context) (bool, any) {
		v, err := h.Host.CoreV1().PersistentVolumes().Get(ctx, h.Translator.ClusterName(name), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			v, err = nil, nil
		}
		last = v
		return err == nil && want(v), v
	})
	return last
}

func there(v *corev1.PersistentVolume) bool { return v != nil }
func gone(v *corev1.PersistentVolume) bool  { return v == nil }

// hostSays gives a copy a phase, as the host's controller does.
func (h *fixture) hostSays(name string, phase corev1.PersistentVolumePhase) {
	h.T.Helper()
	host := h.copied(name, "there", there).DeepCopy()
	host.Status.Phase = phase
	if _, err := h.Host.CoreV1().PersistentVolumes().UpdateStatus(h.T.Context(), host, metav1.UpdateOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

func (h *fixture) change(name string, change func(*corev1.PersistentVolume)) {
	h.T.Helper()
	h.Eventually("change of "+name, func(ctx context.Context) (bool, any) {
		v, err := h.Virtual.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		change(v)
		_, err = h.Virtual.CoreV1().PersistentVolumes().Update(ctx, v, metav1.UpdateOptions{})
		return err == nil, err
	})
}

func (h *fixture) endClaim(name string) {
	h.T.Helper()
	if err := h.Virtual.CoreV1().PersistentVolumeClaims("shop").Delete(h.T.Context(), name, metav1.DeleteOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

// bound waits until both sides say that a claim has a volume.
func (h *fixture) bound(name, claim string) {
	h.T.Helper()
	h.Eventually("claim "+claim, func(ctx context.Context) (bool, any) {
		c, err := h.Virtual.CoreV1().PersistentVolumeClaims("shop").Get(ctx, claim, metav1.GetOptions{})
		return err == nil && c.Spec.VolumeName == name, c
	})
	h.hostSays(name, corev1.VolumeBound)
	h.volume(name, "bound", in(corev1.VolumeBound))
}

// TestVolumeIsBoundAgainWithItsData: a retained volume whose claimRef is taken off
// is Available, and the next claim gets the same place.
func TestVolumeIsBoundAgainWithItsData(t *testing.T) {
	h := start(t, volume("disk", "manual", "2Gi"), claim("data", "manual", "1"))
	h.bound("disk", "data")
	first := h.copied("disk", "there", there)
	ref := first.Spec.ClaimRef
	if ref == nil || ref.UID != "1" || ref.Namespace != harness.HostNamespace || first.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
		t.Errorf("the copy is %+v", first.Spec)
	}

	h.endClaim("data")
	h.volume("disk", "released", in(corev1.VolumeReleased))
	h.change("disk", func(v *corev1.PersistentVolume) { v.Spec.ClaimRef = nil })
	h.volume("disk", "available", in(corev1.VolumeAvailable))
	h.copied("disk", "gone while no claim has it", gone)

	again := claim("again", "manual", "2")
	h.onHost(again)
	if _, err := h.Virtual.CoreV1().PersistentVolumeClaims("shop").Create(t.Context(), again, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.bound("disk", "again")
	second := h.copied("disk", "there", there)
	if second.Spec.ClaimRef.UID != "2" || second.Spec.NFS.Path != first.Spec.NFS.Path {
		t.Errorf("the copy is %+v", second.Spec)
	}
}

// TestPolicyOfTheEndCounts: a copy is retained for as long as the claim is there,
// and deleted only if the volume says so at the end.
func TestPolicyOfTheEndCounts(t *testing.T) {
	deleted := volume("deleted", "a", "1Gi")
	deleted.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	saved := volume("saved", "b", "1Gi")
	saved.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	h := start(t, deleted, saved, claim("one", "a", "1"), claim("two", "b", "2"))
	h.bound("deleted", "one")
	h.bound("saved", "two")
	for _, name := range []string{"deleted", "saved"} {
		if p := h.copied(name, "there", there).Spec.PersistentVolumeReclaimPolicy; p != corev1.PersistentVolumeReclaimRetain {
			t.Errorf("the copy of %s has the policy %s while its claim is there", name, p)
		}
	}
	h.change("saved", func(v *corev1.PersistentVolume) {
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	})
	h.endClaim("two")
	h.volume("saved", "released", in(corev1.VolumeReleased))
	h.endClaim("one")
	h.copied("deleted", "to be deleted", func(v *corev1.PersistentVolume) bool {
		return v != nil && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete
	})
	if p := h.copied("saved", "there", there).Spec.PersistentVolumeReclaimPolicy; p != corev1.PersistentVolumeReclaimRetain {
		t.Errorf("the copy of a volume that was changed to Retain has the policy %s", p)
	}
	if err := h.Host.CoreV1().PersistentVolumes().Delete(t.Context(), h.Translator.ClusterName("deleted"), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.volume("deleted", "gone, as on the host", gone)
}

// TestBestVolumeIsChosen: the smallest that is big enough, of the class, and the one
// that a claim or a volume names.
func TestBestVolumeIsChosen(t *testing.T) {
	named := claim("named", "manual", "2")
	named.Spec.VolumeName = "big"
	reserved := volume("reserved", "manual", "1Gi")
	reserved.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "shop", Name: "later"}
	h := start(t, volume("big", "manual", "9Gi"), volume("small", "manual", "2Gi"), volume("tiny", "manual", "1Mi"),
		volume("other", "other", "1Gi"), reserved, claim("data", "manual", "1"), named)
	h.bound("small", "data")
	h.bound("big", "named")
	for _, name := range []string{"tiny", "other", "reserved"} {
		h.volume(name, "available", in(corev1.VolumeAvailable))
	}
	h.OnlyWrites("persistentvolumes", h.Translator.ClusterName("small"), h.Translator.ClusterName("big"))
}

// TestVolumeOfOtherAccessModesStaysFree: one that names a claim, and cannot be mounted
// as the claim says, is not given to it (findByClaim of upstream's controller).
func TestVolumeOfOtherAccessModesStaysFree(t *testing.T) {
	kept := volume("kept", "manual", "9Gi")
	kept.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany}
	kept.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "shop", Name: "data"}
	h := start(t, kept, volume("marker", "m", "1Gi"), claim("data", "manual", "1"), claim("mark", "m", "2"))
	h.volume("kept", "available", in(corev1.VolumeAvailable))
	h.bound("marker", "mark")
	h.OnlyWrites("persistentvolumes", h.Translator.ClusterName("marker"))
}

// TestDeletedVolumesLeaveRoom: the host deletes copies, as their volumes say, and each
// gives its place back. A cluster may have many volumes one after the other.
func TestDeletedVolumesLeaveRoom(t *testing.T) {
	h := startWith(t, 2)
	for i := range 3 {
		name := fmt.Sprintf("v%d", i)
		v, c := volume(name, name, "1Gi"), claim(name, name, types.UID(name))
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
		h.onHost(c)
		if _, err := h.Virtual.CoreV1().PersistentVolumeClaims("shop").Create(t.Context(), c, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Virtual.CoreV1().PersistentVolumes().Create(t.Context(), v, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		h.bound(name, name)
		h.endClaim(name)
		h.copied(name, "to be deleted", func(v *corev1.PersistentVolume) bool {
			return v != nil && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete
		})
		if err := h.Host.CoreV1().PersistentVolumes().Delete(t.Context(), h.Translator.ClusterName(name), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		h.volume(name, "gone, as on the host", gone)
	}
}

// TestAttackVolumeForOthers: a tenant's volume without a claim is not on the host,
// where a neighbour's claim would get it. Neither is one that the operator has not
// offered, or one that is shown.
func TestAttackVolumeForOthers(t *testing.T) {
	path := volume("path", "manual", "9Gi")
	path.Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}
	shown := volume("shown", "manual", "9Gi")
	shown.Annotations = map[string]string{kinds.AnnotationHostVolume: "uid"}
	h := start(t, volume("bait", "standard", "1Gi"), path, shown, volume("marker", "m", "1Gi"), claim("data", "manual", "1"), claim("mark", "m", "2"))
	h.volume("bait", "available", in(corev1.VolumeAvailable))
	h.bound("marker", "mark")
	h.OnlyWrites("persistentvolumes", h.Translator.ClusterName("marker"))
}

// TestDeletedVolumeTakesItsCopyAlong, which is retained: no data goes.
func TestDeletedVolumeTakesItsCopyAlong(t *testing.T) {
	h := start(t, volume("disk", "manual", "2Gi"), claim("data", "manual", "1"))
	h.bound("disk", "data")
	if err := h.Virtual.CoreV1().PersistentVolumes().Delete(t.Context(), "disk", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.copied("disk", "gone", gone)
}

// TestVolumeThatTheHostHasGrown: it does not shrink, and is as big inside.
func TestVolumeThatTheHostHasGrown(t *testing.T) {
	h := start(t, volume("disk", "manual", "2Gi"), claim("data", "manual", "1"))
	h.bound("disk", "data")
	host := h.copied("disk", "there", there).DeepCopy()
	host.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("3Gi")}
	if _, err := h.Host.CoreV1().PersistentVolumes().Update(t.Context(), host, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.volume("disk", "grown", func(v *corev1.PersistentVolume) bool { return v != nil && v.Spec.Capacity.Storage().String() == "3Gi" })
	h.Stop()
	if size := h.copied("disk", "there", there).Spec.Capacity.Storage().String(); size != "3Gi" {
		t.Errorf("the copy has %s", size)
	}
}

func TestVolumeWritesAreJudged(t *testing.T) {
	limits := ownvolumes.Limits{Drivers: []string{"kubernetes.io/nfs"}}
	path := volume("path", "", "1Gi")
	path.Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}
	recycled := volume("disk", "", "1Gi")
	recycled.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRecycle
	for reason, c := range map[string]struct {
		before, after *corev1.PersistentVolume
		refusal       string
	}{
		"offered":       {nil, volume("disk", "", "1Gi"), ""},
		"not offered":   {nil, path, "kubernetes.io/host-path"},
		"of before":     {path, path, ""},
		"a deletion":    {path, nil, ""},
		"a bad policy":  {volume("disk", "", "1Gi"), recycled, "Recycle"},
		"a good policy": {recycled, volume("disk", "", "1Gi"), ""},
	} {
		err := limits.Judge(c.before, c.after)
		if (err == nil) != (c.refusal == "") || err != nil && !strings.Contains(err.Error(), c.refusal) && !strings.Contains(err.Error(), "recycle") {
			t.Errorf("%s: %v, want %q", reason, err, c.refusal)
		}
	}
}
