// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certificates_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync/atomic"
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
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/certificates"
)

const hostNamespace = "team-a"

// harness is a manager between a fake virtual cluster and a fake host.
type harness struct {
	t             *testing.T
	virtual, host *fake.Clientset
	clock         *testingclock.FakeClock
	translator    *rewrite.Translator
	events        *record.FakeRecorder
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	translator, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: hostNamespace})
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{
		t: t, host: fake.NewClientset(), translator: translator, events: record.NewFakeRecorder(10),
		clock: testingclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		virtual: fake.NewClientset(
			&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", UID: "node-uid"}},
			&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "builder", UID: "account-uid"}}),
	}
	// The fake does not make names.
	var made atomic.Int32
	h.virtual.PrependReactor("create", "podcertificaterequests", func(a clienttesting.Action) (bool, runtime.Object, error) {
		r := a.(clienttesting.CreateAction).GetObject().(*certificatesv1.PodCertificateRequest)
		r.Name = fmt.Sprintf("%s%d", r.GenerateName, made.Add(1))
		return false, nil, nil
	})
	factory := informers.NewSharedInformerFactory(h.virtual, 0)
	m, err := certificates.New(certificates.Config{
		Translator: translator, Virtual: h.virtual, Informers: factory, Host: h.host, Events: h.events, Clock: h.clock,
	})
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

func (h *harness) createPod() *corev1.Pod {
	h.t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "uid-1"},
		Spec: corev1.PodSpec{
			NodeName: "node-1", ServiceAccountName: "builder",
			Volumes: []corev1.Volume{{Name: "tls", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{PodCertificate: &corev1.PodCertificateProjection{
					SignerName: "example.com/mesh", KeyType: "ECDSAP256", MaxExpirationSeconds: ptr.To[int32](7200),
					CredentialBundlePath: "bundle.pem", UserAnnotations: map[string]string{"example.com/role": "web"},
				}}},
			}}}},
		},
	}
	if _, err := h.virtual.CoreV1().Pods("default").Create(h.t.Context(), p, metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (h *harness) eventually(what string, holds func(ctx context.Context) bool) {
	h.t.Helper()
	err := wait.PollUntilContextTimeout(h.t.Context(), 5*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		return holds(ctx), nil
	})
	if err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
}

// request waits for the nth request.
func (h *harness) request(n int) *certificatesv1.PodCertificateRequest {
	h.t.Helper()
	var r *certificatesv1.PodCertificateRequest
	h.eventually(fmt.Sprintf("request %d", n), func(ctx context.Context) bool {
		var err error
		r, err = h.virtual.CertificatesV1().PodCertificateRequests("default").Get(ctx, fmt.Sprintf("req-%d", n), metav1.GetOptions{})
		return err == nil
	})
	return r
}

func (h *harness) decide(r *certificatesv1.PodCertificateRequest, verdict, chain string) {
	h.t.Helper()
	r.Status.Conditions = []metav1.Condition{{Type: verdict, Status: metav1.ConditionTrue, Reason: "Because", Message: "of that"}}
	r.Status.CertificateChain = chain
	r.Status.BeginRefreshAt = ptr.To(metav1.NewTime(h.clock.Now().Add(time.Hour)))
	r.Status.NotAfter = ptr.To(metav1.NewTime(h.clock.Now().Add(2 * time.Hour)))
	if _, err := h.virtual.CertificatesV1().PodCertificateRequests("default").UpdateStatus(h.t.Context(), r, metav1.UpdateOptions{}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) secret(what string, want func(*corev1.Secret) bool) *corev1.Secret {
	h.t.Helper()
	var s *corev1.Secret
	h.eventually(what, func(ctx context.Context) bool {
		var err error
		s, err = h.host.CoreV1().Secrets(hostNamespace).Get(ctx, h.translator.CertificateSecretName("default", "web"), metav1.GetOptions{})
		return err == nil && want(s)
	})
	return s
}

func certificate(content string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(content)}))
}

