// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package harness is for the tests of the packages under sync/: a virtual
// cluster and a host in memory, a clock that stands still, and a controller that
// runs between them.
//
// Only tests import it.
//
// # Map
//
//	harness.go  Harness
package harness
