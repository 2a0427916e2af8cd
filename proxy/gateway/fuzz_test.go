// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// FuzzConnect: whatever a client writes into the line and the headers of a CONNECT
// request, nothing is dialled but the cluster of its token.
func FuzzConnect(f *testing.F) {
	good := basic(tokenOf("team-a", "shop.gateway"))
	for _, target := range []string{
		"shop.team-a.svc:443", "shop.team-b.svc:443", "shop.team-a.gw.example:443", "SHOP.team-a.svc:443", "shop.team-a.svc.:443", "127.0.0.1:443",
		"[::1]:443", "shop.team-a.svc:443@shop.team-b.svc:443", "shop.team-a.svc%00.team-b.svc:443", "shop.team-a.svc:0443", "shop..svc:443", "",
	} {
		f.Add(target, target, good, "")
	}
	f.Add("shop.team-a.svc:443", "shop.team-b.svc:443", good, "Proxy-Authorization: "+basic(tokenOf("team-b", "shop.gateway")))
	f.Add("shop.team-a.svc:443", "shop.team-a.svc:443", strings.ToLower(good), "Transfer-Encoding: chunked")
	f.Fuzz(func(t *testing.T, target, host, authorization, more string) {
		dialled := map[netip.AddrPort]bool{}
		own := netip.MustParseAddrPort("192.0.2.1:443")
		reviews := reviewed(Audience)
		g := New(Options{
			Doors: book{shop: own, other: netip.MustParseAddrPort("192.0.2.2:443")}, Domains: []string{"gw.example"}, Plain: true,
			Reviewer: NewTokens(reviews.AuthenticationV1().TokenReviews(), nil),
			Dial: func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
				dialled[to] = true
				return nil, errForward
			},
		})
		r := httptest.NewRequest(http.MethodConnect, "http://unused", http.NoBody)
		r.Host, r.RequestURI = host, target
		r.Header = http.Header{"Proxy-Authorization": {authorization}}
		if key, value, ok := strings.Cut(more, ": "); ok {
			r.Header.Add(key, value)
		}
		r = r.WithContext(context.WithValue(r.Context(), attemptKey{}, &attempt{}))
		refusal := g.decide(r)
		if refusal == nil {
			t.Fatal("led where nothing answers")
		}
		for to := range dialled {
			if to != own && authorization == good || len(dialled) > 1 {
				t.Errorf("dialled %v", dialled)
			}
		}
		if strings.ContainsAny(refusal.reason, "\r\n") || strings.Contains(refusal.reason, "192.0.2.") {
			t.Errorf("the refusal says %q", refusal.reason)
		}
	})
}

// FuzzHello: a hello that is read names what the door's own parser would read, and
// its bytes are all kept.
func FuzzHello(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"))
	f.Add(bytes.Repeat([]byte{0x16}, 64))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, hello []byte) {
		name, read, err := readHello(bytes.NewReader(hello))
		if err != nil {
			return
		}
		if len(read) > len(hello) || !bytes.Equal(read, hello[:len(read)]) {
			t.Errorf("kept %d bytes of %d, or others", len(read), len(hello))
		}
		if again, _, err := readHello(bytes.NewReader(read)); err != nil || again != name {
			t.Errorf("the kept bytes name %q, and not %q: %v", again, name, err)
		}
	})
}

// FuzzClusterName: a name leads to a cluster whose names are those of Kubernetes,
// and to one only.
func FuzzClusterName(f *testing.F) {
	for _, name := range []string{"shop.team-a.svc", "Shop.Team-A.SVC", "a.b.c.svc", "shop.team-a.gw.example", ".svc", "shop.team-a.svc.gw.example", "xn--a.b.svc", "shop.team-a.svc\x00"} {
		f.Add(name)
	}
	all := suffixesOf([]string{"gw.example"})
	f.Fuzz(func(t *testing.T, name string) {
		cluster, ok := all.cluster(name)
		if !ok {
			if cluster != (types.NamespacedName{}) {
				t.Errorf("%q is no cluster, and %s", name, cluster)
			}
			return
		}
		lower := strings.ToLower(name)
		if want := cluster.Name + "." + cluster.Namespace; lower != want+".svc" && lower != want+".gw.example" || !isLabel(cluster.Name) || !isLabel(cluster.Namespace) {
			t.Errorf("%q leads to %s", name, cluster)
		}
	})
}
