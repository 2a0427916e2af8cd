// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestAttackRelay: a holder of a good token asks the gateway to connect to
// other servers: the metadata service of a cloud, a door's own address, other
// ports, addresses in odd forms. Every target but the token's cluster is
// refused, and nothing is dialled, even if the environment names a proxy.
func TestAttackRelay(t *testing.T) {
	trap := listen(t)
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://"+trap.Addr().String())
	}
	h := newHost(t, nil)
	token := tokenOf("team-a", "shop.gateway")
	for _, target := range []string{
		"169.254.169.254:80", "169.254.169.254:443", "127.0.0.1:443", "[::1]:443", "localhost:443", "10.96.0.1:443", "2130706433:443",
		h.book[shop].String(), h.book[other].String(), trap.Addr().String(), "kubernetes.default.svc:443",
		"shop.team-a.svc:22", "shop.team-a.svc:0443", "shop.team-a.svc", "shop.team-a.svc.:443", "shop.team-a.svc.cluster.local:443",
		"shop.team-b.svc:443", "nobody.team-a.svc:443", "gw.example:443", ":443",
	} {
		r := h.say(t, request(target, token))
		if r.StatusCode != http.StatusForbidden && r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", target, r.Status)
		}
	}
	if err := trap.(*net.TCPListener).SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if c, err := trap.Accept(); err == nil {
		t.Errorf("something was dialled from %v", c.LocalAddr())
	}
	h.settled(t)
}

// TestAttackPlainRequests: a client sends ordinary requests of a proxy instead
// of CONNECT, to have the gateway fetch an address for them. None is forwarded.
func TestAttackPlainRequests(t *testing.T) {
	h := newHost(t, nil)
	for _, line := range []string{
		"GET http://169.254.169.254/latest/meta-data/", "POST http://shop.team-a.svc:443/api", "GET https://" + h.book[shop].String() + "/",
		"OPTIONS *", "TRACE /", "PRI *", "get http://shop.team-a.svc/", "CONNECTS shop.team-a.svc:443",
	} {
		r := h.say(t, line+" HTTP/1.1\r\nHost: shop.team-a.svc:443\r\nProxy-Authorization: "+basic(tokenOf("team-a", "shop.gateway"))+"\r\n\r\n")
		if r.StatusCode < 400 {
			t.Errorf("%s: %s", line, r.Status)
		}
	}
	h.settled(t)
}

// TestAttackTokenOfAnotherCluster: tokens of other accounts, for another
// audience, or of a cluster of the same name in another namespace. None leads to
// a cluster but the one of its account.
func TestAttackTokenOfAnotherCluster(t *testing.T) {
	for reason, c := range map[string]struct {
		audience, token string
		want            int
	}{
		"another cluster":                {Audience, tokenOf("team-b", "shop.gateway"), http.StatusForbidden},
		"a namespace with a longer name": {Audience, tokenOf("team-a.x", "shop.gateway"), http.StatusProxyAuthRequired},
		"an account of pods":             {Audience, tokenOf("team-a", "shop-workload"), http.StatusProxyAuthRequired},
		"an account without a cluster":   {Audience, tokenOf("team-a", ".gateway"), http.StatusProxyAuthRequired},
		"two clusters":                   {Audience, tokenOf("team-a", "shop.x.gateway"), http.StatusProxyAuthRequired},
		"for the host's API":             {"https://kubernetes.default.svc", tokenOf("team-a", "shop.gateway"), http.StatusProxyAuthRequired},
		"for no audience":                {"", tokenOf("team-a", "shop.gateway"), http.StatusProxyAuthRequired},
		"not a token":                    {Audience, "secret", http.StatusProxyAuthRequired},
		"too long":                       {Audience, "x." + strings.Repeat("a", tokenLimit) + ".y", http.StatusProxyAuthRequired},
		"none":                           {Audience, "", http.StatusProxyAuthRequired},
		"the right one":                  {Audience, tokenOf("team-a", "shop.gateway"), http.StatusOK},
	} {
		h := newHost(t, func(o *Options) { o.Reviewer = NewTokens(reviewed(c.audience).AuthenticationV1().TokenReviews(), nil) })
		if r := h.say(t, request("shop.team-a.svc:443", c.token)); r.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", reason, r.Status, c.want)
		}
	}
}

