// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package hosts tests virtual clusters on the API server of another version of
// Kubernetes, built from its module by test/lab/build: make hosts HOST_KUBE=v1.35.4.
//
// There are no controllers, no scheduler and no kubelet: it is about the API that a
// host serves, and the fields that it does not know. The lab of another version has
// all of it (make lab-up HOST_KUBE=v1.35.4).
//
// # Invariants
//
//   - The version under test is the one that the server itself names.
//
// # Map
//
//	host_test.go    an API server as a host
//	hosts_test.go   the tests
package hosts
