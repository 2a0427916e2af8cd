// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// host answers a list of Services when the test lets it, and a watch never.
func host(t *testing.T, list <-chan struct{}) (kubeconfig string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "" {
			select {
			case <-list:
			case <-r.Context().Done():
				return
			}
			fmt.Fprint(w, `{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`)
			return
		}
		if r.URL.Query().Get("sendInitialEvents") != "" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`)
			return
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	c := api.NewConfig()
	c.Clusters["h"] = &api.Cluster{Server: s.URL}
	c.Contexts["h"] = &api.Context{Cluster: "h"}
	c.CurrentContext = "h"
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, kubeconfig); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// TestRun: it is ready when it knows the host's doors, and ends with its
// context.
func TestRun(t *testing.T) {
	list := make(chan struct{})
	kubeconfig := host(t, list)
	ctx, cancel := context.WithCancel(t.Context())
	at, ended := &addresses{listening: make(chan struct{})}, make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--kubeconfig", kubeconfig, "--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"}, at)
	}()
	select {
	case <-at.listening:
	case err := <-ended:
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at.health.String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("alive: %d", code)
	}
	if code, _ := get("/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("ready before it knows the doors: %d", code)
	}
	close(list)
	for code := 0; code != http.StatusOK; code, _ = get("/readyz") {
		if t.Context().Err() != nil {
			t.Fatal("never ready")
		}
	}
	c, err := (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "shop.team-a.svc"}}).DialContext(t.Context(), "tcp", at.clients.String())
	if err == nil {
		c.Close()
		t.Error("led to a cluster that is not there")
	}
	if _, body := get("/metrics"); !strings.Contains(body, `portico_gateway_connections_total{result="unknown",way="sni"} 1`) {
		t.Errorf("metrics without the refusal:\n%s", body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the end: %v", err)
	}
	if err := run(t.Context(), []string{"--kubeconfig", filepath.Join(t.TempDir(), "none")}, nil); err == nil || !strings.Contains(err.Error(), "find the host") {
		t.Errorf("without a host: %v", err)
	}
}
