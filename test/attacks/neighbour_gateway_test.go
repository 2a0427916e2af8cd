// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/proxy/gateway"
	"portico.dev/portico/rewrite/marks"
	"portico.dev/portico/test/embedded"
)

// gatewayOf serves a gateway in front of some clusters. There is no kube-proxy, so
// that the dialer knows where their ClusterIPs lead.
func gatewayOf(t *testing.T, clusters ...*embedded.Cluster) (address string) {
	t.Helper()
	doors := map[string]string{}
	for _, c := range clusters {
		service, err := c.Host.CoreV1().Services(c.Namespace).Get(t.Context(), c.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(c.Config.Host)
		if err != nil {
			t.Fatal(err)
		}
		doors[net.JoinHostPort(service.Spec.ClusterIP, "443")] = u.Host
	}
	host := clusters[0].Host
	directory := gateway.NewDirectory(host, clusters[0].Namespace, clusters[1].Namespace)
	g := gateway.New(gateway.Options{
		Doors: directory, Reviewer: gateway.NewTokens(host.AuthenticationV1().TokenReviews(), nil), Plain: true,
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", doors[to.String()])
		},
	})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watched, served := make(chan struct{}), make(chan error, 1)
	go func() { defer close(watched); directory.Run(ctx) }()
	go func() { served <- g.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-watched
		if err := <-served; err != nil {
			t.Error(err)
		}
		_ = g.Shutdown(ctx) // Clients keep connections for a while.
	})
	if !cache.WaitForCacheSync(ctx.Done(), directory.Synced) {
		t.Fatal("the directory does not fill")
	}
	return l.Addr().String()
}

// A tenant names a neighbour's cluster in the handshake, and shows the
// certificate of their own cluster's administrator. The neighbour's door has
// authorities of its own: with its certificate verified, the tenant does not take
// it for their own cluster, and without, they are a stranger there. The same
// certificate works at their own door.
func TestAttackNameOfANeighboursClusterWithACertificateOfOnesOwn(t *testing.T) {
	own, neighbours := embedded.NewCluster(t), embedded.NewCluster(t)
	address := gatewayOf(t, own, neighbours)
	client := func(c *embedded.Cluster, change func(*rest.Config)) kubernetes.Interface {
		t.Helper()
		config := rest.CopyConfig(own.Config)
		config.Host, config.ServerName = "https://"+address, c.Name+"."+c.Namespace+".svc"
		if change != nil {
			change(config)
		}
		k, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	secrets := func(k kubernetes.Interface) error {
		_, err := k.CoreV1().Secrets(metav1.NamespaceSystem).List(t.Context(), metav1.ListOptions{})
		return err
	}
	if err := secrets(client(own, nil)); err != nil {
		t.Fatalf("at the own door: %v", err)
	}
	if err := secrets(client(neighbours, nil)); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("at the neighbour's door, verified: %v", err)
	}
	unverified := client(neighbours, func(c *rest.Config) { c.CAData, c.CAFile, c.Insecure = nil, "", true })
	if err := secrets(unverified); !apierrors.IsUnauthorized(err) && !apierrors.IsForbidden(err) {
		t.Errorf("at the neighbour's door, unverified: %v", err)
	}
}

// A tenant has a token of the gateway for their own cluster, and asks by CONNECT
// for a neighbour's, in the line, in the header, and by the name inside of the
// tunnel. Each way ends at their own door or nowhere.
func TestAttackNeighboursClusterThroughATunnel(t *testing.T) {
	own, neighbours := embedded.NewCluster(t), embedded.NewCluster(t)
	address := gatewayOf(t, own, neighbours)
	account := marks.GatewayAccount(own.Name)
	accounts := own.Host.CoreV1().ServiceAccounts(own.Namespace)
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	answer, err := accounts.CreateToken(t.Context(), account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{gateway.Audience}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	through := func(server, inside string) error {
		config := rest.CopyConfig(own.Config)
		config.Host, config.ServerName = "https://"+server, inside
		config.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: address, User: url.UserPassword("portico", answer.Status.Token)})
		k, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.CoreV1().Secrets(metav1.NamespaceSystem).List(t.Context(), metav1.ListOptions{})
		return err
	}
	name := func(c *embedded.Cluster) string { return c.Name + "." + c.Namespace + ".svc" }
	if err := through(name(own), name(own)); err != nil {
		t.Fatalf("to the own door: %v", err)
	}
	if err := through(name(neighbours), name(neighbours)); err == nil || !strings.Contains(err.Error(), "the token is for") {
		t.Errorf("to the neighbour's: %v", err)
	}
	var other *tls.CertificateVerificationError
	if err := through(name(own), name(neighbours)); err == nil || !strings.Contains(err.Error(), "x509") {
		t.Errorf("to the own door, with the neighbour's name inside: %v, want a %T", err, other)
	}
}
