// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"crypto/ecdsa"
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/rest"
)

// The loopback client reaches a server with the certificate of newLoopback, and
// no other one.
func TestLoopbackClientKnowsItsServer(t *testing.T) {
	for reason, test := range map[string]struct {
		other bool // the server is not the client's
		works bool
	}{
		"its own":               {works: true},
		"that of another start": {other: true},
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serving := &genericapiserver.SecureServingInfo{Listener: listener}
		loopback, err := newLoopback(serving)
		if err != nil {
			t.Fatal(err)
		}
		if test.other {
			if _, err := newLoopback(serving); err != nil { // goes to the front
				t.Fatal(err)
			}
		}
		shown, err := tls.X509KeyPair(serving.SNICerts[0].CurrentCertKeyContent())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := shown.PrivateKey.(*ecdsa.PrivateKey); !ok {
			t.Errorf("%s: the key is a %T", reason, shown.PrivateKey)
		}
		if leaf := shown.Leaf; time.Until(leaf.NotAfter) < 100*365*24*time.Hour || leaf.IsCA {
			t.Errorf("%s: ends %s, authority %v", reason, leaf.NotAfter, leaf.IsCA)
		}
		server := &http.Server{
			Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{shown}, MinVersion: tls.VersionTLS12}, ReadHeaderTimeout: time.Second,
		}
		go func() { _ = server.ServeTLS(listener, "", "") }()
		client, err := rest.HTTPClientFor(loopback)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Get(loopback.Host)
		if (err == nil) != test.works {
			t.Errorf("%s: %v", reason, err)
		}
		if err == nil {
			_ = answer.Body.Close()
		}
		_ = server.Close()
	}
}
