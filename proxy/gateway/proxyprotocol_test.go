// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

func loopback(o *Options) { o.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

// as sends a header of the PROXY protocol for a client.
func (h *host) as(t *testing.T, version byte, client string) net.Conn {
	t.Helper()
	c := h.connect(t)
	from, to := netip.MustParseAddrPort(client), netip.MustParseAddrPort("192.0.2.100:443")
	if from.Addr().Is6() {
		to = netip.MustParseAddrPort("[2001:db8::100]:443")
	}
	header := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to))
	if _, err := header.WriteTo(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func (h *host) greet(t *testing.T, c net.Conn) error {
	t.Helper()
	return tls.Client(c, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool(h.authority), ServerName: "shop.team-a.svc"}).HandshakeContext(t.Context())
}

// Clients behind a load balancer are counted one by one.
func TestClientsBehindALoadBalancer(t *testing.T) {
	h := newHost(t, func(o *Options) {
		loopback(o)
		o.Limits = Limits{Connections: 100, PerClient: 1, PerCluster: 100}
	})
	for i, client := range []string{"192.0.2.1:4000", "192.0.2.2:4000", "[2001:db8::1]:4000"} {
		if err := h.greet(t, h.as(t, byte(1+i%2), client)); err != nil {
			t.Errorf("%s: %v", client, err)
		}
	}
	if err := h.greet(t, h.as(t, 2, "192.0.2.1:4001")); err == nil {
		t.Error("a second connection of one client is led")
	}
	// A probe of the load balancer itself.
	c := h.connect(t)
	if _, err := (&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}).WriteTo(c); err != nil {
		t.Fatal(err)
	}
	if err := h.greet(t, c); err != nil {
		t.Errorf("a probe: %v", err)
	}
}

// A door is told who the client is, by both ways.
func TestDoorLearnsTheClient(t *testing.T) {
	l := listen(t)
	clients := make(chan string, 2)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			header, err := proxyproto.Read(bufio.NewReader(c))
			if err != nil {
				clients <- err.Error()
			} else {
				clients <- header.SourceAddr.String()
			}
			c.Close()
		}
	}()
	h := newHost(t, func(o *Options) {
		loopback(o)
		o.ProxyToDoors, o.Doors = true, book{shop: netip.MustParseAddrPort(l.Addr().String())}
	})
	_ = h.greet(t, h.as(t, 2, "192.0.2.7:4711"))
	if got := <-clients; got != "192.0.2.7:4711" {
		t.Errorf("by name: %s", got)
	}
	c := tls.Client(h.as(t, 1, "[2001:db8::7]:4712"), &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool(h.authority), ServerName: "gw.example"})
	if _, err := io.WriteString(c, request("shop.team-a.svc:443", tokenOf("team-a", "shop.gateway"))); err != nil {
		t.Fatal(err)
	}
	if r := answer(t, c); r.StatusCode != http.StatusOK {
		t.Error(r.Status)
	}
	if got := <-clients; got != "[2001:db8::7]:4712" {
		t.Errorf("by CONNECT: %s", got)
	}
}

// TestAttackMadeUpClient: a client that is no load balancer says that it is somebody
// else, to be counted or logged as them. It is not believed, and led nowhere.
func TestAttackMadeUpClient(t *testing.T) {
	h := newHost(t, func(o *Options) { o.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	for version := byte(1); version <= 2; version++ {
		if err := h.greet(t, h.as(t, version, "192.0.2.1:4000")); err == nil {
			t.Errorf("a header of version %d is believed", version)
		}
	}
	h.settled(t)
}

// TestAttackLoadBalancerWithoutAHeader: a connection of a load balancer that does not
// say who the client is would be counted as that load balancer's. It ends, and one
// that says nothing at all ends with the time for a hello.
func TestAttackLoadBalancerWithoutAHeader(t *testing.T) {
	h := newHost(t, func(o *Options) {
		loopback(o)
		o.Timeouts = DefaultTimeouts
		o.Timeouts.Hello = 200 * time.Millisecond
	})
	if err := h.greet(t, h.connect(t)); err == nil {
		t.Error("led without a header")
	}
	for _, half := range []string{"", "PROXY TCP4 192.0.2.1", "\r\n\r\n\x00\r\nQUIT\n", "PROXY TCP4 a b 1 2\r\n"} {
		c := h.connect(t)
		if _, err := io.WriteString(c, half); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Logf("%q: %v", half, err)
		}
	}
	h.settled(t)
}
