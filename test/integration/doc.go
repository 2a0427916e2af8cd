// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package integration tests porticod as a whole against an embedded host
// cluster, with the children of test/embedded.
//
// It is not the place for tests that need a kubelet: containers that really
// run, logs, exec and volumes are tested in test/e2e on the lab.
//
// Each test has a virtual cluster, and a host namespace, of its own unless it
// says Shared. Hostile users are played in test/attacks.
package integration
