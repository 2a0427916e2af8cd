// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package trust_test

import (
	"context"
	"encoding/pem"
	"maps"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/trust"
)

type fixture struct{ *harness.Harness }

func start(t *testing.T, host ...runtime.Object) *fixture {
	t.Helper()
	h := &fixture{harness.New(t, nil, host)}
	c, err := trust.New(trust.Config{Translator: h.Translator, Informers: h.Informers, Host: h.Host})
	if err != nil {
		t.Fatal(err)
	}
	h.Run(c.Run)
	return h
}

// pod makes a pod with one question, and returns the name of the ConfigMap with
// the answer.
func (h *fixture) pod(name string, q corev1.ClusterTrustBundleProjection) string {
	h.T.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "ca", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ClusterTrustBundle: &q}},
		}}}}},
	}
	if _, err := h.Virtual.CoreV1().Pods("default").Create(h.T.Context(), p, metav1.CreateOptions{}); err != nil {
		h.T.Fatal(err)
	}
	return h.Translator.TrustBundleName(rewrite.TrustBundles(p)[0])
}

func (h *fixture) bundle(name, signer string, labels map[string]string, anchors string) {
	h.T.Helper()
	b := &certificatesv1.ClusterTrustBundle{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: anchors},
	}
	if _, err := h.Virtual.CertificatesV1().ClusterTrustBundles().Create(h.T.Context(), b, metav1.CreateOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

// wait waits until a ConfigMap has exactly this data; nil means that there is none.
func (h *fixture) wait(name string, want map[string]string) {
	h.T.Helper()
	h.Eventually("trust bundle "+name, func(ctx context.Context) (bool, any) {
		c, err := h.Host.CoreV1().ConfigMaps(harness.HostNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return want == nil && apierrors.IsNotFound(err), err
		}
		return want != nil && maps.Equal(c.Data, want), c.Data
	})
}

func anchor(content string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(content)}))
}

func both(text string) map[string]string {
	return map[string]string{rewrite.TrustAnchors: text, rewrite.OptionalTrustAnchors: text}
}

var missing = map[string]string{rewrite.OptionalTrustAnchors: ""}

func TestBundleByNameFollowsItsChanges(t *testing.T) {
	h := start(t)
	name := h.pod("web", corev1.ClusterTrustBundleProjection{Name: ptr.To("corp"), Path: "ca.pem"})
	h.wait(name, missing)
	h.bundle("corp", "", nil, "a note\n"+anchor("b")+anchor("a")+anchor("b"))
	h.wait(name, both(anchor("a")+anchor("b")))
	if err := h.Virtual.CertificatesV1().ClusterTrustBundles().Delete(t.Context(), "corp", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait(name, missing)
}

func TestBundlesOfASignerArePutTogether(t *testing.T) {
	h := start(t)
	h.bundle("one", "example.com/mesh", map[string]string{"tier": "live"}, anchor("a"))
	h.bundle("two", "example.com/mesh", map[string]string{"tier": "live"}, anchor("b")+anchor("a"))
	h.bundle("dark", "example.com/mesh", map[string]string{"tier": "dark"}, anchor("c"))
	h.bundle("foreign", "example.com/other", map[string]string{"tier": "live"}, anchor("d"))
	signer := ptr.To("example.com/mesh")
	h.wait(h.pod("live", corev1.ClusterTrustBundleProjection{SignerName: signer, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "live"}}}),
		both(anchor("a")+anchor("b")))
	h.wait(h.pod("all", corev1.ClusterTrustBundleProjection{SignerName: signer, LabelSelector: &metav1.LabelSelector{}}),
		both(anchor("a")+anchor("b")+anchor("c")))
	h.wait(h.pod("none", corev1.ClusterTrustBundleProjection{SignerName: signer}), missing)
}

func TestAnswerIsSharedAndGoesWithTheLastPod(t *testing.T) {
	h := start(t)
	h.bundle("corp", "", nil, anchor("a"))
	q := corev1.ClusterTrustBundleProjection{Name: ptr.To("corp"), Path: "ca.pem"}
	name := h.pod("web", q)
	if again := h.pod("db", q); again != name {
		t.Errorf("the same question is answered in %s and %s", name, again)
	}
	h.wait(name, both(anchor("a")))
	for _, pod := range []string{"web", "db"} {
		h.wait(name, both(anchor("a")))
		if err := h.Virtual.CoreV1().Pods("default").Delete(t.Context(), pod, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	h.wait(name, nil)
	for _, a := range h.Host.Actions() {
		if d, ok := a.(clienttesting.DeleteActionImpl); ok && (d.DeleteOptions.Preconditions == nil || d.DeleteOptions.Preconditions.UID == nil) {
			t.Errorf("%s was deleted whatever it was by then", d.Name)
		}
	}
}

func TestForeignConfigMapUnderTheNameIsNotTouched(t *testing.T) {
	q := corev1.ClusterTrustBundleProjection{Name: ptr.To("corp"), Path: "ca.pem"}
	name := start(t).pod("probe", q)
	foreign := map[string]string{"somebody": "else"}
	h := start(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: harness.HostNamespace, Name: name}, Data: foreign})
	h.pod("web", q)
	h.LeavesAlone("configmaps", name)
	h.wait(name, foreign)
}

// formerAnswer is the ConfigMap that an earlier version made for a bundle.
func formerAnswer(t *testing.T, bundle string) *corev1.ConfigMap {
	t.Helper()
	tr := harness.Translator(t)
	marks := tr.ScopeLabels()
	marks[rewrite.LabelComposed] = "trust-bundle"
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: harness.HostNamespace, Name: tr.FormerTrustBundleName(rewrite.TrustBundle{Name: bundle}), Labels: marks},
		Data:       both(anchor("old")),
	}
}

// A pod of an earlier version mounts the answer under its former name. It is kept
// in step there while a pod asks, and never made.
func TestFormerAnswerIsKeptInStep(t *testing.T) {
	former, unasked := formerAnswer(t, "corp"), formerAnswer(t, "unasked")
	h := start(t, former, unasked)
	h.bundle("corp", "", nil, anchor("a"))
	now := h.pod("web", corev1.ClusterTrustBundleProjection{Name: ptr.To("corp"), Path: "ca.pem"})
	h.wait(former.Name, both(anchor("a")))
	h.wait(now, both(anchor("a")))
	h.wait(unasked.Name, nil)
	if err := h.Virtual.CoreV1().Pods("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait(former.Name, nil)
	h.wait(now, nil)
	now = h.pod("again", corev1.ClusterTrustBundleProjection{Name: ptr.To("corp"), Path: "ca.pem"})
	h.wait(now, both(anchor("a")))
	h.OnlyWrites("configmaps", now, former.Name, unasked.Name)
	h.wait(former.Name, nil)
}
