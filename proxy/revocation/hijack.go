// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package revocation

import (
	"bufio"
	"net"
	"net/http"
)

// watched returns w with the connection noted that a request takes over: no
// context ends it then. Only connections of HTTP/1.1 can be taken over.
// Upstream must see that others cannot, so they are left alone.
func (g *Guard) watched(w http.ResponseWriter, e *exchange) http.ResponseWriter {
	inner, ok := w.(connection)
	if !ok {
		return w
	}
	return &hijackable{connection: inner, guard: g, exchange: e}
}

// connection is everything that a response of HTTP/1.1 can do, which upstream
// looks for.
type connection interface {
	http.ResponseWriter
	http.Flusher
	http.CloseNotifier //nolint:staticcheck // upstream's wrappers ask for it
	http.Hijacker
}

type hijackable struct {
	connection
	guard    *Guard
	exchange *exchange
}

// Unwrap is for http.ResponseController.
func (h *hijackable) Unwrap() http.ResponseWriter { return h.connection }

// Hijack implements http.Hijacker.
func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := h.connection.Hijack()
	if err == nil {
		h.guard.mu.Lock()
		h.exchange.conn = conn
		h.guard.mu.Unlock()
	}
	return conn, rw, err
}
