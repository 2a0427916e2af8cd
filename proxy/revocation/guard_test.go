// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package revocation_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"portico.dev/portico/certs"
	"portico.dev/portico/proxy/revocation"
)

func authority(t *testing.T) *certs.Authority {
	t.Helper()
	a, err := certs.NewAuthority("clients", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// fixture is a server whose requests last until they are ended.
type fixture struct {
	*httptest.Server
	guard  *revocation.Guard
	roots  atomic.Pointer[x509.CertPool]
	opened chan string // protocol of a request that is open
	ended  chan struct{}
}

func (f *fixture) accept(of ...*certs.Authority) {
	pool := x509.NewCertPool()
	for _, a := range of {
		pool.AppendCertsFromPEM(a.CertPEM())
	}
	f.roots.Store(pool)
}

func serve(t *testing.T, of ...*certs.Authority) *fixture {
	t.Helper()
	f := &fixture{opened: make(chan string, 10), ended: make(chan struct{}, 10)}
	f.accept(of...)
	f.guard = revocation.NewGuard(func() (x509.VerifyOptions, bool) {
		return x509.VerifyOptions{Roots: f.roots.Load(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, true
	})
	f.Server = httptest.NewUnstartedServer(f.guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { f.ended <- struct{}{} }()
		if r.URL.Path == "/stream" {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			_ = rw.Flush()
			f.opened <- "stream"
			_, _ = io.Copy(io.Discard, rw) // until it is closed
			return
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		f.opened <- r.Proto
		<-r.Context().Done()
	})))
	f.EnableHTTP2 = true
	f.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	f.StartTLS()
	t.Cleanup(f.CloseClientConnections)
	return f
}

// tlsConfig is that of a client with a certificate of an authority, or without.
func (f *fixture) tlsConfig(t *testing.T, a *certs.Authority) *tls.Config {
	t.Helper()
	c := f.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	if a != nil {
		pair, err := a.Issue(certs.Leaf{CommonName: "admin", Usage: certs.Client})
		if err != nil {
			t.Fatal(err)
		}
		cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c
}

func (f *fixture) get(t *testing.T, a *certs.Authority, http2 bool) io.ReadCloser {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: f.tlsConfig(t, a), ForceAttemptHTTP2: http2}
	if !http2 {
		transport.TLSClientConfig.NextProtos = nil
	}
	t.Cleanup(transport.CloseIdleConnections)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response.Body
}

func wait[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: not within 20 s", what)
	}
	return v
}

// A client holds requests open, and its authority is taken from the list. They
// end; those of others go on.
func TestAttackKeepAWatchOpenBeyondRevocation(t *testing.T) {
	for protocol, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(protocol, func(t *testing.T) {
			old, other := authority(t), authority(t)
			f := serve(t, old, other)
			revoked := f.get(t, old, http2)
			if got := wait(t, "open", f.opened); got != protocol {
				t.Fatalf("the request is %s", got)
			}
			f.get(t, other, http2)
			wait(t, "open", f.opened)
			f.get(t, nil, http2)
			wait(t, "open", f.opened)
			f.guard.Enqueue()
			if len(f.ended) > 0 {
				t.Error("a request ended without a change")
			}
			f.accept(other)
			f.guard.Enqueue()
			wait(t, "the revoked request ends", f.ended)
			if _, err := io.ReadAll(revoked); err != nil {
				t.Errorf("its body does not end as it should: %v", err)
			}
			f.accept(old, other)
			f.guard.Enqueue()
			if len(f.ended) > 0 {
				t.Error("a request of another client ended")
			}
		})
	}
}

// A client holds a stream open that took its connection over, as kubectl exec
// does. It ends with its authority.
func TestAttackKeepAStreamOpenBeyondRevocation(t *testing.T) {
	old := authority(t)
	f := serve(t, old)
	c := f.tlsConfig(t, old)
	c.NextProtos = nil
	conn, err := tls.Dial("tcp", f.Listener.Addr().String(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	wait(t, "open", f.opened)
	reader := bufio.NewReader(conn)
	if response, err := http.ReadResponse(reader, nil); err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v", response, err)
	}
	f.accept()
	f.guard.Enqueue()
	wait(t, "the stream ends", f.ended)
	if n, err := reader.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes of a stream that should be closed", n)
	}
}
