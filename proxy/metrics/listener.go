// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

const (
	// helloTimeout bounds the time from a connection to a whole request.
	helloTimeout = 10 * time.Second
	// answerTimeout bounds a scrape.
	answerTimeout = 30 * time.Second
	// idleTimeout is longer than the usual pause between two scrapes.
	idleTimeout = 2 * time.Minute
	// headerBytes is many times a scraper's request.
	headerBytes = 16 << 10
	// scrapes is how many are answered at a time.
	scrapes = 4
)

// Listener serves all measurements at /metrics, over TLS.
type Listener struct {
	// Token is the bearer token that a client must have.
	Token string
	// Certificate returns the certificate of now.
	Certificate func() (*tls.Certificate, error)
	// Gatherers are the sources, which must not share a family.
	Gatherers prometheus.Gatherers
}

// Run serves on l until ctx ends, and closes it.
func (s Listener) Run(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: s.handler(),
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.Certificate() },
		},
		ReadHeaderTimeout: helloTimeout, ReadTimeout: helloTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: headerBytes,
		BaseContext:    func(net.Listener) context.Context { return ctx },
		ErrorLog:       klog.NewStandardLogger("INFO"),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics on %s: %w", l.Addr(), err)
	}
	return nil
}

func (s Listener) handler() http.Handler {
	all := promhttp.HandlerFor(s.Gatherers, promhttp.HandlerOpts{
		// A measurement that cannot be made costs the operator no other one.
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: klog.NewStandardLogger("INFO"),
		MaxRequestsInFlight: scrapes,
	})
	mux := http.NewServeMux()
	mux.Handle("/metrics", readOnly(all))
	want := hashOf("Bearer " + s.Token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The length is the same for any token, so that the time says nothing.
		if got := hashOf(r.Header.Get("Authorization")); s.Token == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "the token of this cluster's metrics is needed")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func hashOf(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }
