// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/proxy/egress/policy"
)

// Egress has the addresses that porticod itself may reach where objects of a
// tenant name them.
type Egress struct {
	// Allow are networks, in CIDR notation, in addition to the cluster's own
	// pods and Services.
	Allow []string `json:"allow,omitempty"`
}

// Networks are those of Allow.
func (e *Egress) Networks() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, s := range e.Allow {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func (e *Egress) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, s := range e.Allow {
		at := path.Child("allow").Index(i)
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil:
			errs = append(errs, field.Invalid(at, s, "must be a network in CIDR notation"))
		case p.Addr().Is4In6():
			errs = append(errs, field.Invalid(at, s, "must be written as an IPv4 network"))
		case p != p.Masked():
			errs = append(errs, field.Invalid(at, s, "has bits after its prefix; is "+p.Masked().String()+" meant?"))
		case policy.Never(p):
			errs = append(errs, field.Invalid(at, s, "unspecified, link-local, multicast, tunnel and metadata addresses are never dialled"))
		}
	}
	return errs
}
