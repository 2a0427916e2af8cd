// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
)

func claimOfClass(field *string, annotation string) *corev1.PersistentVolumeClaim {
	v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "data"}}
	v.Spec.StorageClassName = field
	if annotation != "" {
		v.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: annotation}
	}
	return v
}

// TestClaimsHaveTheCopyOfTheTenantsClass: the host reads the copy's name, and the
// tenant their own, by the field and by the old annotation, which wins.
func TestClaimsHaveTheCopyOfTheTenantsClass(t *testing.T) {
	tr := mustNew(t, testCluster())
	for name, v := range map[string]*corev1.PersistentVolumeClaim{
		"field":      claimOfClass(ptr("gold"), ""),
		"annotation": claimOfClass(nil, "gold"),
		"both":       claimOfClass(ptr("silver"), "gold"),
	} {
		t.Run(name, func(t *testing.T) {
			in := rewrite.Inputs{PushedStorage: "gold"}
			h := toHost(t, tr, v, in).(*corev1.PersistentVolumeClaim)
			if got := class(h.Spec.StorageClassName); got != tr.ClusterName("gold") {
				t.Errorf("the host claim has class %q", got)
			}
			if old, ok := h.Annotations[corev1.BetaStorageClassAnnotation]; ok {
				t.Errorf("the host claim has the annotation %q", old)
			}
			if !tr.HasPushedStorage(h) {
				t.Error("the host claim is not known to have a copy")
			}
			if d := diff(v, toVirtual(t, tr, h)); d != "" {
				t.Errorf("the claim is not what it was (-want +got):\n%s", d)
			}
			text := tr.TextToVirtual("exceeded quota: q, requested: "+tr.ClusterName("gold")+".storageclass.storage.k8s.io/requests.storage=1Gi; storageclass \""+
				tr.ClusterName("gold")+"\" not found", tr.Known("PersistentVolumeClaim", h))
			if want := `exceeded quota: q, requested: gold.storageclass.storage.k8s.io/requests.storage=1Gi; storageclass "gold" not found`; text != want {
				t.Errorf("the tenant reads %s", text)
			}

			// An update has no such fact: the host claim has decided.
			next := toVirtual(t, tr, h).(*corev1.PersistentVolumeClaim)
			next.Labels = map[string]string{"changed": "yes"}
			again := toHost(t, tr, next, rewrite.Inputs{Host: h}).(*corev1.PersistentVolumeClaim)
			if d := diff(h.Spec, again.Spec); d != "" {
				t.Errorf("an update of labels changes the host's spec (-before +after):\n%s", d)
			}
			if old, ok := again.Annotations[corev1.BetaStorageClassAnnotation]; ok {
				t.Errorf("after an update the host claim has the annotation %q", old)
			}
			if d := diff(next, toVirtual(t, tr, again)); d != "" {
				t.Errorf("after an update the claim is not what it was (-want +got):\n%s", d)
			}
		})
	}
}

// TestAClaimGetsItsClassLater: as when a default class is chosen for it.
func TestAClaimGetsItsClassLater(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := toHost(t, tr, claimOfClass(nil, ""), rewrite.Inputs{}).(*corev1.PersistentVolumeClaim)
	v := toVirtual(t, tr, h).(*corev1.PersistentVolumeClaim)
	v.Spec.StorageClassName = ptr("gold")
	next := toHost(t, tr, v, rewrite.Inputs{Host: h, PushedStorage: "gold"}).(*corev1.PersistentVolumeClaim)
	if got := class(next.Spec.StorageClassName); got != tr.ClusterName("gold") {
		t.Errorf("the host claim has class %q", got)
	}
	if d := diff(v, toVirtual(t, tr, next)); d != "" {
		t.Errorf("the claim is not what it was (-want +got):\n%s", d)
	}
}

