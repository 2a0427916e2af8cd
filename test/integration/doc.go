// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package integration tests porticod as a whole against an embedded host
// cluster: two child processes, "porticod host" with simulated nodes and
// "porticod serve", reached with client-go on both sides.
//
// It is not the place for what needs a kubelet: containers that really run,
// logs, exec and volumes are tested in test/e2e on the lab.
//
// The children are this test binary itself, so nothing has to be installed or
// built beforehand. The host is shared by all tests of a run; each test has a
// virtual cluster, and a host namespace, of its own unless it says Shared.
package integration
