// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// get asks a cluster for its name.
func get(t *testing.T, tr *http.Transport, server string) (string, error) {
	t.Helper()
	t.Cleanup(tr.CloseIdleConnections)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: tr}).Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestNameInTheHandshakeLeadsToItsDoor(t *testing.T) {
	h := newHost(t, nil)
	for name, want := range map[string]string{
		"shop.team-a.svc":        "team-a/shop HTTP/2.0",
		"shop.team-b.svc":        "team-b/shop HTTP/2.0",
		"shop.team-b.gw.example": "team-b/shop HTTP/2.0",
		"SHOP.Team-A.GW.example": "team-a/shop HTTP/2.0",
	} {
		tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool(h.authority), ServerName: name}}
		got, err := get(t, tr, "https://"+h.address)
		if err != nil || got != want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, want)
		}
		tr.CloseIdleConnections()
	}
	h.settled(t)
}

func TestUnknownNameIsAnAlert(t *testing.T) {
	h := newHost(t, func(o *Options) { o.TLS = nil })
	// A client that is given an address sends no name.
	for _, name := range []string{"nobody.team-a.svc", "gw.example", "shop.gw.example", "a.shop.team-a.svc", "example.com", "127.0.0.1"} {
		c := tls.Client(h.connect(t), &tls.Config{ServerName: name, RootCAs: pool(h.authority), MinVersion: tls.VersionTLS12})
		if err := c.HandshakeContext(t.Context()); !isAlert(err, alertUnrecognized) {
			t.Errorf("%q: %v", name, err)
		}
	}
	h.settled(t)
}

func TestConnectLeadsToTheTokensCluster(t *testing.T) {
	h := newHost(t, nil)
	_, port, _ := net.SplitHostPort(h.address)
	proxy := &url.URL{Scheme: "https", Host: "localhost:" + port, User: url.UserPassword("portico", tokenOf("team-a", "shop.gateway"))}
	tr := &http.Transport{ForceAttemptHTTP2: true, Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool(h.authority)}}
	got, err := get(t, tr, "https://shop.team-a.svc")
	if err != nil || got != "team-a/shop HTTP/2.0" {
		t.Errorf("%q (%v)", got, err)
	}
	// net/http shows the reason of a refusal, and so does kubectl.
	if _, err := get(t, tr, "https://shop.team-b.svc"); err == nil || !strings.Contains(err.Error(), "the token is for shop.team-a.svc:443 only") {
		t.Errorf("another cluster: %v", err)
	}
	tr.CloseIdleConnections()
	h.settled(t)
}

// TestConnectKeepsEarlyBytes: a client may send its handshake right behind the
// request.
func TestConnectKeepsEarlyBytes(t *testing.T) {
	h := newHost(t, nil)
	c := h.secure(t)
	early := helloOf(t, "shop.team-a.svc")
	if _, err := io.WriteString(c, request("shop.team-a.svc:443", tokenOf("team-a", "shop.gateway"))+string(early)); err != nil {
		t.Fatal(err)
	}
	if r := answer(t, c); r.StatusCode != http.StatusOK {
		t.Fatal(r.Status)
	}
	// The door answers with its part of the handshake.
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil || first[0] != recordHandshake {
		t.Errorf("%x (%v)", first, err)
	}
}

func TestConnectToASilentDoorSaysSo(t *testing.T) {
	h := newHost(t, nil)
	h.book[shop] = netip.MustParseAddrPort("127.0.0.1:1")
	r := h.say(t, request("shop.team-a.svc:443", tokenOf("team-a", "shop.gateway")))
	if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(r.Status, "the virtual cluster does not answer") || r.Header.Get("Retry-After") == "" {
		t.Errorf("%s, %v", r.Status, r.Header)
	}
	if _, err := h.handshake(t, "shop.team-a.svc"); !isAlert(err, alertInternal) {
		t.Errorf("by name: %v", err)
	}
}

func TestPlainHTTPIsForThoseWhoAskForIt(t *testing.T) {
	h := newHost(t, nil)
	c := h.connect(t)
	if _, err := io.WriteString(c, request("shop.team-a.svc:443", tokenOf("team-a", "shop.gateway"))); err != nil {
		t.Fatal(err)
	}
	if r := answer(t, c); r.StatusCode != http.StatusBadRequest || !strings.Contains(r.Status, "speaks TLS") {
		t.Errorf("not permitted: %s", r.Status)
	}
	h = newHost(t, func(o *Options) { o.Plain = true })
	c = h.connect(t)
	if _, err := io.WriteString(c, request("shop.team-a.svc:443", tokenOf("team-a", "shop.gateway"))); err != nil {
		t.Fatal(err)
	}
	if r := answer(t, c); r.StatusCode != http.StatusOK {
		t.Errorf("permitted: %s", r.Status)
	}
}

// TestShutdownWaitsForTunnels: and cuts off those that outlive its patience.
func TestShutdownWaitsForTunnels(t *testing.T) {
	h := newHost(t, nil)
	first, err := h.handshake(t, "shop.team-a.svc")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.gateway.Shutdown(t.Context()) }()
	<-h.gateway.draining
	// The tunnel goes on.
	if _, err := io.WriteString(first, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if r := answer(t, first); r.StatusCode != http.StatusOK {
		t.Errorf("while draining: %s", r.Status)
	}
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	default:
	}
	first.Close()
	if err := <-done; err != nil {
		t.Errorf("after the last tunnel: %v", err)
	}

	h = newHost(t, nil)
	if _, err := h.handshake(t, "shop.team-a.svc"); err != nil {
		t.Fatal(err)
	}
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.gateway.Shutdown(now); !errors.Is(err, context.Canceled) || h.gateway.Open() != 0 {
		t.Errorf("without patience: %v, %d open", err, h.gateway.Open())
	}
}

func TestNames(t *testing.T) {
	s := suffixesOf([]string{"gw.example", ".GW.example.", "", "example"})
	for host, want := range map[string]types.NamespacedName{
		"shop.team-a.svc":                       shop,
		"shop.team-a.gw.example":                shop,
		"shop.team-a.example":                   shop,
		"shop.team-a":                           {},
		"shop.svc":                              {},
		".team-a.svc":                           {},
		"shop..svc":                             {},
		"shop.team-a.svc.":                      {},
		"x.shop.team-a.svc":                     {},
		"*.team-a.svc":                          {},
		"shop.team_a.svc":                       {},
		"shop\x00.team-a.svc":                   {},
		"shop.team-a.svc.evil.test":             {},
		strings.Repeat("a", 64) + ".team-a.svc": {},
	} {
		if got, ok := s.cluster(host); got != want || ok != (want != types.NamespacedName{}) {
			t.Errorf("%q: %v, %v; want %v", host, got, ok, want)
		}
	}
}
