// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// trusted reports whether a peer is one of those that say who the client is. It is
// asked about the peer of the network, and never about one that a header names.
func trusted(c net.Conn, from []netip.Prefix) bool {
	peer := addressOf(c).Unmap()
	return slices.ContainsFunc(from, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// headed is a connection that begins with a header of the PROXY protocol, of
// either version. It is read with the first byte, or when somebody asks who the
// client is; a connection without one ends there.
func headed(c net.Conn, limit time.Duration) net.Conn {
	return proxyproto.NewConn(c, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(limit))
}

// introduce tells a door who the client is.
func introduce(door net.Conn, client net.Addr, to netip.AddrPort, limit time.Duration) error {
	if err := door.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	header := proxyproto.HeaderProxyFromAddrs(2, client, net.TCPAddrFromAddrPort(to))
	if _, err := header.WriteTo(door); err != nil {
		return fmt.Errorf("tell a door who the client is: %w", err)
	}
	return door.SetWriteDeadline(time.Time{})
}

// addressOfClient returns the address of the client that sent a request.
func addressOfClient(r *http.Request) net.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(at)
}
