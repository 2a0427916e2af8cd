// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/rest"
)

// clients are those that upstream gets for webhooks. Upstream's own resolver
// would return the token of porticod's pod, and fails the test if it is asked.
func clients(t *testing.T, w *world, loopback string) webhook.AuthenticationInfoResolver {
	t.Helper()
	wrap, err := w.WebhookClients(&rest.Config{Host: loopback, BearerToken: "loopback"})
	if err != nil {
		t.Fatal(err)
	}
	asked := func() (*rest.Config, error) {
		t.Error("upstream's resolver of credentials was asked")
		return &rest.Config{BearerToken: "host"}, nil
	}
	return wrap(&webhook.AuthenticationInfoResolverDelegator{
		ClientConfigForFunc:        func(string) (*rest.Config, error) { return asked() },
		ClientConfigForServiceFunc: func(string, string, int) (*rest.Config, error) { return asked() },
	})
}

// A tenant's webhook is at the name of the API server, for which upstream falls
// back to the ServiceAccount of the process's own pod: the host's token would
// go to the tenant's server. No webhook gets a credential but the API server
// itself, which is dialled at its loopback address, wherever the name leads.
func TestAttackHostTokenForTheNameOfTheAPIServer(t *testing.T) {
	w := newWorld(t, Config{}, objects()...)
	w.names["kubernetes.default.svc."] = [][]string{{"10.244.0.7"}}
	c := clients(t, w, "https://127.0.0.1:1")
	for _, hostPort := range []string{
		"kubernetes.default.svc:443", "kubernetes.default.svc.:443", "KUBERNETES.default.svc:443", "kubernetes.default.svc:8443",
		"kubernetes.default.svc.cluster.local:443", "kubernetes.default:443", "hook.example.com:443",
	} {
		cfg, err := c.ClientConfigFor(hostPort)
		if err != nil {
			t.Fatal(err)
		}
		checkCredential(t, w, hostPort, cfg, hostPort == "kubernetes.default.svc:443")
	}
	for _, s := range []struct {
		name, namespace string
		port            int
		self            bool
	}{{"kubernetes", "default", 443, true}, {"kubernetes", "default", 8443, false}, {"kubernetes", "a", 443, false}, {"good", "a", 443, false}} {
		cfg, err := c.ClientConfigForService(s.name, s.namespace, s.port)
		if err != nil {
			t.Fatal(err)
		}
		checkCredential(t, w, fmt.Sprint(s), cfg, s.self)
	}
}

// checkCredential: a client of a webhook has no credentials and dials with w; one
// of the API server itself has them and dials nothing but the loopback address.
func checkCredential(t *testing.T, w *world, target string, cfg *rest.Config, self bool) {
	t.Helper()
	w.dialed = nil
	_, err := cfg.Dial(t.Context(), "tcp", "10.244.0.7:443")
	if self {
		var op *net.OpError
		if cfg.BearerToken != "loopback" || len(w.dialed) > 0 || !errors.As(err, &op) || op.Addr.String() != "127.0.0.1:1" {
			t.Errorf("%s: token %q, dialled %v, %v; want the loopback client's own", target, cfg.BearerToken, w.dialed, err)
		}
		return
	}
	if cfg.BearerToken != "" || cfg.BearerTokenFile != "" || cfg.CertFile != "" || len(cfg.CertData) > 0 || cfg.ExecProvider != nil {
		t.Errorf("%s: the client has credentials: %v", target, cfg)
	}
	if err != nil || strings.Join(w.dialed, " ") != "10.244.0.7:443" {
		t.Errorf("%s: dialled %v, %v", target, w.dialed, err)
	}
}

// server answers with TLS, behind the pod's address of w.
func server(t *testing.T, w *world, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(answer)
	t.Cleanup(s.Close)
	w.connect = func(ctx context.Context, network, address string) (net.Conn, error) {
		w.dialed = append(w.dialed, address)
		return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
	}
	return s
}

// call sends a review to the webhook as upstream's client does.
func call(t *testing.T, w *world, s *httptest.Server) error {
	t.Helper()
	cfg, err := clients(t, w, "https://127.0.0.1:1").ClientConfigFor("10.244.0.7:443")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Host = "https://10.244.0.7:443"
	cfg.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	cfg.ServerName = "example.com"
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	cfg.GroupVersion = &schema.GroupVersion{}
	client, err := rest.UnversionedRESTClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client.Post().AbsPath("/hook").Body([]byte(`{}`)).Do(t.Context()).Error()
}

// A webhook redirects the review, with the object in it, to another server and
// to plain HTTP. The redirect is an error and is not followed.
func TestAttackWebhookRedirects(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308, 300, 304} {
		w := newWorld(t, Config{}, objects()...)
		plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("%d was followed", code) }))
		defer plain.Close()
		s := server(t, w, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", plain.URL)
			rw.WriteHeader(code)
		})
		if err := call(t, w, s); !errors.Is(err, errRedirect) || len(w.dialed) != 1 {
			t.Errorf("%d: %v after dialling %v, want the redirect as an error", code, err, w.dialed)
		}
	}
}

// A tenant leads a webhook to a server that answers with something else than a
// review, to read it in the error. No part of such an answer is in the error.
func TestAttackWebhookAnswersAsExfiltration(t *testing.T) {
	const secret = "s3cret"
	for name, answer := range map[string]http.HandlerFunc{
		"error":      func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, secret, http.StatusInternalServerError) },
		"not found":  func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, secret, http.StatusNotFound) },
		"text":       func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, secret) },
		"list":       func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, ` ["`+secret+`"]`) },
		"not HTTP":   raw(secret + " 220 ready\r\n\r\n"),
		"bad header": raw("HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n"),
		"Status": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(rw, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"`+secret+`","code":403}`)
		},
	} {
		w := newWorld(t, Config{}, objects()...)
		if err := call(t, w, server(t, w, answer)); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want an error without the answer", name, err)
		}
	}
}

// raw answers with bytes.
func raw(text string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(rw).Hijack()
		if err == nil {
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}
}

func TestReviewsPass(t *testing.T) {
	w := newWorld(t, Config{}, objects()...)
	s := server(t, w, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/hook" {
			t.Errorf("path %s", r.URL.Path)
		}
		_, _ = io.WriteString(rw, "\n {\"kind\":\"AdmissionReview\"}")
	})
	if err := call(t, w, s); err != nil {
		t.Error(err)
	}
}
