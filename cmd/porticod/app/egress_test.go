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

// listenerAt is a listener of which only the address is asked for.
type listenerAt struct {
	net.Listener
	at net.Addr
}

func (l listenerAt) Addr() net.Addr { return l.at }

// The kernel chooses the port of the operator's listener. It is as closed to a
// tenant's webhook as a configured one.
func TestAttackWebhookAtMetricsOnAnyPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	vc := &virtualCluster{
		config: &config.Config{
			Metrics: config.Metrics{Listen: "127.0.0.1:0"}, Egress: config.Egress{Allow: []string{"127.0.0.0/8"}},
		},
		hostConfig: &rest.Config{Host: "https://192.0.2.9:6443"}, at: netip.MustParseAddrPort("192.0.2.1:8443"),
	}
	if err := vc.listenForMetrics(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer vc.closeMetrics()
	got, err := vc.egress(l)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(vc.metrics.Addr().String())
	if got.Permits(at, true, nil) {
		t.Errorf("%s is permitted", at)
	}
	if beside := netip.AddrPortFrom(at.Addr(), 9999); !got.Permits(beside, true, nil) {
		t.Errorf("another port, %s, is not permitted", beside)
	}
}

// A tenant's webhook is at the operator's listener of measurements, on an address
// of porticod's that the operator has allowed and that a pod has. It is not called.
func TestAttackWebhookAtTheOperatorsMetrics(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for listen, targets := range map[string][]string{
		"0.0.0.0:9090":     {"10.0.0.5:9090", "127.0.0.1:9090", "[::ffff:10.0.0.5]:9090"},
		"[::]:9090":        {"10.0.0.5:9090", "[2001:db8::5]:9090", "[::1]:9090"},
		"10.0.0.5:9090":    {"10.0.0.5:9090"},
		"[2001:db8::5]:90": {"[2001:db8::5]:90"},
	} {
		vc := &virtualCluster{
			metrics: listenerAt{at: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(listen))},
			config: &config.Config{
				Egress: config.Egress{Allow: []string{"10.0.0.5/32", "2001:db8::5/128", "127.0.0.0/8", "::1/128"}},
			},
			hostConfig: &rest.Config{Host: "https://192.0.2.9:6443"}, at: netip.MustParseAddrPort("192.0.2.1:8443"),
		}
		got, err := vc.egress(l)
		if err != nil {
			t.Fatal(err)
		}
		machine := []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("2001:db8::5")}
		for _, target := range targets {
			at := netip.MustParseAddrPort(target)
			if got.Permits(at, true, machine) {
				t.Errorf("listening on %s: %s is permitted", listen, target)
			}
			if beside := netip.AddrPortFrom(at.Addr(), 9999); !got.Permits(beside, true, machine) {
				t.Errorf("listening on %s: another port, %s, is not permitted", listen, beside)
			}
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
