// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"portico.dev/portico/proxy/gateway"
	"portico.dev/portico/test/embedded"
)

// gatewayOf serves a gateway in front of some clusters of one host.
func gatewayOf(t *testing.T, clusters ...*embedded.Cluster) (address string) {
	t.Helper()
	host, namespaces := clusters[0].Host, []string{}
	for _, c := range clusters {
		namespaces = append(namespaces, c.Namespace)
	}
	return embedded.ServeGateway(t, gateway.NewDirectory(host, namespaces...), gateway.Options{
		Reviewer: gateway.NewTokens(host.AuthenticationV1().TokenReviews(), nil), Plain: true,
	}, clusters...)
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
	token := own.GatewayToken(gateway.Audience)
	through := func(server, inside string) error {
		config := rest.CopyConfig(own.Config)
		config.Host, config.ServerName = "https://"+server, inside
		config.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: address, User: url.UserPassword("portico", token)})
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
	if err := through(name(own), name(neighbours)); err == nil || !strings.Contains(err.Error(), "x509") {
		t.Errorf("to the own door, with the neighbour's name inside: %v, want an error of x509", err)
	}
}
