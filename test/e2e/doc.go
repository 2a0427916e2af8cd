// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests porticod against the lab, a host cluster with real
// kubelets, through a real kubectl. It has no code outside of its tests, and
// those need the build tag e2e, root and a lab that is up: `make e2e` sees to
// all of it.
//
// porticod runs on this machine, outside of the host cluster, as a host
// ServiceAccount that has the Role in testdata/role.yaml and nothing else.
//
// # Map
//
//	main_test.go     the needs of all tests, set once
//	kubectl_test.go  kubectl as a person would type it
//	host_test.go     a namespace of the host with a user that is confined to it
//	cluster_test.go  porticod processes; shared(t) costs nothing, private(t) starts one
package e2e
