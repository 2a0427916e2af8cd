// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"testing"
)

// machine are the addresses of porticod's machine in all tests.
var machine = []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("2001:db8::5")}

func TestPermits(t *testing.T) {
	for name, c := range map[string]struct {
		allow []string
		at    string
		pod   bool
		want  bool
	}{
		"a pod":                             {at: "10.244.0.7:443", pod: true, want: true},
		"a pod, IPv6":                       {at: "[2001:db8:1::7]:443", pod: true, want: true},
		"a pod, IPv4-mapped":                {at: "[::ffff:10.244.0.7]:443", pod: true, want: true},
		"no pod":                            {at: "10.244.0.7:443"},
		"allowed":                           {allow: []string{"198.51.100.0/24"}, at: "198.51.100.9:443", want: true},
		"allowed, IPv4-mapped":              {allow: []string{"198.51.100.0/24"}, at: "[::ffff:198.51.100.9]:443", want: true},
		"beside the allowed":                {allow: []string{"198.51.100.0/24"}, at: "198.51.101.9:443"},
		"everything allowed":                {allow: everything, at: "203.0.113.9:443", want: true},
		"loopback meant":                    {allow: []string{"127.0.0.0/8"}, at: "127.0.0.1:9", want: true},
		"loopback meant, IPv6":              {allow: []string{"::1/128"}, at: "[::1]:9", want: true},
		"one loopback address meant":        {allow: []string{"127.0.0.2/32"}, at: "127.0.0.1:9"},
		"an own address meant":              {allow: []string{"10.0.0.5/32"}, at: "10.0.0.5:9", want: true},
		"an own address in a network":       {allow: []string{"10.0.0.0/8"}, at: "10.0.0.5:9"},
		"an own address that a pod has":     {at: "10.0.0.5:9", pod: true},
		"NAT64 allowed":                     {allow: []string{"64:ff9b::/96"}, at: "[64:ff9b::c633:6409]:443", want: true},
		"NAT64 not allowed":                 {allow: []string{"198.51.100.0/24"}, at: "[64:ff9b::c633:6409]:443"},
		"the door, expressly":               {allow: []string{"10.0.0.5/32"}, at: "10.0.0.5:8443"},
		"the door, IPv4-mapped":             {allow: []string{"10.0.0.5/32"}, at: "[::ffff:10.0.0.5]:8443"},
		"the door, loopback":                {allow: []string{"127.0.0.0/8"}, at: "127.0.0.1:8443"},
		"the door, any loopback":            {allow: []string{"127.0.0.0/8"}, at: "127.9.9.9:8443"},
		"the door, as advertised":           {allow: everything, at: "192.0.2.80:443"},
		"the door, as advertised, by NAT64": {allow: everything, at: "[64:ff9b::192.0.2.80]:443"},
		"no port":                           {allow: everything, at: "203.0.113.9:0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := Policy{Listeners: []netip.AddrPort{netip.MustParseAddrPort("[::]:8443"), netip.MustParseAddrPort("192.0.2.80:443")}}
			for _, a := range c.allow {
				p.Allow = append(p.Allow, netip.MustParsePrefix(a))
			}
			if got := p.Permits(netip.MustParseAddrPort(c.at), c.pod, machine); got != c.want {
				t.Errorf("%s with %v: permitted %t, want %t", c.at, c.allow, got, c.want)
			}
		})
	}
}

var everything = []string{"0.0.0.0/0", "::/0"}

// A hostile name leads to an address of porticod's machine, of its links or of
// no machine, in all ways of writing such an address. None is permitted, even
// if the operator has allowed everything and a pod seems to have the address.
func TestAttackOddFormsOfForbiddenAddresses(t *testing.T) {
	p := Policy{Allow: prefixes(everything...)}
	for _, s := range []string{
		"0.0.0.0", "0.0.0.1", "127.0.0.1", "127.255.255.254", "::", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::127.0.0.1", "::ffff:0:127.0.0.1",
		"169.254.169.254", "::ffff:169.254.169.254", "::169.254.169.254", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fd20:ce::254",
		"100.100.100.200", "168.63.129.16", "192.0.0.192",
		"224.0.0.1", "239.255.255.250", "ff02::1", "255.255.255.255", "fec0::1",
		"64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::0.0.0.0", "64:ff9b::10.0.0.5", "64:ff9b:1::127.0.0.1", "64:ff9b:1:ffff:0:0:10.0.0.5",
		"2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:7f00:1::1",
		"10.0.0.5", "::ffff:10.0.0.5", "2001:db8::5", "2001:db8::9%eth0",
	} {
		at := netip.AddrPortFrom(netip.MustParseAddr(s), 443)
		if p.Permits(at, true, machine) {
			t.Errorf("%s is permitted", s)
		}
	}
	if p.Permits(netip.AddrPortFrom(netip.Addr{}, 443), true, machine) {
		t.Error("no address is permitted")
	}
}

// FuzzPermits: a permitted address is one that a pod has or that is allowed, and
// its IPv4-mapped form is judged alike.
func FuzzPermits(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1}, uint16(443), true)
	f.Add([]byte{10, 244, 0, 1}, uint16(443), true)
	f.Add(netip.MustParseAddr("64:ff9b::7f00:1").AsSlice(), uint16(1), false)
	f.Add(netip.MustParseAddr("::ffff:127.0.0.1").AsSlice(), uint16(1), true)
	p := Policy{Allow: prefixes(everything...)}
	f.Fuzz(func(t *testing.T, b []byte, port uint16, pod bool) {
		ip, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		none := Policy{}
		if none.Permits(netip.AddrPortFrom(ip, port), false, machine) {
			t.Errorf("%s is permitted by nothing", ip)
		}
		got := p.Permits(netip.AddrPortFrom(ip, port), pod, machine)
		if plain := ip.Unmap(); got && (plain.IsLoopback() || plain.IsUnspecified() || plain.IsMulticast() || plain.IsLinkLocalUnicast()) {
			t.Errorf("%s is permitted", ip)
		}
		if ip.Is4() && p.Permits(netip.AddrPortFrom(netip.AddrFrom16(ip.As16()), port), pod, machine) != got {
			t.Errorf("%s and its IPv4-mapped form are judged differently", ip)
		}
	})
}

func TestNetworksThatCannotBeAllowed(t *testing.T) {
	for s, want := range map[string]bool{
		"169.254.0.0/16": true, "169.254.169.254/32": true, "fe80::/64": true, "224.0.0.0/24": true, "0.0.0.0/32": true, "2002::/24": true,
		"127.0.0.0/8": false, "::1/128": false, "10.0.0.0/8": false, "0.0.0.0/0": false, "::/0": false, "fd00:ec2::/32": false,
	} {
		if got := Never(netip.MustParsePrefix(s)); got != want {
			t.Errorf("%s is never permitted: %t, want %t", s, got, want)
		}
	}
}
