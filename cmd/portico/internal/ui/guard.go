// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"crypto/rand"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// guard lets one browser in, and nobody else.
type guard struct {
	port string // of the listener

	place   string      // the path above all pages
	code    string      // of the link
	entered atomic.Bool // whether the link has been used
	session string      // in the cookie
	form    string      // in the forms
	origin  *http.CrossOriginProtection
}

func newGuard(address net.Addr) (*guard, error) {
	_, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return nil, err
	}
	// Each has at least 128 random bits.
	return &guard{port: port, place: "/" + rand.Text(), code: rand.Text(), session: rand.Text(), form: rand.Text(), origin: http.NewCrossOriginProtection()}, nil
}

// cookie is the name of the cookie. Cookies do not tell ports apart, but paths:
// another program of this machine, at another port, is not sent this one, because
// it does not know the place.
func (g *guard) cookie() string { return "portico-ui-" + g.port }

// policy forbids scripts, frames, and everything of another origin.
const policy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// headers are on each answer.
func headers(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	// Not no-referrer, with which a browser sends the Origin "null".
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// own reports whether a request asked for this listener by one of its names.
func (g *guard) own(host string) bool {
	return host == "127.0.0.1:"+g.port || host == "localhost:"+g.port
}

// outside refuses requests that no page of this server and no person at its link
// makes. It returns the reason, or "".
func (g *guard) outside(r *http.Request) (status int, reason string) {
	if !g.own(r.Host) {
		return http.StatusMisdirectedRequest, "this page is served to this machine only, at http://127.0.0.1:" + g.port
	}
	if err := g.origin.Check(r); err != nil {
		return http.StatusForbidden, "the request comes from another site"
	}
	return 0, ""
}

// enter gives the session to the first who has the link. A browser that only
// fetches it ahead gets nothing.
func (g *guard) enter(w http.ResponseWriter, r *http.Request) bool {
	ahead := r.Method != http.MethodGet || r.Header.Get("Sec-Purpose") != "" || r.Header.Get("Purpose") != ""
	if ahead || !same(r.PathValue("code"), g.code) || !g.entered.CompareAndSwap(false, true) {
		return false
	}
	// Not Secure: there is no TLS on loopback, and some browsers refuse such a cookie.
	http.SetCookie(w, &http.Cookie{Name: g.cookie(), Value: g.session, Path: g.place + "/", HttpOnly: true, SameSite: http.SameSiteStrictMode}) //nolint:gosec // As said above.
	return true
}

// inside reports whether a request has the session.
func (g *guard) inside(r *http.Request) bool {
	c, err := r.Cookie(g.cookie())
	return err == nil && same(c.Value, g.session)
}

// meant reports whether a request comes from a form of this server.
func (g *guard) meant(r *http.Request) bool { return same(r.PostFormValue("form"), g.form) }

// same compares secrets in a time that does not depend on where they differ.
func same(got, want string) bool {
	return subtle.ConstantTimeCompare([]byte(strings.TrimSpace(got)), []byte(want)) == 1
}