func TestCertificateReachesThePod(t *testing.T) {
	h := newHarness(t)
	p := h.createPod()
	r := h.request(1)
	if s := r.Spec; s.SignerName != "example.com/mesh" || s.PodName != "web" || s.PodUID != "uid-1" || s.ServiceAccountUID != "account-uid" ||
		s.NodeName != "node-1" || s.NodeUID != "node-uid" || *s.MaxExpirationSeconds != 7200 || s.UnverifiedUserAnnotations["example.com/role"] != "web" {
		t.Errorf("request: %+v", s)
	}
	proof, err := x509.ParseCertificateRequest(r.Spec.StubPKCS10Request)
	if err != nil {
		t.Fatal(err)
	}
	if err := proof.CheckSignature(); err != nil {
		t.Errorf("the request proves nothing: %v", err)
	}
	h.decide(r, certificatesv1.PodCertificateRequestConditionTypeIssued, "a note\n"+certificate("leaf")+"another\n"+certificate("intermediate"))

	s := h.secret("secret", func(*corev1.Secret) bool { return true })
	projection := rewrite.CertificateProjections(p)[0]
	chain := certificate("leaf") + certificate("intermediate")
	if got := string(s.Data[projection.ChainKey()]); got != chain {
		t.Errorf("chain:\n%s\nwant:\n%s", got, chain)
	}
	key := string(s.Data[projection.PrivateKey()])
	if string(s.Data[projection.BundleKey()]) != key+chain {
		t.Error("the bundle is not the key and the chain")
	}
	block, _ := pem.Decode([]byte(key))
	if private, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		t.Error(err)
	} else if public, ok := proof.PublicKey.(interface{ Equal(any) bool }); ok && !public.Equal(private) {
		t.Error("the key is not the one that was asked about")
	}
	if len(s.OwnerReferences) != 1 || s.OwnerReferences[0].UID != "uid-1" {
		t.Errorf("the secret does not go with its pod: %+v", s.OwnerReferences)
	}
	for k, v := range s.Annotations {
		if strings.Contains(v, "PRIVATE") {
			t.Errorf("annotation %s holds a key", k)
		}
	}
}

func TestRefusalIsFinalAndTold(t *testing.T) {
	h := newHarness(t)
	h.createPod()
	h.decide(h.request(1), certificatesv1.PodCertificateRequestConditionTypeDenied, "")
	if event := <-h.events.Events; !strings.Contains(event, "Denied") || !strings.Contains(event, "Because: of that") {
		t.Errorf("event: %s", event)
	}
	h.clock.Step(24 * time.Hour)
	list, err := h.virtual.CertificatesV1().PodCertificateRequests("").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%d requests after a refusal, want 1 (%v)", len(list.Items), err)
	}
	if _, err := h.host.CoreV1().Secrets(hostNamespace).Get(t.Context(), h.translator.CertificateSecretName("default", "web"), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("secret after a refusal: %v", err)
	}
}

func TestRenewalWhenTheSignerSaysSo(t *testing.T) {
	h := newHarness(t)
	p := h.createPod()
	h.decide(h.request(1), certificatesv1.PodCertificateRequestConditionTypeIssued, certificate("first"))
	chain := rewrite.CertificateProjections(p)[0].ChainKey()
	h.secret("first certificate", func(s *corev1.Secret) bool { return string(s.Data[chain]) == certificate("first") })
	// The time of renewal is spread over five minutes after the signer's.
	h.eventually("a timer for the renewal", func(context.Context) bool { return h.clock.HasWaiters() })
	h.clock.Step(66 * time.Minute)
	h.decide(h.request(2), certificatesv1.PodCertificateRequestConditionTypeIssued, certificate("second"))
	h.secret("second certificate", func(s *corev1.Secret) bool { return string(s.Data[chain]) == certificate("second") })
}

func TestDeletedSecretComesBack(t *testing.T) {
	h := newHarness(t)
	h.createPod()
	h.decide(h.request(1), certificatesv1.PodCertificateRequestConditionTypeIssued, certificate("first"))
	s := h.secret("secret", func(*corev1.Secret) bool { return true })
	if err := h.host.CoreV1().Secrets(hostNamespace).Delete(t.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.decide(h.request(2), certificatesv1.PodCertificateRequestConditionTypeIssued, certificate("second"))
	h.secret("secret again", func(*corev1.Secret) bool { return true })
}
