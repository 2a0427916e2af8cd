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
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/certificates"
	"portico.dev/portico/sync/internal/harness"
)

// fixture is a controller between a fake virtual cluster and a fake host.
type fixture struct {
	*harness.Harness
	events *record.FakeRecorder
}

func start(t *testing.T) *fixture {
	t.Helper()
	h := &fixture{events: record.NewFakeRecorder(10), Harness: harness.New(t, []runtime.Object{
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", UID: "node-uid"}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "builder", UID: "account-uid"}},
	}, nil)}
	// The fake does not make names.
	var made atomic.Int32
	h.Virtual.PrependReactor("create", "podcertificaterequests", func(a clienttesting.Action) (bool, runtime.Object, error) {
		r := a.(clienttesting.CreateAction).GetObject().(*certificatesv1.PodCertificateRequest)
		r.Name = fmt.Sprintf("%s%d", r.GenerateName, made.Add(1))
		return false, nil, nil
	})
	c, err := certificates.New(certificates.Config{
		Translator: h.Translator, Virtual: h.Virtual, Informers: h.Informers, Host: h.Host, Events: h.events, Clock: h.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Run(c.Run)
	return h
}

func (h *fixture) createPod() *corev1.Pod {
	h.T.Helper()
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
	if _, err := h.Virtual.CoreV1().Pods("default").Create(h.T.Context(), p, metav1.CreateOptions{}); err != nil {
		h.T.Fatal(err)
	}
	return p
}

func (h *fixture) eventually(what string, holds func(ctx context.Context) bool) {
	h.T.Helper()
	h.Eventually(what, func(ctx context.Context) (bool, any) { return holds(ctx), nil })
}

// request waits for the nth request.
func (h *fixture) request(n int) *certificatesv1.PodCertificateRequest {
	h.T.Helper()
	var r *certificatesv1.PodCertificateRequest
	h.eventually(fmt.Sprintf("request %d", n), func(ctx context.Context) bool {
		var err error
		r, err = h.Virtual.CertificatesV1().PodCertificateRequests("default").Get(ctx, fmt.Sprintf("req-%d", n), metav1.GetOptions{})
		return err == nil
	})
	return r
}

func (h *fixture) decide(r *certificatesv1.PodCertificateRequest, verdict, chain string) {
	h.T.Helper()
	r.Status.Conditions = []metav1.Condition{{Type: verdict, Status: metav1.ConditionTrue, Reason: "Because", Message: "of that"}}
	r.Status.CertificateChain = chain
	r.Status.BeginRefreshAt = ptr.To(metav1.NewTime(h.Clock.Now().Add(time.Hour)))
	r.Status.NotAfter = ptr.To(metav1.NewTime(h.Clock.Now().Add(2 * time.Hour)))
	if _, err := h.Virtual.CertificatesV1().PodCertificateRequests("default").UpdateStatus(h.T.Context(), r, metav1.UpdateOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

func (h *fixture) secret(what string, want func(*corev1.Secret) bool) *corev1.Secret {
	h.T.Helper()
	var s *corev1.Secret
	h.eventually(what, func(ctx context.Context) bool {
		var err error
		s, err = h.Host.CoreV1().Secrets(harness.HostNamespace).Get(ctx, h.Translator.CertificateSecretName("default", "web"), metav1.GetOptions{})
		return err == nil && want(s)
	})
	return s
}

func certificate(content string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(content)}))
}

func TestCertificateReachesThePod(t *testing.T) {
	h := start(t)
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
	h := start(t)
	h.createPod()
	h.decide(h.request(1), certificatesv1.PodCertificateRequestConditionTypeDenied, "")
	if event := <-h.events.Events; !strings.Contains(event, "Denied") || !strings.Contains(event, "Because: of that") {
		t.Errorf("event: %s", event)
	}
	h.Clock.Step(24 * time.Hour)
	list, err := h.Virtual.CertificatesV1().PodCertificateRequests("").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%d requests after a refusal, want 1 (%v)", len(list.Items), err)
	}
	if _, err := h.Host.CoreV1().Secrets(harness.HostNamespace).Get(t.Context(), h.Translator.CertificateSecretName("default", "web"), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("secret after a refusal: %v", err)
	}
}

func TestRenewalWhenTheSignerSaysSo(t *testing.T) {
	h := start(t)
	p := h.createPod()
	h.decide(h.request(1), certificatesv1.PodCertificateRequestConditionTypeIssued, certificate("first"))
	chain := rewrite.CertificateProjections(p)[0].ChainKey()
	h.secret("first certificate", func(s *corev1.Secret) bool { return string(s.Data[chain]) == certificate("first") })
	// The time of renewal is spread over five minutes after the signer's.
	h.eventually("a timer for the renewal", func(context.Context) bool { return h.Clock.HasWaiters() })
	h.Clock.Step(66 * time.Minute)
	h.decide(h.request(2), certificatesv1.PodCertificateRequestConditionTypeIssued, certificate("second"))
	h.secret("second certificate", func(s *corev1.Secret) bool { return string(s.Data[chain]) == certificate("second") })
}

func TestDeletedSecretComesBack(t *testing.T) {
	h := start(t)
	h.createPod()
	h.decide(h.request(1), certificatesv1.PodCertificateRequestConditionTypeIssued, certificate("first"))
	s := h.secret("secret", func(*corev1.Secret) bool { return true })
	if err := h.Host.CoreV1().Secrets(harness.HostNamespace).Delete(t.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.decide(h.request(2), certificatesv1.PodCertificateRequestConditionTypeIssued, certificate("second"))
	h.secret("secret again", func(*corev1.Secret) bool { return true })
}