// TestAttackNamesAreNotGuessed: a stranger asks for clusters to learn which ones
// there are. The answer is the same for all names before the token is good, and
// the host is not asked about any.
func TestAttackNamesAreNotGuessed(t *testing.T) {
	h := newHost(t, nil)
	answers := map[string]bool{}
	for _, target := range []string{"shop.team-a.svc:443", "nobody.team-a.svc:443", "example.com:80", "169.254.169.254:80"} {
		r := h.say(t, "CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n\r\n")
		answers[fmt.Sprint(r.Status, r.Header)] = true
	}
	if len(answers) != 1 {
		t.Errorf("answers differ: %v", answers)
	}
	if n := len(h.reviews.Actions()); n != 0 {
		t.Errorf("the host was asked %d times", n)
	}
}

// TestAttackSmuggling: requests that two programs read in different ways: a
// target in the header that is not the one in the line, a body, two tokens, a
// folded header, a bare line feed. None opens a tunnel.
func TestAttackSmuggling(t *testing.T) {
	h := newHost(t, nil)
	auth := "Proxy-Authorization: " + basic(tokenOf("team-a", "shop.gateway")) + "\r\n"
	for reason, request := range map[string]string{
		"a path for a target":  "CONNECT /x HTTP/1.1\r\nHost: shop.team-a.svc:443\r\n" + auth + "\r\n",
		"a URL for a target":   "CONNECT http://shop.team-a.svc:443 HTTP/1.1\r\nHost: shop.team-a.svc:443\r\n" + auth + "\r\n",
		"two hosts":            "CONNECT shop.team-a.svc:443 HTTP/1.1\r\nHost: shop.team-a.svc:443\r\nHost: shop.team-b.svc:443\r\n" + auth + "\r\n",
		"a user in the target": "CONNECT x@shop.team-a.svc:443 HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n",
		"a length":             "CONNECT shop.team-a.svc:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n" + auth + "\r\nabcd",
		"chunks":               "CONNECT shop.team-a.svc:443 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + auth + "\r\n0\r\n\r\n",
		"a length and chunks":  "CONNECT shop.team-a.svc:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n" + auth + "\r\n0\r\n\r\n",
		"two tokens":           "CONNECT shop.team-a.svc:443 HTTP/1.1\r\nHost: x\r\n" + auth + auth + "\r\n",
		"a space in a header":  "CONNECT shop.team-a.svc:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization : " + basic(tokenOf("team-a", "shop.gateway")) + "\r\n\r\n",
		"another protocol":     "CONNECT shop.team-a.svc:443 HTTP/3.0\r\nHost: x\r\n" + auth + "\r\n",
		"a long header":        "CONNECT shop.team-a.svc:443 HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n" + auth + "\r\n",
	} {
		if r := h.say(t, request); r.StatusCode < 400 {
			t.Errorf("%s: %s", reason, r.Status)
		}
	}
	h.settled(t)
}

// TestAttackNameOfAnotherClusterInTheTunnel: a client is led to their own
// cluster, and names another one in the handshake inside. The door of their own
// cluster answers.
func TestAttackNameOfAnotherClusterInTheTunnel(t *testing.T) {
	h := newHost(t, nil)
	c := h.secure(t)
	if _, err := io.WriteString(c, request("shop.team-a.svc:443", tokenOf("team-a", "shop.gateway"))); err != nil {
		t.Fatal(err)
	}
	if r := answer(t, c); r.StatusCode != http.StatusOK {
		t.Fatal(r.Status)
	}
	inside := tls.Client(c, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool(h.authority), ServerName: "shop.team-b.svc"})
	if err := inside.HandshakeContext(t.Context()); err == nil || !strings.Contains(err.Error(), "valid for shop.team-a.svc") {
		t.Errorf("%v", err)
	}
}

