// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"portico.dev/portico/certs"
)

func TestProbe(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusInternalServerError) // not yet
			return
		}
		fmt.Fprint(w, "ok from "+r.URL.Path)
	}))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := Main(t.Context(), Streams{Err: &out}, []string{"probe", "--server", server.URL, "--ca-file", ca}); code != 0 || out.String() != "ok from /readyz\n" || asked.Load() != 2 {
		t.Errorf("code %d after %d questions: %s", code, asked.Load(), out.String())
	}
	// Somebody else at the cluster's address is a failure, and at once.
	other, err := certs.NewAuthority("other", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, other.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if code := Main(t.Context(), Streams{Err: &out}, []string{"probe", "--server", server.URL, "--ca-file", ca}); code != 1 || !strings.Contains(out.String(), "certificate signed by unknown authority") {
		t.Errorf("code %d: %s", code, out.String())
	}
}
