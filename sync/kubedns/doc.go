// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package kubedns keeps the objects of the cluster's DNS in the virtual
// cluster: the Service kube-system/kube-dns, and where pods are the DNS, the
// Deployment kube-system/coredns with the objects it needs.
//
// It answers no questions (proxy/dns or those pods do), and it does not make
// the first Service: proxy/door does, before anything runs, because every pod
// is given its address. Package rewrite decides about the Service's spec; a
// tenant's write to it changes nothing, so only the Service itself can need to
// be put back.
//
// # Invariants
//
//   - A Service that was deleted comes back at the address that pods have.
//   - A Service at another address, made in the moment between, is replaced.
//   - The Corefile is written once. From then on it is the tenant's.
//   - Nothing is touched or removed that does not carry our label.
//
// # Map
//
//	kubedns.go     Config, Controller, the Service
//	deployment.go  the Deployment and the objects it needs
//	judge.go       writes of tenants that would have no effect
//	objects.go     how these objects look
package kubedns
