// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/certs"
)

// patience is for events that take an instant.
const patience = 30 * time.Second

var (
	shop  = types.NamespacedName{Namespace: "team-a", Name: "shop"}
	other = types.NamespacedName{Namespace: "team-b", Name: "shop"}
)

// book is a directory of clusters.
type book map[types.NamespacedName]netip.AddrPort

func (b book) Door(cluster types.NamespacedName) (netip.AddrPort, error) {
	if at, ok := b[cluster]; ok {
		return at, nil
	}
	return netip.AddrPort{}, ErrNoDoor
}

// authority issues the certificates of a test.
func authority(t *testing.T) *certs.Authority {
	t.Helper()
	a, err := certs.NewAuthority("test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *certs.Authority, names ...string) tls.Certificate {
	t.Helper()
	pair, err := a.Issue(certs.Leaf{CommonName: names[0], DNSNames: names, Usage: certs.Server})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func pool(a *certs.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(a.CertPEM())
	return p
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// host is two clusters, whose doors answer with their names.
type host struct {
	authority *certs.Authority
	book      book
	gateway   *Gateway
	address   string
	reviews   *fake.Clientset
}

// tokenOf returns a text that the host of the tests takes for a token of an
// account.
func tokenOf(namespace, account string) string {
	return "x." + strings.ReplaceAll(namespace+"/"+account, ".", "~") + ".y"
}

// reviewed makes a client answer TokenReviews.
func reviewed(audience string) *fake.Clientset {
	c := fake.NewClientset()
	c.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		r := a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		inner := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(r.Spec.Token, "x."), ".y"), "~", ".")
		if namespace, account, ok := strings.Cut(inner, "/"); ok && len(inner) == len(r.Spec.Token)-4 {
			r.Status.Authenticated = true
			r.Status.User.Username = "system:serviceaccount:" + namespace + ":" + account
			if audience != "" {
				r.Status.Audiences = []string{audience}
			}
		}
		return true, r, nil
	})
	return c
}

func newHost(t *testing.T, change func(*Options)) *host {
	t.Helper()
	h := &host{authority: authority(t), book: book{}, reviews: reviewed(Audience)}
	for _, c := range []types.NamespacedName{shop, other} {
		l := listen(t)
		h.book[c] = netip.MustParseAddrPort(l.Addr().String())
		s := &http.Server{
			ReadHeaderTimeout: patience, ErrorLog: log.New(io.Discard, "", 0),
			Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", c, r.Proto) }),
			TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{issue(t, h.authority, c.Name+"."+c.Namespace+".svc", c.Name+"."+c.Namespace+".gw.example")}},
		}
		go func() { _ = s.ServeTLS(l, "", "") }()
		t.Cleanup(func() { s.Close() })
	}
	o := Options{
		Doors: h.book, Domains: []string{"gw.example."},
		Reviewer: NewTokens(h.reviews.AuthenticationV1().TokenReviews(), nil),
		TLS:      &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{issue(t, h.authority, "gw.example", "localhost")}},
	}
	if change != nil {
		change(&o)
	}
	h.gateway = New(o)
	l := listen(t)
	h.address = l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.gateway.Serve(ctx, l) }()
	t.Cleanup(func() {
		now, stop := context.WithCancel(context.Background())
		stop()
		_ = h.gateway.Shutdown(now)
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return h
}

func (h *host) connect(t *testing.T) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", h.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// secure connects to the gateway itself.
func (h *host) secure(t *testing.T) net.Conn {
	t.Helper()
	return tls.Client(h.connect(t), &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool(h.authority), ServerName: "gw.example"})
}

// handshake names a cluster in the handshake.
func (h *host) handshake(t *testing.T, name string) (*tls.Conn, error) {
	t.Helper()
	c := tls.Client(h.connect(t), &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool(h.authority), ServerName: name})
	return c, c.HandshakeContext(t.Context())
}

// say sends bytes to the gateway, over TLS, and returns the answer's head.
func (h *host) say(t *testing.T, request string) *http.Response {
	t.Helper()
	c := h.secure(t)
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return answer(t, c)
}

func answer(t *testing.T, c net.Conn) *http.Response {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	t.Cleanup(func() { r.Body.Close() })
	return r
}

func basic(token string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth("portico", token)
	return r.Header.Get("Authorization")
}

func request(target, token string) string {
	return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\nProxy-Authorization: " + basic(token) + "\r\n\r\n"
}

// settled waits until no connection is open.
func (h *host) settled(t *testing.T) {
	t.Helper()
	deadline := time.After(patience)
	for h.gateway.Open() > 0 {
		select {
		case <-h.gateway.gone:
		case <-deadline:
			t.Fatalf("%d connections stay open", h.gateway.Open())
		}
	}
	h.gateway.counts.mu.Lock()
	defer h.gateway.counts.mu.Unlock()
	if c := h.gateway.counts; c.all != 0 || len(c.clients) != 0 {
		t.Errorf("still counted: %d connections, clients %v", c.all, c.clients)
	}
}

func service(change func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: shop.Namespace, Name: shop.Name,
			Labels:      map[string]string{"portico.dev/cluster": shop.Name, "portico.dev/namespace": "default"},
			Annotations: map[string]string{"portico.dev/name": "kubernetes", "portico.dev/namespace": "default", "portico.dev/kind": "Service"},
		},
		Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.7", Type: corev1.ServiceTypeClusterIP,
			Ports: []corev1.ServicePort{{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP}},
		},
	}
	if change != nil {
		change(s)
	}
	return s
}

// isAlert reports whether a handshake was refused with an alert.
func isAlert(err error, alert uint8) bool {
	var got tls.AlertError
	var remote *net.OpError
	if errors.As(err, &got) {
		return uint8(got) == alert
	}
	return errors.As(err, &remote) && remote.Op == "remote error" && remote.Err.Error() == tls.AlertError(alert).Error()
}

// fixed is a clock that stands still.
type fixed struct{ now time.Time }

func (f fixed) Now() time.Time                  { return f.now }
func (f fixed) Since(t time.Time) time.Duration { return f.now.Sub(t) }

// helloOf returns the first message of a client.
func helloOf(t *testing.T, name string) []byte {
	t.Helper()
	w := &writes{recorder: &recorder{from: strings.NewReader("")}}
	if err := tls.Client(w, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}).HandshakeContext(t.Context()); err == nil {
		t.Fatal("a handshake without a server")
	}
	return w.read
}

// writes keeps the written bytes, and not those that are read.
type writes struct{ *recorder }

func (w *writes) Write(p []byte) (int, error) {
	w.read = append(w.read, p...)
	return len(p), nil
}
