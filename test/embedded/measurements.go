// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FreePort is an address of this machine without a listener now.
func FreePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // The address is known.
	return l.Addr().String()
}

// Measurements reads the listener of the operator's (metrics.listen) as a
// Prometheus on the host does.
func (c *Cluster) Measurements(at string) []byte {
	c.T.Helper()
	secret, err := c.Host.CoreV1().Secrets(c.Namespace).Get(c.T.Context(), c.Name+".metrics", metav1.GetOptions{})
	if err != nil {
		c.T.Fatal(err)
	}
	access, err := c.Host.CoreV1().Secrets(c.Namespace).Get(c.T.Context(), "pc-"+c.Name, metav1.GetOptions{})
	if err != nil {
		c.T.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(access.Data["certificate-authority"])
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: roots, ServerName: fmt.Sprintf("%s.%s.svc", c.Name, c.Namespace), MinVersion: tls.VersionTLS12,
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(c.T.Context(), http.MethodGet, "https://"+at+"/metrics", nil)
	if err != nil {
		c.T.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+string(secret.Data["token"]))
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		c.T.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		c.T.Fatalf("scrape: %s, %v\n%.500s", answer.Status, err, body)
	}
	return body
}
