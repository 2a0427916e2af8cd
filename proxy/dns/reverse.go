// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

const (
	reverse4 = "in-addr.arpa."
	reverse6 = "ip6.arpa."
	nibbles  = 32 // of an IPv6 address
)

// sealedNetworks have addresses that mean nothing to the world (RFC 6303, RFC
// 6890, RFC 7793), and those in which an IPv4 address hides: IPv4-compatible
// ones and those of a translator inside of one's own network (RFC 8215).
var sealedNetworks = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
	"::/96", "fc00::/7", "fe80::/10", "fec0::/10", "64:ff9b:1::/48",
)

// nat64 is the prefix of RFC 6052. Resolvers answer its reverse names with
// those of the IPv4 address inside.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(all ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(all))
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// isReverse reports whether a name is below one of the trees of addresses.
func isReverse(name string) bool {
	return dns.IsSubDomain(reverse4, name) || dns.IsSubDomain(reverse6, name)
}

// mayLeave reports whether a reverse name may become a question to the host's
// resolver, which knows the names of all that runs on the host: only the full
// name of an address that the world knows. Other spellings are not for it to
// make sense of: some resolvers read an address where RFC 1035 and RFC 3596 see
// none, such as in "9.0.96.::ffff:10.in-addr.arpa.".
func mayLeave(name string, sealed []netip.Prefix) bool {
	ip, ok := addressOf(name)
	if !ok {
		return false
	}
	ip = ip.Unmap()
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	contains := func(p netip.Prefix) bool { return p.Contains(ip) }
	return !slices.ContainsFunc(sealedNetworks, contains) && !slices.ContainsFunc(sealed, contains)
}

// addressOf returns the address of which a name is the one reverse name.
func addressOf(name string) (netip.Addr, bool) {
	labels := dns.SplitDomainName(strings.ToLower(name))
	if len(labels) < 2 {
		return netip.Addr{}, false
	}
	labels = labels[:len(labels)-2]
	slices.Reverse(labels)
	switch {
	case dns.IsSubDomain(reverse4, name) && len(labels) == 4:
		// It takes no leading zeros.
		ip, err := netip.ParseAddr(strings.Join(labels, "."))
		return ip, err == nil && ip.Is4()
	case dns.IsSubDomain(reverse6, name) && len(labels) == nibbles:
		var b [16]byte
		for i, l := range labels {
			n, err := strconv.ParseUint(l, 16, 4)
			if err != nil || len(l) != 1 {
				return netip.Addr{}, false
			}
			b[i/2] = b[i/2]<<4 | byte(n)
		}
		return netip.AddrFrom16(b), true
	}
	return netip.Addr{}, false
}

// namesService reports whether an answer has the name of a Service of a cluster
// in it, of any domain: NAME.NAMESPACE.svc.DOMAIN.
func namesService(m *dns.Msg) bool {
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if strings.Contains(strings.ToLower(rr.String()), ".svc.") {
				return true
			}
		}
	}
	return false
}