// TestAttackFakeDoors: a user of the host who may make Services labels some of
// them as a cluster's, to be led to addresses that they choose. Such a Service
// is no door, and one that is made like a door has the name of its own namespace
// only.
func TestAttackFakeDoors(t *testing.T) {
	for reason, change := range map[string]func(*corev1.Service){
		"a tenant's Service":   func(s *corev1.Service) { s.Annotations["portico.dev/name"] = "web" },
		"of another cluster":   func(s *corev1.Service) { s.Labels["portico.dev/cluster"] = "billing" },
		"of another namespace": func(s *corev1.Service) { s.Labels["portico.dev/namespace"] = "kube-system" },
		"without annotations":  func(s *corev1.Service) { s.Annotations = nil },
		"another server's name": func(s *corev1.Service) {
			s.Spec.Type, s.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.com"
		},
		"headless":                   func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone },
		"no address":                 func(s *corev1.Service) { s.Spec.ClusterIP = "" },
		"the gateway's own loopback": func(s *corev1.Service) { s.Spec.ClusterIP = "127.0.0.1" },
		"a cloud's metadata":         func(s *corev1.Service) { s.Spec.ClusterIP = "169.254.169.254" },
		"another port":               func(s *corev1.Service) { s.Spec.Ports[0].Port = 22 },
		"another protocol":           func(s *corev1.Service) { s.Spec.Ports[0].Protocol = corev1.ProtocolUDP },
	} {
		d := directoryOf(t, nil, service(change))
		if at, err := d.Door(shop); err == nil {
			t.Errorf("%s: a door at %v", reason, at)
		}
	}
	// It may have further ports and external addresses, which are not looked at.
	d := directoryOf(t, nil, service(func(s *corev1.Service) {
		s.Spec.ExternalIPs, s.Spec.LoadBalancerIP = []string{"192.0.2.1"}, "192.0.2.2"
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "ssh", Port: 22})
	}))
	if at, err := d.Door(shop); err != nil || at != netip.MustParseAddrPort("10.96.0.7:443") {
		t.Errorf("a door: %v, %v", at, err)
	}
	if at, err := d.Door(other); err == nil {
		t.Errorf("a neighbour's name leads to %v", at)
	}
}

// TestAttackSlowHello: clients send a byte now and then, so that their
// connections stay open and no other client gets one. The time until a client
// has named its target is limited as a whole.
func TestAttackSlowHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, clients, _ := inMemory(t, nil)
		var slow []net.Conn
		for range 50 {
			slow = append(slow, clients.connect())
		}
		synctest.Wait()
		if g.Open() != 50 {
			t.Fatalf("%d open", g.Open())
		}
		first := helloOf(t, "shop.team-a.svc")
		for _, c := range slow {
			go func() {
				for _, b := range first {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
		}
		time.Sleep(DefaultTimeouts.Hello + time.Millisecond)
		synctest.Wait()
		if n := g.Open(); n != 0 {
			t.Errorf("%d are open after %v", n, DefaultTimeouts.Hello)
		}
		time.Sleep(time.Minute) // They notice.
	})
}

// TestAttackReaderWhoDoesNotRead: a client asks for much and reads nothing, so
// that bytes pile up. Their tunnel ends, and no more than two buffers are held.
func TestAttackReaderWhoDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, clients, doors := inMemory(t, nil)
		_, door := tunnel(t, clients, doors)
		begin := time.Now()
		written, err := door.Write(make([]byte, 1<<20))
		if err == nil || written > 2*buffer {
			t.Errorf("the door got rid of %d bytes (%v)", written, err)
		}
		if after := time.Since(begin); after > DefaultTimeouts.Stall {
			t.Errorf("after %v", after)
		}
		synctest.Wait()
		if g.Open() != 0 {
			t.Errorf("%d are open", g.Open())
		}
	})
}

// TestAttackManyConnections: one client opens as many connections as they can.
// Others still have theirs, and a cluster's limit keeps none from another.
func TestAttackManyConnections(t *testing.T) {
	c := newCounts(Limits{Connections: 100, PerClient: 3, PerCluster: 2})
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	take := func(ip netip.Addr) (func(), bool) {
		release, err := c.client(ip)
		return release, err == nil
	}
	var last func()
	for i := range 5 {
		release, ok := take(a)
		if ok != (i < 3) {
			t.Errorf("connection %d of one client: %v", i, ok)
		}
		if ok {
			last = release
		}
	}
	if _, ok := take(b); !ok {
		t.Error("another client is refused")
	}
	if _, ok := take(netip.MustParseAddr("::ffff:192.0.2.1")); ok {
		t.Error("an address in its other form is another client")
	}
	last()
	last() // A second time means nothing.
	if _, ok := take(a); !ok {
		t.Error("no place after one went")
	}
	if _, ok := take(a); ok {
		t.Error("two places after one went")
	}
	for i := range 5 {
		_, ok := take(netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1)))
		if ok != (i < 3) {
			t.Errorf("connection %d of one IPv6 network: %v", i, ok)
		}
	}
	for i := range 4 {
		if _, err := c.cluster(shop); (err == nil) != (i < 2) {
			t.Errorf("connection %d to one cluster: %v", i, err)
		}
	}
	if _, err := c.cluster(other); err != nil {
		t.Errorf("another cluster: %v", err)
	}
}

