// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package marks

import (
	"slices"
	"strings"
	"testing"
)

func TestGatewayOf(t *testing.T) {
	g := GatewayOf(map[string]string{"address": "gw.example:443", "domains": "gw.example .b.example. *.c.example D_ \n", "connect": "true", "ca.crt": "x"})
	if g.Address != "gw.example:443" || !g.Connect || g.CA != "x" {
		t.Errorf("%+v", g)
	}
	if got, want := g.Names("shop", "team-a"), []string{"shop.team-a.gw.example", "shop.team-a.b.example"}; !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
	long := GatewayOf(map[string]string{"domains": strings.Repeat(strings.Repeat("a", 60)+".", 4) + "x"})
	if got := long.Names("shop", "team-a"); len(long.Domains) != 1 || len(got) != 0 {
		t.Errorf("a name that is too long: %v", got)
	}
	many := GatewayOf(map[string]string{"domains": strings.Repeat("a.example ", 100)})
	if len(many.Domains) != mostDomains {
		t.Errorf("%d domains", len(many.Domains))
	}
	if g := GatewayOf(nil); g.Address != "" || g.Connect || len(g.Domains) != 0 {
		t.Errorf("of nothing: %+v", g)
	}
}
