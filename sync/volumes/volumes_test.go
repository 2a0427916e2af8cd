// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package volumes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/volumes"
)

type fixture struct{ *harness.Harness }

func start(t *testing.T, virtual, host []runtime.Object) *fixture {
	t.Helper()
	h := &fixture{harness.New(t, virtual, host)}
	h.run()
	return h
}

func (h *fixture) run() {
	h.T.Helper()
	c, err := volumes.New(volumes.Config{Virtual: h.Virtual, Informers: h.Informers, Host: h.Host, Translator: h.Translator})
	if err != nil {
		h.T.Fatal(err)
	}
	h.T.Cleanup(func() { // after the loop has ended
		for _, w := range harness.Writes(&h.Host.Fake, "") {
			h.T.Errorf("the host got %s", w)
		}
	})
	h.Run(c.Run)
}

// startWithoutRights has a host that does not let its volumes be read.
func startWithoutRights(t *testing.T, virtual ...runtime.Object) *fixture {
	t.Helper()
	h := &fixture{harness.New(t, virtual, nil)}
	h.Host.PrependReactor("get", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumes"}, "", nil)
	})
	h.run()
	return h
}

// volume waits until the volume satisfies want; a nil volume is one that does
// not exist.
func (h *fixture) volume(name, what string, want func(*corev1.PersistentVolume) bool) *corev1.PersistentVolume {
	h.T.Helper()
	var last *corev1.PersistentVolume
	h.Eventually(fmt.Sprintf("volume %q: %s", name, what), func(ctx context.Context) (bool, any) {
		v, err := h.Virtual.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			v, err = nil, nil
		}
		last = v
		return err == nil && want(v), v
	})
	return last
}

func bound(v *corev1.PersistentVolume) bool   { return v != nil && v.Status.Phase == corev1.VolumeBound }
func missing(v *corev1.PersistentVolume) bool { return v == nil }

func claim(name, volume string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "uid-of-claim"},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: volume, StorageClassName: ptr.To("fast"), VolumeMode: ptr.To(corev1.PersistentVolumeFilesystem),
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		},
		Status: corev1.PersistentVolumeClaimStatus{
			Phase: corev1.ClaimBound, Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		},
	}
}

func hostVolume(name string, source corev1.PersistentVolumeSource) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: "host-uid", Labels: map[string]string{"zone": "b"}, Finalizers: []string{"kubernetes.io/pv-protection"},
			Annotations: map[string]string{
				"pv.kubernetes.io/provisioned-by":                            "csi.example.com",
				"volume.kubernetes.io/provisioner-deletion-secret-name":      "root-of-all-storage",
				"volume.kubernetes.io/provisioner-deletion-secret-namespace": "kube-system",
			},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}, StorageClassName: "fast",
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:               &corev1.ObjectReference{Namespace: harness.HostNamespace, Name: "data-x-shop-x-vc", UID: "uid-of-claim"},
			PersistentVolumeSource: source,
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound},
	}
}

func csi() corev1.PersistentVolumeSource {
	secret := &corev1.SecretReference{Namespace: "kube-system", Name: "root-of-all-storage"}
	return corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
		Driver: "csi.example.com", VolumeHandle: "vol-1", FSType: "ext4",
		VolumeAttributes:           map[string]string{"secretName": "root-of-all-storage"},
		ControllerPublishSecretRef: secret, NodeStageSecretRef: secret, NodePublishSecretRef: secret,
		ControllerExpandSecretRef: secret, NodeExpandSecretRef: secret,
	}}
}

func TestBoundClaimsVolumeIsShownAsTheHosts(t *testing.T) {
	h := start(t, []runtime.Object{claim("data", "pv-1")}, []runtime.Object{hostVolume("pv-1", csi())})
	got := h.volume("pv-1", "a bound volume", bound)
	want := corev1.PersistentVolumeSpec{
		Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}, StorageClassName: "fast",
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		ClaimRef: &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "shop", Name: "data", UID: "uid-of-claim"},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
			Driver: "csi.example.com", VolumeHandle: "vol-1", FSType: "ext4",
		}},
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if got.Labels["zone"] != "b" || len(got.Finalizers) != 0 {
		t.Errorf("labels %v, finalizers %v", got.Labels, got.Finalizers)
	}
}