// TestAttackIdleTunnels: a client holds ten thousand tunnels open and uses none.
// Those above the limits are refused at once, and the others end by themselves.
func TestAttackIdleTunnels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, clients, doors := inMemory(t, func(o *Options) { o.Limits = Limits{Connections: 200, PerClient: 100, PerCluster: 60} })
		first, led, refused := helloOf(t, "shop.team-a.svc"), 0, 0
		for range 10_000 {
			c := clients.connect()
			if _, err := c.Write(first); err != nil {
				refused++
				continue
			}
			select {
			case door := <-doors:
				if _, err := io.ReadFull(door, make([]byte, len(first))); err != nil {
					t.Fatal(err)
				}
				led++
			case <-func() chan struct{} {
				done := make(chan struct{})
				go func() { defer close(done); _, _ = io.Copy(io.Discard, c) }()
				return done
			}():
				refused++
			}
		}
		if led != 60 || refused != 10_000-60 {
			t.Errorf("%d led, %d refused", led, refused)
		}
		synctest.Wait()
		if g.Open() != 60 {
			t.Errorf("%d are open", g.Open())
		}
		time.Sleep(DefaultTimeouts.Idle + time.Second)
		synctest.Wait()
		if g.Open() != 0 || len(g.counts.clients)+len(g.counts.clusters) != 0 {
			t.Errorf("%d are open, counted %v and %v", g.Open(), g.counts.clients, g.counts.clusters)
		}
	})
}

// TestAttackTokenFlood: strangers send made-up tokens as fast as they can, to
// keep the host's API busy. The host is asked at a bounded rate, and a client
// with a good token that the gateway knows is led on.
func TestAttackTokenFlood(t *testing.T) {
	reviews := reviewed(Audience)
	now := time.Now()
	tokens := NewTokens(reviews.AuthenticationV1().TokenReviews(), fixed{now})
	good := tokenOf("team-a", "shop.gateway")
	if c, err := tokens.Review(t.Context(), good); err != nil || c.Cluster != shop {
		t.Fatal(c, err)
	}
	for i := range 2000 {
		if _, err := tokens.Review(t.Context(), fmt.Sprintf("x.%d.y", i)); err == nil {
			t.Fatal("a made-up token is good")
		}
	}
	if n := len(reviews.Actions()); n > reviewBurst {
		t.Errorf("the host was asked %d times", n)
	}
	if c, err := tokens.Review(t.Context(), good); err != nil || c.Cluster != shop {
		t.Errorf("the good one: %v, %v", c, err)
	}
	if len(tokens.known) != 1 {
		t.Errorf("%d tokens are kept", len(tokens.known))
	}
}

// TestAttackNoise: a client sends anything but the expected bytes. The gateway
// answers or closes, leads nowhere, and serves the next one.
func TestAttackNoise(t *testing.T) {
	h := newHost(t, func(o *Options) { o.Timeouts = DefaultTimeouts; o.Timeouts.Hello = time.Second })
	random := rand.New(rand.NewPCG(1, 2))
	good := helloOf(t, "shop.team-a.svc")
	for i := range 300 {
		noise := append([]byte(nil), good...)
		switch i % 3 {
		case 0: // a hello with other bytes in it, cut off where they say
			for range 1 + random.IntN(8) {
				noise[1+random.IntN(8)] = byte(random.Uint32())
			}
		case 1: // a record of noise
			noise = noise[:5+random.IntN(200)]
			for j := range noise[5:] {
				noise[5+j] = byte(random.Uint32())
			}
		case 2: // noise alone
			noise = noise[:1+random.IntN(64)]
			for j := range noise {
				noise[j] = byte(random.Uint32())
			}
		}
		c := h.connect(t)
		_, _ = c.Write(noise)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}
	c, err := h.handshake(t, "shop.team-a.svc")
	if err != nil {
		t.Fatalf("after the noise: %v", err)
	}
	c.Close()
	h.settled(t)
}
