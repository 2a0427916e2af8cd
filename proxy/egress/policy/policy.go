// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"slices"
)

// Policy says which addresses may be dialled on a tenant's word. The zero
// Policy permits the cluster's pods and nothing else.
type Policy struct {
	// Allow are the networks that the operator permits besides. A network
	// permits loopback addresses only if it is a part of the loopback network,
	// and an address of this machine only if it is that address alone: a wide
	// network is not meant to include porticod.
	Allow []netip.Prefix

	// Listeners are refused, also if Allow has them: they are porticod's own.
	// The unspecified address stands for all addresses of this machine.
	Listeners []netip.AddrPort
}

// never are networks that no object and no operator permits.
var never = prefixes(
	"0.0.0.0/8", "::/128", // unspecified; Linux takes it for loopback
	"169.254.0.0/16", "fe80::/10", // link-local, with the metadata of most clouds
	"224.0.0.0/4", "ff00::/8", "255.255.255.255/32", // to many
	"fec0::/10", // site-local, which RFC 3879 has abolished
	// Addresses that carry an IPv4 address to a place of the network's choice:
	// IPv4-compatible, IPv4-translated, Teredo, 6to4. All are abolished or dead.
	"::/96", "::ffff:0:0:0/96", "2001::/32", "2002::/16",
	// Metadata of clouds that is not link-local.
	"100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd20:ce::254/128",
)

// loopback are the networks of this machine alone.
var loopback = prefixes("127.0.0.0/8", "::1/128")

// nat64 are the networks in which the last 32 bits are an IPv4 address (RFC
// 6052, RFC 8215). An address in them is two addresses, and both are judged.
var nat64 = prefixes("64:ff9b::/96", "64:ff9b:1::/48")

func prefixes(all ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(all))
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// Permits reports whether an address may be dialled. pod says that a running
// pod of the cluster has it, machine are the addresses of this machine.
func (p *Policy) Permits(at netip.AddrPort, pod bool, machine []netip.Addr) bool {
	ip := at.Addr().Unmap()
	if !ip.IsValid() || ip.Zone() != "" || at.Port() == 0 {
		return false
	}
	local := contained(loopback, ip) || slices.Contains(machine, ip)
	if contained(never, ip) && ip != netip.IPv6Loopback() || p.listens(ip, at.Port(), local) {
		return false
	}
	if local {
		return p.expressly(ip)
	}
	if inner, ok := Translated(ip); ok {
		own := contained(loopback, inner) || slices.Contains(machine, inner)
		if own || contained(never, inner) || p.listens(inner, at.Port(), false) {
			return false
		}
	}
	return pod || contained(p.Allow, ip)
}

// listens reports whether porticod itself is at an address.
func (p *Policy) listens(ip netip.Addr, port uint16, local bool) bool {
	return slices.ContainsFunc(p.Listeners, func(l netip.AddrPort) bool {
		return l.Port() == port && (l.Addr().Unmap() == ip || local && l.Addr().IsUnspecified())
	})
}

// expressly reports whether an address of this machine is meant by an entry.
func (p *Policy) expressly(ip netip.Addr) bool {
	return slices.ContainsFunc(p.Allow, func(allowed netip.Prefix) bool {
		return allowed.Contains(ip) && (allowed.IsSingleIP() || Loopback(allowed))
	})
}

// Loopback reports whether a network is a part of the loopback network.
func Loopback(p netip.Prefix) bool { return within(loopback, p) }

// Never reports whether every address of a network is refused always, so that
// allowing it would be a mistake.
func Never(p netip.Prefix) bool { return within(never, p) && !Loopback(p) }

func within(networks []netip.Prefix, p netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Bits() <= p.Bits() && n.Contains(p.Addr()) })
}

func contained(networks []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// Translated returns the IPv4 address that a NAT64 sends an address to, and
// whether there is one.
func Translated(ip netip.Addr) (netip.Addr, bool) {
	if !contained(nat64, ip) {
		return netip.Addr{}, false
	}
	b := ip.As16()
	return netip.AddrFrom4([4]byte(b[12:])), true
}