func TestNoSecretOrNameOfTheHostLeaks(t *testing.T) {
	secret := &corev1.SecretReference{Namespace: "kube-system", Name: "root-of-all-storage"}
	for name, source := range map[string]corev1.PersistentVolumeSource{
		"csi":        csi(),
		"host path":  {HostPath: &corev1.HostPathVolumeSource{Path: "/var/pv/pv-1_" + harness.HostNamespace + "_data-x-shop-x-vc"}},
		"cephfs":     {CephFS: &corev1.CephFSPersistentVolumeSource{SecretRef: secret}},
		"rbd":        {RBD: &corev1.RBDPersistentVolumeSource{SecretRef: secret}},
		"iscsi":      {ISCSI: &corev1.ISCSIPersistentVolumeSource{SecretRef: secret}},
		"flex":       {FlexVolume: &corev1.FlexPersistentVolumeSource{SecretRef: secret}},
		"azure file": {AzureFile: &corev1.AzureFilePersistentVolumeSource{SecretName: secret.Name, SecretNamespace: &secret.Namespace}},
		"scale io":   {ScaleIO: &corev1.ScaleIOPersistentVolumeSource{SecretRef: secret}},
		"cinder":     {Cinder: &corev1.CinderPersistentVolumeSource{SecretRef: secret}},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, []runtime.Object{claim("data", "pv-1")}, []runtime.Object{hostVolume("pv-1", source)})
			got := h.volume("pv-1", "a bound volume", bound)
			got.ManagedFields = nil
			shown, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			for _, leak := range []string{"root-of-all-storage", "kube-system", "-x-", harness.HostNamespace} {
				if strings.Contains(string(shown), leak) {
					t.Errorf("%q is shown: %s", leak, shown)
				}
			}
		})
	}
}

