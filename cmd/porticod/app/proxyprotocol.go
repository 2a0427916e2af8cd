// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// headerLimit is how long a gateway may take to say who the client is.
const headerLimit = 10 * time.Second

// introduced is a listener whose connections of some networks begin with a header
// of the PROXY protocol. It is read when the connection is served, and not while
// others wait to be accepted.
func introduced(l net.Listener, from []netip.Prefix) net.Listener {
	if len(from) == 0 {
		return l
	}
	return &proxyproto.Listener{
		Listener: l, ReadHeaderTimeout: headerLimit,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if peer, ok := o.Upstream.(*net.TCPAddr); ok {
				address := peer.AddrPort().Addr().Unmap()
				if slices.ContainsFunc(from, func(p netip.Prefix) bool { return p.Contains(address) }) {
					return proxyproto.REQUIRE, nil
				}
			}
			return proxyproto.SKIP, nil
		},
	}
}
