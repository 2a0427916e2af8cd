// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestProxyProtocol(t *testing.T) {
	for name, c := range map[string]struct {
		from     string
		networks int
		bad      bool
	}{
		"a network":       {"10.0.3.0/24", 1, false},
		"an address":      {"10.0.3.1/32", 1, false},
		"of IPv6":         {"2001:db8::/64", 1, false},
		"no length":       {"10.0.3.1", 0, true},
		"bits behind it":  {"10.0.3.1/24", 1, true},
		"everybody":       {"0.0.0.0/0", 1, true},
		"everybody by v6": {"::/0", 1, true},
		// No address of a client is written so, and none would be in it.
		"of IPv4 as IPv6": {"::ffff:10.0.3.0/120", 1, true},
	} {
		p := ProxyProtocol{From: []string{c.from}}
		if errs := p.validate(field.NewPath("proxyProtocol")); (len(errs) > 0) != c.bad || len(p.Networks()) != c.networks {
			t.Errorf("%s: %v, %v", name, errs, p.Networks())
		}
	}
}