// TestOtherClassesPassAsTheyAre: with and without a copy of another one.
func TestOtherClassesPassAsTheyAre(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := claimOfClass(ptr("standard"), "")
	h := toHost(t, tr, v, rewrite.Inputs{PushedStorage: "gold"}).(*corev1.PersistentVolumeClaim)
	if got := class(h.Spec.StorageClassName); got != "standard" || tr.HasPushedStorage(h) {
		t.Errorf("the host claim has class %q", got)
	}
	for host, want := range map[string]string{tr.ClusterName("standard"): "standard", "standard": "standard", tr.ClusterName("gold"): tr.ClusterName("gold")} {
		if got := tr.StorageClassToVirtual(host, v); got != want {
			t.Errorf("class %s of a volume is shown as %s, want %s", host, got, want)
		}
	}
}

// TestAttackStorageClassMetadata: no label or annotation of the tenant's reaches
// the host, above all not the mark as default.
func TestAttackStorageClassMetadata(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name: "gold", UID: "virtual", Finalizers: []string{"a/b"}, Labels: map[string]string{"for-tenants": "true"},
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true", "cas.openebs.io/config": "BasePath"},
		},
		Provisioner: "example.com/disk", Parameters: map[string]string{"fsType": "xfs"}, MountOptions: []string{"noatime"},
		ReclaimPolicy: ptr(corev1.PersistentVolumeReclaimRetain), VolumeBindingMode: ptr(storagev1.VolumeBindingWaitForFirstConsumer),
		AllowVolumeExpansion: ptr(true),
	}
	want := v.DeepCopy()
	want.ObjectMeta = metav1.ObjectMeta{
		Name:        tr.ClusterName("gold"),
		Labels:      map[string]string{rewrite.LabelCluster: tr.Cluster().Name, rewrite.LabelHostNamespace: tr.Cluster().HostNamespace},
		Annotations: map[string]string{rewrite.AnnotationName: "gold", rewrite.AnnotationKind: "StorageClass"},
	}
	h := tr.StorageClassToHost(v)
	if d := diff(want, h); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if name, ours := tr.PushedClass("StorageClass", h); name != "gold" || !ours {
		t.Errorf("the copy is of %q, ours %t", name, ours)
	}
	if _, ours := tr.PushedClass("PriorityClass", h); ours {
		t.Error("the copy is one of another kind")
	}
}

// TestAttackParametersOfTheHost: a provisioner would use the operator's Secrets,
// or any path of a node, for a class of the tenant's.
func TestAttackParametersOfTheHost(t *testing.T) {
	for name, tc := range map[string]struct {
		parameters map[string]string
		options    []string
		want       string
	}{
		"nothing":                 {},
		"file systems":            {map[string]string{"fsType": "xfs", "csi.storage.k8s.io/fstype": "xfs"}, nil, ""},
		"what the operator lets":  {map[string]string{"type": "ssd"}, nil, ""},
		"another key":             {map[string]string{"path": "/etc"}, nil, "parameters[path]"},
		"another case":            {map[string]string{"TYPE": "ssd"}, nil, "parameters[TYPE]"},
		"secret":                  {map[string]string{"csi.storage.k8s.io/provisioner-secret-name": "operator"}, nil, "names a Secret"},
		"secret's namespace":      {map[string]string{"csi.storage.k8s.io/node-stage-secret-namespace": "kube-system"}, nil, "names a Secret"},
		"secret that is let":      {map[string]string{"adminSecretName": "ceph"}, nil, "names a Secret"},
		"old secret":              {map[string]string{"csiProvisionerSecretName": "operator"}, nil, "names a Secret"},
		"options":                 {nil, []string{"noatime", "nfsvers=4.1"}, ""},
		"a file of the node":      {nil, []string{"credentials=/etc/shadow"}, "mountOptions[0]"},
		"one of several keys":     {map[string]string{"type": "ssd", "server": "nfs"}, nil, "parameters[server]"},
		"a namespace in any case": {map[string]string{"volumeNAMESPACE": "x"}, nil, "names a Secret or a namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := rewrite.StorageClassProblems(&storagev1.StorageClass{Parameters: tc.parameters, MountOptions: tc.options}, []string{"type", "adminSecretName"})
			if tc.want == "" && len(problems) > 0 || tc.want != "" && (len(problems) != 1 || !strings.Contains(problems[0].Error(), tc.want)) {
				t.Errorf("got %v, want %q", problems, tc.want)
			}
		})
	}
}

func class(name *string) string {
	if name == nil {
		return ""
	}
	return *name
}
