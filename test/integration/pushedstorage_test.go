// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/test/embedded"
)

// TestPushedStorageClasses: claims have the copy of the tenant's class on the
// host, the tenant sees its own, and a class that could use the operator's
// Secrets is refused at the write.
func TestPushedStorageClasses(t *testing.T) {
	h, ctx := embedded.SharedHost(t), t.Context()
	c := newClusterWith(t, h, "sync: {toHost: {storageClasses: {enabled: true, provisioners: [example.com/disk]}}}\n")
	inside, hosts := c.Virtual.StorageV1().StorageClasses(), h.Client.StorageV1().StorageClasses()
	class := func(name string, parameters map[string]string) *storagev1.StorageClass {
		return &storagev1.StorageClass{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: "example.com/disk", Parameters: parameters,
			VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
		}
	}
	if _, err := inside.Create(ctx, class("own", map[string]string{"fsType": "xfs"}), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := inside.Create(ctx, class("stolen", map[string]string{"csi.storage.k8s.io/provisioner-secret-name": "operators"}), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "provisioner-secret-name") {
		t.Errorf("a class with a Secret of the host: %v, want Forbidden with the parameter", err)
	}
	other := class("other", nil)
	other.Provisioner = "example.com/hostpath"
	if _, err := inside.Create(ctx, other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	claim := func(name string, field *string, annotations map[string]string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
			Spec: corev1.PersistentVolumeClaimSpec{
				StorageClassName: field, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			},
		}
	}
	claims := c.Virtual.CoreV1().PersistentVolumeClaims("default")
	if _, err := claims.Create(ctx, claim("refused", ptr.To("other"), nil), metav1.CreateOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "example.com/hostpath") {
		t.Errorf("a claim of a provisioner that is not listed: %v, want Forbidden with the provisioner", err)
	}
	for name, v := range map[string]*corev1.PersistentVolumeClaim{
		"field":      claim("field", ptr.To("own"), nil),
		"annotation": claim("annotation", nil, map[string]string{corev1.BetaStorageClassAnnotation: "own"}),
	} {
		made, err := claims.Create(ctx, v, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		made.Labels = map[string]string{"changed": "yes"}
		if made, err = claims.Update(ctx, made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if ptr.Deref(made.Spec.StorageClassName, "") != ptr.Deref(v.Spec.StorageClassName, "") || made.Annotations[corev1.BetaStorageClassAnnotation] != v.Annotations[corev1.BetaStorageClassAnnotation] {
			t.Errorf("%s: the tenant sees class %v, annotations %v", name, made.Spec.StorageClassName, made.Annotations)
		}
		list, err := h.Client.CoreV1().PersistentVolumeClaims(c.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for i := range list.Items {
			host := &list.Items[i]
			if host.Annotations[rewrite.AnnotationName] != name {
				continue
			}
			found = true
			copied, err := hosts.Get(ctx, ptr.Deref(host.Spec.StorageClassName, ""), metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if copied.Annotations[rewrite.AnnotationName] != "own" || copied.Parameters["fsType"] != "xfs" || copied.Labels[rewrite.LabelHostNamespace] != c.Namespace {
				t.Errorf("%s: the host claim has class %+v", name, copied)
			}
		}
		if !found {
			t.Errorf("no host claim of %s", name)
		}
	}

	// Copies have no owner: they go with the tenant's.
	if err := inside.Delete(ctx, "own", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	embedded.Eventually(t, "copies gone from the host", func(ctx context.Context) (bool, string) {
		list, err := hosts.List(ctx, metav1.ListOptions{LabelSelector: fmt.Sprintf("%s=%s", rewrite.LabelHostNamespace, c.Namespace)})
		if err != nil {
			return false, err.Error()
		}
		return len(list.Items) == 0, fmt.Sprintf("%d left", len(list.Items))
	})
}
