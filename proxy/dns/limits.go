// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"net"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
	"k8s.io/utils/lru"
)

const (
	// maxConnections is how many TCP connections of clients are open at a time,
	// and maxPerConnection how many questions one may ask.
	maxConnections   = 500
	maxPerConnection = 1000
	// maxStrangers is how many connections, and maxWaiting how many questions,
	// there are at a time of those who are not known, or not yet. None of them
	// takes room from a client.
	maxStrangers = 100
	maxWaiting   = 4096
	// maxOfStranger and maxWaitingOf are the same of one address.
	maxOfStranger = 8
	maxWaitingOf  = 64
	// maxRates is for how many addresses the rate of questions is remembered.
	// The one that has not asked for the longest time is forgotten first.
	maxRates = 4096
	// siteBits is the part of an IPv6 address of a configured network that
	// counts as one client: who has one address there has them all.
	siteBits = 64
)

// rates limits how many questions an address may ask in a second. One that has
// been silent may ask as many at once.
type rates struct {
	perSecond int

	mu  sync.Mutex
	all *lru.Cache // netip.Addr -> *rate.Limiter
}

func newRates(perSecond int) *rates { return &rates{perSecond: perSecond, all: lru.New(maxRates)} }

func (r *rates) allow(ip netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	limiter, ok := r.all.Get(ip)
	if !ok {
		limiter = rate.NewLimiter(rate.Limit(r.perSecond), r.perSecond)
		r.all.Add(ip, limiter)
	}
	return limiter.(*rate.Limiter).Allow()
}

// room counts the holders at a time, in all and of each address.
type room struct {
	total, each int

	mu    sync.Mutex
	taken int
	of    map[netip.Addr]int
}

func newRoom(total, each int) *room { return &room{total: total, each: each, of: map[netip.Addr]int{}} }

func (r *room) enter(ip netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken >= r.total || r.of[ip] >= r.each {
		return false
	}
	r.taken++
	r.of[ip]++
	return true
}

func (r *room) leave(ip netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken--
	count(r.of, ip, -1)
}

// limitedListener closes connections for which there is no room. If they
// waited, a stranger could keep all others out.
type limitedListener struct {
	net.Listener
	room func(from net.Addr) (*room, netip.Addr)
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		r, ip := l.room(conn.RemoteAddr())
		if r.enter(ip) {
			return &countedConn{Conn: conn, leave: sync.OnceFunc(func() { r.leave(ip) })}, nil
		}
		_ = conn.Close() // There is nothing to lose.
	}
}

type countedConn struct {
	net.Conn
	leave func()
}

func (c *countedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
