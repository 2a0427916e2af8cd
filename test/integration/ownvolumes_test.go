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
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/test/embedded"
)

// TestVolumesOfTheTenant: a volume that the tenant made is bound by the host, outlives
// its claim, and is bound again once its claimRef is taken off.
func TestVolumesOfTheTenant(t *testing.T) {
	h, ctx := embedded.SharedHost(t), t.Context()
	c := newClusterWith(t, h, "sync: {toHost: {persistentVolumes: {enabled: true, drivers: [kubernetes.io/nfs]}}}\n")
	volumes, claims := c.Virtual.CoreV1().PersistentVolumes(), c.Virtual.CoreV1().PersistentVolumeClaims("default")
	disk := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "disk"},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: "manual", PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:            []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeSource: corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "nfs.example.com", Path: "/disk"}},
		},
	}
	path := disk.DeepCopy()
	path.Name, path.Spec.PersistentVolumeSource = "path", corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}
	if _, err := volumes.Create(ctx, path, metav1.CreateOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "kubernetes.io/host-path") {
		t.Errorf("a volume of the node: %v, want Forbidden with the driver", err)
	}
	if _, err := volumes.Create(ctx, disk, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	phase := func(want corev1.PersistentVolumePhase) {
		t.Helper()
		embedded.Eventually(t, "the volume is "+string(want), func(ctx context.Context) (bool, string) {
			v, err := volumes.Get(ctx, "disk", metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			return v.Status.Phase == want, fmt.Sprintf("%+v %+v", v.Status, v.Spec.ClaimRef)
		})
	}
	claim := func(name string) {
		t.Helper()
		_, err := claims.Create(ctx, &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.PersistentVolumeClaimSpec{
				StorageClassName: ptr.To("manual"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		embedded.Eventually(t, "claim "+name+" is bound", func(ctx context.Context) (bool, string) {
			v, err := claims.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			return v.Status.Phase == corev1.ClaimBound && v.Spec.VolumeName == "disk", fmt.Sprintf("%+v %+v", v.Status, v.Spec)
		})
		phase(corev1.VolumeBound)
	}
	phase(corev1.VolumeAvailable)
	claim("first")
	list, err := h.Client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{LabelSelector: rewrite.LabelHostNamespace + "=" + c.Namespace})
	if err != nil || len(list.Items) != 1 || list.Items[0].Status.Phase != corev1.VolumeBound || list.Items[0].Spec.ClaimRef.Namespace != c.Namespace {
		t.Errorf("the host has %+v, %v", list.Items, err)
	}
	if err := claims.Delete(ctx, "first", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	phase(corev1.VolumeReleased)
	if _, err := volumes.Patch(ctx, "disk", types.JSONPatchType, []byte(`[{"op":"remove","path":"/spec/claimRef"}]`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	phase(corev1.VolumeAvailable)
	claim("second")

	// Only the tenant's volume goes with it: the data is nobody's to delete.
	if err := claims.Delete(ctx, "second", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	phase(corev1.VolumeReleased)
	if err := volumes.Delete(ctx, "disk", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "no copy on the host", func(ctx context.Context) (bool, string) {
		list, err := h.Client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{LabelSelector: rewrite.LabelHostNamespace + "=" + c.Namespace})
		if err != nil {
			return false, err.Error()
		}
		return len(list.Items) == 0, fmt.Sprintf("%d left", len(list.Items))
	})
}
