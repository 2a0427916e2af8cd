// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import "time"

// MakeFormer fills dir as EnsureBundle did when one authority signed the door,
// the administrator and the requests of tenants.
func MakeFormer(dir string, now func() time.Time) (admin KeyPair, err error) {
	ca, err := loadOrCreate(dir, "ca", formerAuthorityName, now)
	if err != nil {
		return KeyPair{}, err
	}
	if _, err := ca.ensure(dir, "serving", serving(BundleOptions{})); err != nil {
		return KeyPair{}, err
	}
	return ca.ensure(dir, "admin", administrator())
}
