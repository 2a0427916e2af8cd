// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package revocation

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
)

// Guard knows the open requests of clients that came with a certificate.
type Guard struct {
	// authorities returns those of now; false means that there are none.
	authorities func() (x509.VerifyOptions, bool)

	mu   sync.Mutex
	open map[*exchange]struct{}
}

// exchange is one request that is open.
type exchange struct {
	chain []*x509.Certificate
	end   context.CancelFunc
	conn  net.Conn // that the request took over
}

// NewGuard returns a guard that verifies certificates with the authorities of
// the moment.
func NewGuard(authorities func() (x509.VerifyOptions, bool)) *Guard {
	return &Guard{authorities: authorities, open: map[*exchange]struct{}{}}
}

// Wrap returns next with its requests known to the guard.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		ctx, end := context.WithCancel(r.Context())
		defer end()
		e := &exchange{chain: r.TLS.PeerCertificates, end: end}
		g.add(e)
		defer g.remove(e)
		next.ServeHTTP(g.watched(w, e), r.WithContext(ctx))
	})
}

// Enqueue ends the requests of certificates that no authority of now has signed.
// It is called when the authorities changed (dynamiccertificates.Listener).
func (g *Guard) Enqueue() {
	options, ok := g.authorities()
	if !ok {
		return
	}
	for _, e := range g.all() {
		if !verifies(e.chain, options) {
			g.endNow(e)
		}
	}
}

func (g *Guard) all() []*exchange {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*exchange, 0, len(g.open))
	for e := range g.open {
		all = append(all, e)
	}
	return all
}

func (g *Guard) add(e *exchange) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open[e] = struct{}{}
}

func (g *Guard) remove(e *exchange) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, e)
}

func (g *Guard) endNow(e *exchange) {
	e.end()
	g.mu.Lock()
	conn := e.conn
	g.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // It may have ended by itself.
	}
}

// verifies does the same as upstream's authenticator does with each request.
func verifies(chain []*x509.Certificate, options x509.VerifyOptions) bool {
	if options.Intermediates == nil && len(chain) > 1 {
		options.Intermediates = x509.NewCertPool()
		for _, c := range chain[1:] {
			options.Intermediates.AddCert(c)
		}
	}
	_, err := chain[0].Verify(options)
	return err == nil
}
