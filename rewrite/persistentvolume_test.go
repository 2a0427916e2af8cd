// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
)

func volumeOf(source corev1.PersistentVolumeSource) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "disk", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"}},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: "manual", PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete, PersistentVolumeSource: source,
			ClaimRef: &corev1.ObjectReference{Namespace: "shop", Name: "data"},
		},
	}
}

// TestCopyOfAVolumeIsBoundAndRetained: no other claim of the host can get it, and
// no race about its policy loses data.
func TestCopyOfAVolumeIsBoundAndRetained(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := volumeOf(corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "nfs.example.com", Path: "/a"}})
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data-of-host", UID: "1"}}
	claim.Spec.StorageClassName = ptr("class-of-host")
	h := tr.PersistentVolumeToHost(v, claim)
	ref := h.Spec.ClaimRef
	if ref == nil || ref.Namespace != tr.Cluster().HostNamespace || ref.Name != "data-of-host" || ref.UID != "1" {
		t.Errorf("the copy has the claim %+v", ref)
	}
	if h.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain || h.Spec.StorageClassName != "class-of-host" || h.Spec.NFS == nil {
		t.Errorf("the copy is %+v", h.Spec)
	}
	if h.Labels["a"] != "" || h.Annotations["c"] != "" {
		t.Errorf("the copy has the tenant's metadata: %+v", h.ObjectMeta)
	}
	if name, ours := tr.PersistentVolumeToVirtual(h); !ours || name != "disk" {
		t.Errorf("the copy leads back to %q, ours %v", name, ours)
	}
}

// TestAttackVolumeOfTheTenants: no volume reaches a node, a Secret or a driver
// that the operator has not offered.
func TestAttackVolumeOfTheTenants(t *testing.T) {
	nfs := corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "nfs.example.com", Path: "/a"}}
	path := corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}
	csi := func(change func(*corev1.CSIPersistentVolumeSource)) corev1.PersistentVolumeSource {
		s := &corev1.CSIPersistentVolumeSource{Driver: "csi.example.com", VolumeHandle: "1"}
		change(s)
		return corev1.PersistentVolumeSource{CSI: s}
	}
	plain := func(*corev1.CSIPersistentVolumeSource) {}
	for reason, c := range map[string]struct {
		source  corev1.PersistentVolumeSource
		drivers []string
		problem string // empty: none
	}{
		"nothing offered":     {nfs, nil, "kubernetes.io/nfs"},
		"offered":             {nfs, []string{"kubernetes.io/nfs"}, ""},
		"all offered":         {nfs, []string{rewrite.Everything}, ""},
		"a path, all offered": {path, []string{rewrite.Everything}, "kubernetes.io/host-path"},
		"a path, offered":     {path, []string{"kubernetes.io/host-path"}, ""},
		"a disk, all offered": {corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/"}}, []string{rewrite.Everything}, "kubernetes.io/local-volume"},
		"another driver":      {csi(plain), []string{"other.example.com"}, "csi.example.com"},
		"the driver":          {csi(plain), []string{"csi.example.com"}, ""},
		"a Secret": {csi(func(s *corev1.CSIPersistentVolumeSource) {
			s.NodePublishSecretRef = &corev1.SecretReference{Name: "s", Namespace: "kube-system"}
		}), []string{"csi.example.com"}, "nodePublishSecretRef"},
		"a Secret in attributes": {csi(func(s *corev1.CSIPersistentVolumeSource) { s.VolumeAttributes = map[string]string{"secretName": "s"} }), []string{"csi.example.com"}, "volumeAttributes"},
		"a key file":             {corev1.PersistentVolumeSource{RBD: &corev1.RBDPersistentVolumeSource{Keyring: "/etc/keyring"}}, []string{rewrite.Everything}, "keyring"},
		"a Secret of a share":    {corev1.PersistentVolumeSource{AzureFile: &corev1.AzureFilePersistentVolumeSource{SecretName: "s"}}, []string{rewrite.Everything}, "secretName"},
	} {
		t.Run(reason, func(t *testing.T) {
			v := volumeOf(c.source)
			got := rewrite.PersistentVolumeProblems(v, c.drivers)
			if (len(got) == 0) != (c.problem == "") || len(got) > 0 && !strings.Contains(got[0].Error(), c.problem) {
				t.Errorf("got %v, want %q", got, c.problem)
			}
		})
	}
	for reason, change := range map[string]func(*corev1.PersistentVolumeSpec){
		"mountOptions": func(s *corev1.PersistentVolumeSpec) { s.MountOptions = []string{"credentials=/etc/shadow"} },
		"Recycle": func(s *corev1.PersistentVolumeSpec) {
			s.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRecycle
		},
		"volumeAttributesClassName": func(s *corev1.PersistentVolumeSpec) { s.VolumeAttributesClassName = ptr("fast") },
	} {
		v := volumeOf(nfs)
		change(&v.Spec)
		if got := rewrite.PersistentVolumeProblems(v, []string{rewrite.Everything}); len(got) != 1 {
			t.Errorf("%s: %v", reason, got)
		}
	}
}
