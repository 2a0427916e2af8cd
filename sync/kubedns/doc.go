// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package kubedns keeps the objects of the cluster's DNS in the virtual cluster: the Service kube-system/kube-dns, and
// where pods are the DNS, the Deployment kube-system/coredns with what it needs.
//
// It answers no questions (that is proxy/dns, or those pods), and it does not make the Service at first: proxy/host does,
// before anything runs, because every pod is given its address. What the Service's spec is, is rewrite's to say; a
// tenant's write to it changes nothing, so there is nothing to put back but the Service itself.
//
// Invariants:
//
//   - A Service that was deleted comes back at the address that pods have.
//   - A Service at another address, made in the moment between, is replaced.
//   - The Corefile is written once. From then on it is the tenant's.
//   - Nothing is touched or removed that does not carry our label.
//
// Files:
//
//	kubedns.go      Config, Keeper, the Service
//	deployment.go   the Deployment and what it needs
//	objects.go      what these look like
package kubedns
