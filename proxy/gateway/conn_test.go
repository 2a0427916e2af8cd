// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections in memory, which have the clock of the test.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error { close(p.closed); return nil }
func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) connect() net.Conn {
	near, far := net.Pipe()
	p.conns <- far
	return near
}

// inMemory serves on pipes. Doors are the other ends of dialled connections.
func inMemory(t *testing.T, change func(*Options)) (g *Gateway, clients *pipes, doors chan net.Conn) {
	t.Helper()
	clients, doors = &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}, make(chan net.Conn, 8)
	o := Options{
		Doors: book{shop: netip.MustParseAddrPort("10.96.0.7:443")},
		Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
			near, far := net.Pipe()
			doors <- far
			return near, nil
		},
	}
	if change != nil {
		change(&o)
	}
	g = New(o)
	served := make(chan error, 1)
	go func() { served <- g.Serve(t.Context(), clients) }()
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = g.Shutdown(now)
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return g, clients, doors
}

// tunnel returns both ends of an open tunnel.
func tunnel(t *testing.T, clients *pipes, doors chan net.Conn) (client, door net.Conn) {
	t.Helper()
	client = clients.connect()
	first := helloOf(t, "shop.team-a.svc")
	if _, err := client.Write(first); err != nil {
		t.Fatal(err)
	}
	door = <-doors
	got := make([]byte, len(first))
	if _, err := io.ReadFull(door, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != string(first) {
		t.Fatal("the door reads other bytes than the client sent")
	}
	return client, door
}

// ended reports whether a connection was closed.
func ended(c net.Conn) bool {
	_, err := c.Read(make([]byte, 1))
	return err != nil
}

func TestSilenceEndsATunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, clients, doors := inMemory(t, nil)
		client, door := tunnel(t, clients, doors)
		begin := time.Now()
		if !ended(client) || !ended(door) {
			t.Error("an end is open")
		}
		if after := time.Since(begin); after != DefaultTimeouts.Idle {
			t.Errorf("ended after %v, want %v", after, DefaultTimeouts.Idle)
		}
		synctest.Wait()
		if g.Open() != 0 || len(g.counts.clusters) != 0 {
			t.Errorf("%d open, %v counted", g.Open(), g.counts.clusters)
		}
	})
}

// TestBytesOfOneDirectionKeepBoth: a client that only sends is no silence, and
// neither is one that only reads, as in a watch.
func TestBytesOfOneDirectionKeepBoth(t *testing.T) {
	for name, toDoor := range map[string]bool{"to the door": true, "to the client": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, clients, doors := inMemory(t, nil)
				client, door := tunnel(t, clients, doors)
				from, to := door, client
				if toDoor {
					from, to = client, door
				}
				for range 5 {
					time.Sleep(DefaultTimeouts.Idle * 2 / 3)
					if _, err := from.Write([]byte("x")); err != nil {
						t.Fatal(err)
					}
					if ended(to) {
						t.Fatal("ended")
					}
				}
				begin := time.Now()
				if !ended(to) || time.Since(begin) > DefaultTimeouts.Idle {
					t.Errorf("ended after %v of silence", time.Since(begin))
				}
			})
		})
	}
}
