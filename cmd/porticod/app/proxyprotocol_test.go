// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// TestAttackMadeUpClientAtTheDoor: a client that is no gateway says that it is
// somebody else, to be found in the audit log as them. Its header is not read, and
// is no beginning of TLS either. A gateway's is read, and has to be there.
func TestAttackMadeUpClientAtTheDoor(t *testing.T) {
	client := net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:4711"))
	for name, c := range map[string]struct {
		from   string
		header bool
		seen   string // the address; "" for that of the peer
		read   string // the first bytes; "" for none
	}{
		"a gateway":                   {"127.0.0.0/8", true, "192.0.2.1:4711", "hello"},
		"a gateway without a header":  {"127.0.0.0/8", false, "", ""},
		"somebody else":               {"10.0.0.0/8", false, "", "hello"},
		"somebody else with a header": {"10.0.0.0/8", true, "", "PROXY"},
	} {
		t.Run(name, func(t *testing.T) {
			plain, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l := introduced(plain, []netip.Prefix{netip.MustParsePrefix(c.from)})
			defer l.Close()
			near, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer near.Close()
			text := "hello"
			if c.header {
				header, err := proxyproto.HeaderProxyFromAddrs(1, client, client).Format()
				if err != nil {
					t.Fatal(err)
				}
				text = string(header) + text
			}
			if _, err := io.WriteString(near, text); err != nil {
				t.Fatal(err)
			}
			far, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			first := make([]byte, 5)
			n, _ := io.ReadFull(far, first)
			if got := string(first[:n]); got != c.read {
				t.Errorf("read %q, want %q", got, c.read)
			}
			want := c.seen
			if want == "" {
				want = near.LocalAddr().String()
			}
			if got := far.RemoteAddr().String(); got != want || !strings.Contains(got, ":") {
				t.Errorf("the client is %s, want %s", got, want)
			}
		})
	}
}
