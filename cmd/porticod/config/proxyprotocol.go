// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ProxyProtocol says who tells porticod the addresses of clients.
type ProxyProtocol struct {
	// From are networks in CIDR notation. Connections from them have to begin with
	// a header of the PROXY protocol; from all others such a header is refused.
	From []string `json:"from,omitempty"`
}

// Networks returns those of From. Mistakes have been reported.
func (p *ProxyProtocol) Networks() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range p.From {
		if network, err := netip.ParsePrefix(text); err == nil {
			all = append(all, network)
		}
	}
	return all
}

func (p *ProxyProtocol) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, text := range p.From {
		network, err := netip.ParsePrefix(text)
		at := path.Child("from").Index(i)
		switch {
		case err != nil:
			errs = append(errs, field.Invalid(at, text, "must be a network such as 10.0.3.0/24"))
		case network.Addr().Is4In6():
			errs = append(errs, field.Invalid(at, text, "must be written as an IPv4 network"))
		case network != network.Masked():
			errs = append(errs, field.Invalid(at, text, "has bits behind the prefix: write "+network.Masked().String()))
		case network.Bits() == 0:
			errs = append(errs, field.Invalid(at, text, "is every address: any client could say that it is another one"))
		}
	}
	return errs
}
