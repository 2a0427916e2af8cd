// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/certs"
	"portico.dev/portico/proxy/gateway"
	"portico.dev/portico/rewrite/marks"
	"portico.dev/portico/test/embedded"
)

// gatewayTo serves a gateway on loopback. There is no kube-proxy, so that the
// dialer knows where the one cluster's ClusterIP leads.
func gatewayTo(t *testing.T, c *cluster, o gateway.Options) (address string) {
	t.Helper()
	directory := gateway.NewDirectory(c.Host)
	service, err := c.Host.CoreV1().Services(c.Namespace).Get(t.Context(), c.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o.Doors = directory
	o.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		if to.String() != net.JoinHostPort(service.Spec.ClusterIP, "443") {
			t.Errorf("dialled %v", to)
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(c.Config.Host, "https://"))
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watched, served, g := make(chan struct{}), make(chan error, 1), gateway.New(o)
	go func() { defer close(watched); directory.Run(ctx) }()
	go func() { served <- g.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-watched
		if err := <-served; err != nil {
			t.Error(err)
		}
		now, stop := context.WithCancel(context.Background())
		stop()
		_ = g.Shutdown(now) // Clients keep connections for a while.
	})
	if !cache.WaitForCacheSync(ctx.Done(), directory.Synced) {
		t.Fatal("the directory does not fill")
	}
	return l.Addr().String()
}

// TestGateway: ordinary clients work through a gateway, in both ways, with the
// certificates that doors have anyway.
func TestGateway(t *testing.T) {
	c := newCluster(t)
	name := c.Name + "." + c.Namespace + ".svc"
	own, err := certs.NewAuthority("gateway", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := own.Issue(certs.Leaf{CommonName: "localhost", DNSNames: []string{"localhost"}, Usage: certs.Server})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	address := gatewayTo(t, c, gateway.Options{
		Reviewer: gateway.NewTokens(c.Host.AuthenticationV1().TokenReviews(), nil),
		TLS:      &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}},
	})
	token := gatewayToken(t, c)

	byName := rest.CopyConfig(c.Config)
	byName.Host, byName.ServerName = "https://"+address, name
	t.Run("by name", func(t *testing.T) { useThrough(t, byName) })

	connect := rest.CopyConfig(c.Config)
	connect.Host = "https://" + name
	connect.CAData = append(append([]byte(nil), connect.CAData...), own.CertPEM()...)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := func(token string) func(*http.Request) (*url.URL, error) {
		return http.ProxyURL(&url.URL{Scheme: "https", Host: net.JoinHostPort("localhost", port), User: url.UserPassword("portico", token)})
	}
	connect.Proxy = proxy(token)
	t.Run("by CONNECT", func(t *testing.T) { useThrough(t, connect) })

	t.Run("with a token of the host's API", func(t *testing.T) {
		refused := rest.CopyConfig(connect)
		refused.Proxy = proxy(tokenFor(t, c, "https://kubernetes.default.svc"))
		client, err := kubernetes.NewForConfig(refused)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err == nil || !strings.Contains(err.Error(), "does not accept the token") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a cluster that is not there", func(t *testing.T) {
		nobody := rest.CopyConfig(byName)
		nobody.ServerName = "nobody." + c.Namespace + ".svc"
		client, err := kubernetes.NewForConfig(nobody)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%v", err)
		}
	})
}

// gatewayToken returns a token that leads to a cluster.
func gatewayToken(t *testing.T, c *cluster) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: marks.GatewayAccount(c.Name)}}
	if _, err := c.Host.CoreV1().ServiceAccounts(c.Namespace).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return tokenFor(t, c, gateway.Audience)
}

func tokenFor(t *testing.T, c *cluster, audience string) string {
	t.Helper()
	r, err := c.Host.CoreV1().ServiceAccounts(c.Namespace).CreateToken(t.Context(), marks.GatewayAccount(c.Name),
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Status.Token
}

// useThrough lists, watches and writes.
func useThrough(t *testing.T, config *rest.Config) {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	maps := client.CoreV1().ConfigMaps("default")
	list, err := maps.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), embedded.Patience)
	defer cancel()
	w, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	made, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "through-"}, Data: map[string]string{"large": strings.Repeat("x", 512<<10)},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for e := range w.ResultChan() {
		if got, ok := e.Object.(*corev1.ConfigMap); ok && got.Name == made.Name && len(got.Data["large"]) == 512<<10 {
			return
		}
	}
	t.Error("the watch ended without the object")
}