// A claim names its volume itself. A tenant could name another's, and read it
// if the door did not look whose it is.
func TestAnotherTenantsVolumeIsNotShown(t *testing.T) {
	for name, ref := range map[string]*corev1.ObjectReference{
		"other namespace": {Namespace: "team-b", Name: "data-x-shop-x-vc", UID: "uid-of-claim"},
		"other claim":     {Namespace: harness.HostNamespace, Name: "other-x-shop-x-vc", UID: "uid-of-claim"},
		"other uid":       {Namespace: harness.HostNamespace, Name: "data-x-shop-x-vc", UID: "other"},
		"nobody's":        nil,
	} {
		t.Run(name, func(t *testing.T) {
			theirs := hostVolume("pv-1", csi())
			theirs.Spec.ClaimRef = ref
			mine := claim("mine", "pv-2")
			mine.UID = "uid-2"
			marker := hostVolume("pv-2", csi())
			marker.Spec.ClaimRef = &corev1.ObjectReference{Namespace: harness.HostNamespace, Name: "mine-x-shop-x-vc", UID: "uid-2"}
			h := start(t, []runtime.Object{claim("data", "pv-1")}, []runtime.Object{theirs, marker})
			if _, err := h.Virtual.CoreV1().PersistentVolumeClaims("shop").Create(t.Context(), mine, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			h.volume("pv-2", "the tenant's volume", bound)
			if v := h.volume("pv-1", "anything", func(*corev1.PersistentVolume) bool { return true }); v != nil {
				t.Errorf("it is shown: %+v", v)
			}
		})
	}
}

// A volume that an earlier version made up goes as well: its reclaim policy was
// a guess.
func TestWithoutRightsNoVolumeIsShown(t *testing.T) {
	old := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-1", Annotations: map[string]string{volumes.AnnotationHost: "made-up"}}}
	h := startWithoutRights(t, old, claim("data", "pv-1"))
	h.volume("pv-1", "no volume", missing)
}

func TestVolumeFollowsItsClaim(t *testing.T) {
	onHost := hostVolume("pv-1", csi())
	h := start(t, []runtime.Object{claim("data", "pv-1")}, []runtime.Object{onHost})
	h.volume("pv-1", "a bound volume", bound)

	onHost = onHost.DeepCopy()
	onHost.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}
	if err := h.Host.Tracker().Update(corev1.SchemeGroupVersion.WithResource("persistentvolumes"), onHost, ""); err != nil {
		t.Fatal(err)
	}
	grown := claim("data", "pv-1")
	grown.Status.Capacity = onHost.Spec.Capacity
	if _, err := h.Virtual.CoreV1().PersistentVolumeClaims("shop").Update(t.Context(), grown, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.volume("pv-1", "a grown volume", func(v *corev1.PersistentVolume) bool {
		return bound(v) && v.Spec.Capacity.Storage().String() == "2Gi"
	})

	if err := h.Virtual.CoreV1().PersistentVolumes().Delete(t.Context(), "pv-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.volume("pv-1", "the volume again", bound)

	if err := h.Virtual.CoreV1().PersistentVolumeClaims("shop").Delete(t.Context(), "data", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.volume("pv-1", "no volume", missing)
}

func TestVolumeWhoseClaimWentWhileNobodyWatchedIsRemoved(t *testing.T) {
	stale := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-1", Annotations: map[string]string{volumes.AnnotationHost: "x"}}}
	start(t, []runtime.Object{stale}, nil).volume("pv-1", "no volume", missing)
}

func TestRightsGrantedLaterReplaceTheMadeUpVolume(t *testing.T) {
	old := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-1", Annotations: map[string]string{volumes.AnnotationHost: "made-up"}}}
	h := start(t, []runtime.Object{old, claim("data", "pv-1")}, []runtime.Object{hostVolume("pv-1", csi())})
	h.volume("pv-1", "the host's volume", func(v *corev1.PersistentVolume) bool {
		return bound(v) && v.Spec.CSI != nil && v.Spec.CSI.Driver == "csi.example.com"
	})
}

func TestTenantsOwnVolumeIsLeftAlone(t *testing.T) {
	own := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-1", Labels: map[string]string{"mine": "x"}}}
	second := claim("second", "pv-2")
	other := hostVolume("pv-2", csi())
	other.Spec.ClaimRef.Name = "second-x-shop-x-vc"
	h := start(t, []runtime.Object{own, claim("data", "pv-1"), second}, []runtime.Object{other, hostVolume("pv-1", csi())})
	h.volume("pv-2", "a bound volume", bound)
	if v := h.volume("pv-1", "the tenant's", func(v *corev1.PersistentVolume) bool { return v != nil }); len(v.Annotations) != 0 || v.Spec.ClaimRef != nil {
		t.Errorf("the tenant's volume was changed: %+v", v)
	}
}

func TestPendingClaimShowsNothing(t *testing.T) {
	pending := claim("pending", "pv-1")
	pending.Status.Phase = corev1.ClaimPending
	h := start(t, []runtime.Object{pending, claim("data", "pv-2")}, []runtime.Object{hostVolume("pv-2", csi()), hostVolume("pv-1", csi())})
	h.volume("pv-2", "a bound volume", bound)
	if v := h.volume("pv-1", "anything", func(*corev1.PersistentVolume) bool { return true }); v != nil {
		t.Errorf("it is shown: %+v", v)
	}
}

// A claim that an earlier version named is bound under that name. Another claim
// that somebody searched for has it too, but not the uid.
func TestVolumeOfAFormerClaim(t *testing.T) {
	tr := harness.Translator(t)
	const longName = "a-name-that-needs-the-hash-rule-on-the-host-because-it-is-so-long"
	former, _ := tr.FormerName("shop", longName)
	host := hostVolume("pv-1", csi())
	host.Spec.ClaimRef.Name = former
	h := start(t, []runtime.Object{claim(longName, "pv-1")}, []runtime.Object{host})
	if v := h.volume("pv-1", "a bound volume", bound); v.Spec.ClaimRef.Name != longName {
		t.Errorf("it is of %s", v.Spec.ClaimRef.Name)
	}
	h.Stop()

	another := claim(longName, "pv-1")
	another.UID = "another"
	mine := claim("mine", "pv-2")
	mine.UID = "uid-2"
	marker := hostVolume("pv-2", csi())
	marker.Spec.ClaimRef = &corev1.ObjectReference{Namespace: harness.HostNamespace, Name: "mine-x-shop-x-vc", UID: "uid-2"}
	h = start(t, []runtime.Object{another}, []runtime.Object{host, marker})
	if _, err := h.Virtual.CoreV1().PersistentVolumeClaims("shop").Create(t.Context(), mine, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.volume("pv-2", "the marker", bound)
	if v := h.volume("pv-1", "anything", func(*corev1.PersistentVolume) bool { return true }); v != nil {
		t.Errorf("it is shown: %+v", v)
	}
}
