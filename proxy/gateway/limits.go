// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"net/netip"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// errTooMany is returned when a limit is reached.
var errTooMany = errors.New("too many connections")

// counts are the connections that are open. Its keys are only those with one.
type counts struct {
	max Limits

	mu       sync.Mutex
	all      int
	clients  map[netip.Prefix]int
	clusters map[types.NamespacedName]int
}

func newCounts(limits Limits) *counts {
	return &counts{max: limits, clients: map[netip.Prefix]int{}, clusters: map[types.NamespacedName]int{}}
}

// connection counts one more of the process.
func (c *counts) connection() (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.max.Connections {
		return nil, errTooMany
	}
	c.all++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all--
	}), nil
}

func (c *counts) client(ip netip.Addr) (release func(), err error) {
	return take(c, c.clients, clientOf(ip), c.max.PerClient)
}

func (c *counts) cluster(name types.NamespacedName) (release func(), err error) {
	return take(c, c.clusters, name, c.max.PerCluster)
}

func take[K comparable](c *counts, of map[K]int, key K, most int) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if of[key] >= most {
		return nil, errTooMany
	}
	of[key]++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if of[key]--; of[key] == 0 {
			delete(of, key)
		}
	}), nil
}

// clientOf returns the addresses that are one client: an IPv6 host has all of
// its /64 to choose from.
func clientOf(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // one client for all that have no address
	}
	return p
}
