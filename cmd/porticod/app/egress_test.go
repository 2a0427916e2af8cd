// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"k8s.io/client-go/rest"

	"portico.dev/portico/cmd/porticod/config"
)

func TestHostPort(t *testing.T) {
	for host, want := range map[string]string{
		"https://10.96.0.1:443":           "10.96.0.1:443",
		"https://api.example.com":         "api.example.com:443",
		"https://api.example.com/prefix/": "api.example.com:443",
		"http://127.0.0.1":                "127.0.0.1:80",
		"127.0.0.1:6443":                  "127.0.0.1:6443",
		"https://[fd00::1]:6443":          "[fd00::1]:6443",
	} {
		if got, err := hostPort(&rest.Config{Host: host}); got != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", host, got, err, want)
		}
	}
}

func TestDialerKnowsListenersAndHostAPI(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddrPort("192.0.2.1:8443")
	vc := &virtualCluster{
		config:     &config.Config{ClusterDomain: "example.org", Egress: config.Egress{Allow: []string{"198.51.100.0/24"}}},
		hostConfig: &rest.Config{Host: "https://192.0.2.9:6443"}, at: at,
	}
	got, err := vc.egress(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []netip.AddrPort{at, netip.MustParseAddrPort(l.Addr().String())} {
		if !slices.Contains(got.Listeners, want) {
			t.Errorf("listeners %v lack %s", got.Listeners, want)
		}
	}
	if got.HostAPI != "192.0.2.9:6443" || got.ClusterDomain != "example.org" || !slices.Equal(got.Allow, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}) {
		t.Errorf("got %+v", got)
	}
}
