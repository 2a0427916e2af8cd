// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package trust_test

import (
	"context"
	"encoding/pem"
	"maps"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/trust"
)

const hostNamespace = "team-a"

type harness struct {
	t             *testing.T
	virtual, host *fake.Clientset
	translator    *rewrite.Translator
}

func newHarness(t *testing.T, host ...runtime.Object) *harness {
	t.Helper()
	translator, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: hostNamespace})
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, virtual: fake.NewClientset(), host: fake.NewClientset(host...), translator: translator}
	factory := informers.NewSharedInformerFactory(h.virtual, 0)
	m, err := trust.New(trust.Config{Translator: translator, Informers: factory, Host: h.host})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		factory.Shutdown()
	})
	return h
}

// pod makes a pod with one question, and returns the name of the ConfigMap with the answer.
func (h *harness) pod(name string, q corev1.ClusterTrustBundleProjection) string {
	h.t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "ca", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ClusterTrustBundle: &q}},
		}}}}},
	}
	if _, err := h.virtual.CoreV1().Pods("default").Create(h.t.Context(), p, metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
	return h.translator.TrustBundleName(rewrite.TrustBundles(p)[0])
}

func (h *harness) bundle(name, signer string, labels map[string]string, anchors string) {
	h.t.Helper()
	b := &certificatesv1.ClusterTrustBundle{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: anchors},
	}
	if _, err := h.virtual.CertificatesV1().ClusterTrustBundles().Create(h.t.Context(), b, metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
}

// wait waits until a ConfigMap has exactly this data; nil means that there is none.
func (h *harness) wait(name string, want map[string]string) {
	h.t.Helper()
	var got map[string]string
	err := wait.PollUntilContextTimeout(h.t.Context(), 5*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		c, err := h.host.CoreV1().ConfigMaps(hostNamespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return want == nil, nil
		}
		got = c.Data
		return want != nil && maps.Equal(got, want), err
	})
	if err != nil {
		h.t.Fatalf("trust bundle %s: %v; has %v, want %v", name, err, got, want)
	}
}

func anchor(content string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(content)}))
}

func both(text string) map[string]string {
	return map[string]string{rewrite.TrustAnchors: text, rewrite.OptionalTrustAnchors: text}
}

var missing = map[string]string{rewrite.OptionalTrustAnchors: ""}

func TestBundleByNameFollowsItsChanges(t *testing.T) {
	h := newHarness(t)
	name := h.pod("web", corev1.ClusterTrustBundleProjection{Name: ptr.To("corp"), Path: "ca.pem"})
	h.wait(name, missing)
	h.bundle("corp", "", nil, "a note\n"+anchor("b")+anchor("a")+anchor("b"))
	h.wait(name, both(anchor("a")+anchor("b")))
	if err := h.virtual.CertificatesV1().ClusterTrustBundles().Delete(t.Context(), "corp", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait(name, missing)
}

func TestBundlesOfASignerArePutTogether(t *testing.T) {
	h := newHarness(t)
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
	h := newHarness(t)
	h.bundle("corp", "", nil, anchor("a"))
	q := corev1.ClusterTrustBundleProjection{Name: ptr.To("corp"), Path: "ca.pem"}
	name := h.pod("web", q)
	if again := h.pod("db", q); again != name {
		t.Errorf("the same question is answered in %s and %s", name, again)
	}
	h.wait(name, both(anchor("a")))
	for _, pod := range []string{"web", "db"} {
		h.wait(name, both(anchor("a")))
		if err := h.virtual.CoreV1().Pods("default").Delete(t.Context(), pod, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	h.wait(name, nil)
}

func TestForeignConfigMapUnderTheNameIsNotTouched(t *testing.T) {
	q := corev1.ClusterTrustBundleProjection{Name: ptr.To("corp"), Path: "ca.pem"}
	name := newHarness(t).pod("probe", q)
	foreign := map[string]string{"somebody": "else"}
	h := newHarness(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: name}, Data: foreign})
	h.pod("web", q)
	other := h.pod("other", corev1.ClusterTrustBundleProjection{Name: ptr.To("another"), Path: "ca.pem"})
	h.wait(other, missing)
	h.wait(name, foreign)
}
