// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// apiServer answers whether a controller may work and which kinds there are,
// and knows nothing else: enough to build and start every controller, whose
// informers then retry.
func apiServer(t *testing.T, impersonated *atomic.Value) *rest.Config {
	t.Helper()
	certificates := metav1.GroupVersionForDiscovery{GroupVersion: "certificates.k8s.io/v1", Version: "v1"}
	answers := map[string]any{
		"/api":    metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}},
		"/api/v1": resources("v1", "pods", true),
		"/apis": metav1.APIGroupList{
			TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"},
			Groups: []metav1.APIGroup{{
				Name: "certificates.k8s.io", PreferredVersion: certificates,
				Versions: []metav1.GroupVersionForDiscovery{certificates},
			}},
		},
		"/apis/certificates.k8s.io/v1": resources("certificates.k8s.io/v1", "clustertrustbundles", false),
		"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": authorizationv1.SelfSubjectAccessReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
			Status:   authorizationv1.SubjectAccessReviewStatus{Allowed: true},
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, known := answers[r.URL.Path]
		if !known {
			http.NotFound(w, r)
			return
		}
		if r.Method == http.MethodPost {
			impersonated.Store(r.Header.Get("Impersonate-User"))
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}
}

func resources(groupVersion, name string, namespaced bool) metav1.APIResourceList {
	return metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: groupVersion,
		APIResources: []metav1.APIResource{{Name: name, Namespaced: namespaced, Verbs: metav1.Verbs{"list", "create", "watch", "delete"}}},
	}
}

func testConfig(t *testing.T, mode Mode, kubeconfig *rest.Config) Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: "test"}, key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	caPEM, err := certutil.EncodeCertificates(ca)
	if err != nil {
		t.Fatal(err)
	}
	caFile, keyFile := write("ca.crt", caPEM), write("ca.key", keyPEM)
	return Config{
		Mode: mode, Kubeconfig: kubeconfig, ResourceClaims: true,
		Informers:  informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(kubeconfig), 0),
		RootCAFile: caFile, ServiceAccountKeyFile: keyFile, SigningCertFile: caFile, SigningKeyFile: keyFile,
		Scheduler: mode == Host,
	}
}

// Every selected controller can be built, acts as a service account, and ends
// when asked to.
func TestRunStartsAndStops(t *testing.T) {
	for _, mode := range []Mode{Virtual, Host} {
		t.Run(mode.String(), func(t *testing.T) {
			var impersonated atomic.Value
			cfg := testConfig(t, mode, apiServer(t, &impersonated))

			ctx, cancel := context.WithCancel(t.Context())
			list, shared, err := build(ctx, cfg, serviceAccountClients{base: cfg.Kubeconfig})
			if err != nil {
				t.Fatal(err)
			}
			descriptors, err := selected(ctx, cfg)
			if err != nil {
				t.Fatal(err)
			}
			want := len(descriptors) - len(lateControllers()) + 1 // the token controller
			if cfg.Scheduler {
				want++
			}
			if len(list) != want {
				t.Errorf("built %d controllers, want %d", len(list), want)
			}
			if shared.GraphBuilder == nil {
				t.Error("the garbage collector has no graph")
			}
			cancel()
		})
	}

	t.Run("run", func(t *testing.T) {
		var impersonated atomic.Value
		cfg := testConfig(t, Virtual, apiServer(t, &impersonated))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Run(ctx, cfg) }()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v after its context ended", err)
		}
	})
}

func TestRunActsAsServiceAccount(t *testing.T) {
	var impersonated atomic.Value
	base := apiServer(t, &impersonated)
	if err := waitForAuthorization(t.Context(), base, serviceAccountClients{base: base}); err != nil {
		t.Fatal(err)
	}
	if got, want := impersonated.Load(), "system:serviceaccount:kube-system:namespace-controller"; got != want {
		t.Errorf("acted as %v, want %s", got, want)
	}
}

func TestRunRefusesIncompleteConfig(t *testing.T) {
	err := Run(t.Context(), Config{SigningKeyFile: "key"})
	if err == nil {
		t.Fatal("Run accepted an empty configuration")
	}
	for _, part := range []string{"client configuration", "informers", "root CA", "service account key", "signing certificate"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not mention %q", err, part)
		}
	}
}

func TestMissingKeyFileIsAnError(t *testing.T) {
	var impersonated atomic.Value
	cfg := testConfig(t, Virtual, apiServer(t, &impersonated))
	cfg.ServiceAccountKeyFile = filepath.Join(t.TempDir(), "none")
	if err := Run(t.Context(), cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want an error about the missing file", err)
	}
}

// A controller's panic ends Run with the panic and its stack, and is not lost
// among the errors of the shutdown.
func TestPanicEndsRun(t *testing.T) {
	ctx, fail := context.WithCancelCause(t.Context())
	defer fail(nil)
	bad := guard(loop{name: "bad-controller", run: func(context.Context) { panic("no such luck") }}, fail)
	good := guard(loop{name: "good-controller", run: func(ctx context.Context) { <-ctx.Done() }}, fail)
	if !app.RunControllers(ctx, app.ControllerContext{}, []app.Controller{bad, good}, 0, stopTimeout) {
		t.Error("the other controller did not end")
	}
	err := stopped(ctx, nil)
	if err == nil || !strings.Contains(err.Error(), "bad-controller") || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("got %v, want the panic of bad-controller", err)
	}
}
