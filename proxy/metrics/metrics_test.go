// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"portico.dev/portico/certs"
	"portico.dev/portico/proxy/metrics"
)

// registry has one series of each name.
func registry(t *testing.T, names ...string) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewRegistry()
	for _, name := range names {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "A gauge."})
		if err := r.Register(g); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func ask(t *testing.T, h http.Handler, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return w.Code, w.Body.String()
}

// A tenant reads the metrics of their API server, to learn the address of the
// host's API, the load of the host, and the size of the process from them.
func TestAttackMetricsOfTheHost(t *testing.T) {
	r := registry(t, "apiserver_requests", "rest_client_requests_total", "portico_host_requests_total", "portico_store_used_bytes",
		"process_resident_memory_bytes", "go_goroutines", "workqueue_depth", "leader_election_master_status", "a_family_of_tomorrow")
	code, body := ask(t, metrics.ForTenants(r), http.MethodGet, "/metrics")
	if code != http.StatusOK || !strings.Contains(body, "\napiserver_requests 0\n") {
		t.Errorf("GET: %d\n%s", code, body)
	}
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "apiserver_requests ") {
			t.Errorf("a tenant reads %s", line)
		}
	}
}

// broken is a gauge that cannot be read.
type broken struct{ desc *prometheus.Desc }

func newBroken(name string) broken {
	return broken{prometheus.NewDesc(name, "A gauge that cannot be read.", nil, nil)}
}

func (b broken) Describe(ch chan<- *prometheus.Desc) { ch <- b.desc }

func (b broken) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(b.desc, errors.New("/var/lib/portico/pki/ca.crt is damaged"))
}

// A tenant reads of the host in the error of a measurement that is hidden from
// them.
func TestAttackErrorOfAHiddenMeasurement(t *testing.T) {
	r := registry(t, "apiserver_requests")
	none := registry(t)
	for _, all := range []*prometheus.Registry{r, none} {
		if err := all.Register(newBroken("portico_broken")); err != nil {
			t.Fatal(err)
		}
		if _, body := ask(t, metrics.ForTenants(all), http.MethodGet, "/metrics"); strings.Contains(body, "portico") {
			t.Errorf("a tenant reads %s", body)
		}
	}
	if code, body := ask(t, metrics.ForTenants(r), http.MethodGet, "/metrics"); code != http.StatusOK || !strings.Contains(body, "\napiserver_requests 0\n") {
		t.Errorf("GET: %d\n%s", code, body)
	}
}

// A tenant resets the metrics, which upstream's handler allows, so that the
// operator's alerts see nothing.
func TestAttackMetricsAreReset(t *testing.T) {
	h := metrics.ForTenants(registry(t, "apiserver_requests"))
	for _, method := range []string{http.MethodDelete, http.MethodPost, http.MethodPut, http.MethodPatch} {
		if code, _ := ask(t, h, method, "/metrics"); code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d, want 405", method, code)
		}
	}
}

// listen runs a listener, and returns a client that trusts it and its address.
func listen(t *testing.T, l metrics.Listener) (*http.Client, string) {
	t.Helper()
	authority, err := certs.NewAuthority("test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(certs.Leaf{CommonName: "metrics", Usage: certs.Server, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	l.Certificate = func() (*tls.Certificate, error) {
		c, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
		return &c, err
	}
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the listener ended with %v", err)
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.CertPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, socket.Addr().String()
}

func scrape(t *testing.T, client *http.Client, url, authorization string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestTheOperatorReadsEverything(t *testing.T) {
	client, at := listen(t, metrics.Listener{
		Token:     "the-token",
		Gatherers: prometheus.Gatherers{registry(t, "portico_one", "rest_client_two"), registry(t, "portico_three")},
	})
	code, body := scrape(t, client, "https://"+at+"/metrics", "Bearer the-token")
	for _, want := range []string{"\nportico_one 0\n", "\nrest_client_two 0\n", "\nportico_three 0\n"} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("code %d, without %q:\n%s", code, want, body)
		}
	}
	if code, _ := scrape(t, client, "https://"+at+"/debug/pprof/", "Bearer the-token"); code != http.StatusNotFound {
		t.Errorf("another path: %d, want 404", code)
	}
}

// One measurement that cannot be made leaves the operator all others.
func TestTheOperatorReadsTheRest(t *testing.T) {
	r := registry(t, "portico_one")
	if err := r.Register(newBroken("portico_broken")); err != nil {
		t.Fatal(err)
	}
	client, at := listen(t, metrics.Listener{Token: "the-token", Gatherers: prometheus.Gatherers{r, registry(t, "portico_three")}})
	code, body := scrape(t, client, "https://"+at+"/metrics", "Bearer the-token")
	for _, want := range []string{"\nportico_one 0\n", "\nportico_three 0\n"} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("code %d, without %q:\n%s", code, want, body)
		}
	}
}

// A pod of a tenant reaches the operator's listener, which is in the same
// network, and has no token, a guessed one, or credentials for the API.
func TestAttackPodReadsTheOperatorsMetrics(t *testing.T) {
	sources := prometheus.Gatherers{registry(t, "portico_one")}
	client, at := listen(t, metrics.Listener{Token: "the-token", Gatherers: sources})
	for _, authorization := range []string{"", "Bearer", "Bearer ", "Bearer the-token2", "Bearer the-toke", "bearer  the-token", "Basic dGhlLXRva2VuOg=="} {
		code, body := scrape(t, client, "https://"+at+"/metrics", authorization)
		if code != http.StatusUnauthorized || strings.Contains(body, "portico_one") {
			t.Errorf("with %q: %d, %s", authorization, code, body)
		}
	}
	// A listener without a token would otherwise take the empty one.
	client, at = listen(t, metrics.Listener{Gatherers: sources})
	if code, _ := scrape(t, client, "https://"+at+"/metrics", "Bearer "); code != http.StatusUnauthorized {
		t.Errorf("no token is set: %d, want 401", code)
	}
}
