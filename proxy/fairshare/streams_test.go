// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package fairshare_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"portico.dev/portico/proxy/fairshare"
)

type answering func(*http.Request) (*http.Response, error)

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

// connection is the body of an answer that changed protocols.
type connection struct{ io.ReadCloser }

func (connection) Write(p []byte) (int, error) { return len(p), nil }

// A user opens streams and leaves them open, until no user can open any.
func TestAttackOneUserTakesAllStreams(t *testing.T) {
	down := false
	s := fairshare.NewStreams(4, nil)
	transport := s.Bound(answering(func(*http.Request) (*http.Response, error) {
		if down {
			return nil, errors.New("connection refused")
		}
		return &http.Response{Body: connection{io.NopCloser(strings.NewReader("x"))}}, nil
	}))
	open := func(name string) (io.Closer, error) {
		req, err := http.NewRequestWithContext(as(t.Context(), name), http.MethodGet, "https://host", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		if _, ok := resp.Body.(io.ReadWriteCloser); !ok {
			t.Error("a connection that changed protocols cannot be written to")
		}
		return resp.Body, nil
	}
	must := func(name string) io.Closer {
		t.Helper()
		c, err := open(name)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := must("mallory")
	must("mallory")
	if _, err := open("mallory"); !apierrors.IsTooManyRequests(err) {
		t.Errorf("the third of four: %v, want 429", err)
	}
	must("alice")
	down = true
	if _, err := open("alice"); err == nil || apierrors.IsTooManyRequests(err) {
		t.Errorf("with the host down: %v", err)
	}
	down = false
	must("alice") // the failed one is not counted
	if _, err := open("bob"); !apierrors.IsTooManyRequests(err) {
		t.Errorf("the fifth of four: %v, want 429", err)
	}
	for range 2 { // closed twice, counted once
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
	}
	must("bob")
	if _, err := open("bob"); !apierrors.IsTooManyRequests(err) {
		t.Errorf("the fifth of four again: %v, want 429", err)
	}
}
