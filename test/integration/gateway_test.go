// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"portico.dev/portico/certs"
	"portico.dev/portico/proxy/gateway"
	"portico.dev/portico/test/embedded"
)

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
	address := embedded.ServeGateway(t, gateway.NewDirectory(c.Host), gateway.Options{
		Reviewer: gateway.NewTokens(c.Host.AuthenticationV1().TokenReviews(), nil),
		TLS:      &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}},
	}, c.Cluster)
	token := c.GatewayToken(gateway.Audience)

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
		refused.Proxy = proxy(c.GatewayToken("https://kubernetes.default.svc"))
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
