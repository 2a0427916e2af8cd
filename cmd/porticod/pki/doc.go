// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package pki keeps the certificates of a porticod while it runs: it issues them
// again in time, takes credentials that were rotated, gives the door's
// certificate the names that the door has, and has the administrator's
// kubeconfig written each time.
//
// It serves nothing: the API server reads the files of a [certs.Bundle] again
// when they change. It knows no Kubernetes, and the clock is an argument. The
// certificates of an etcd of the cluster's own are kept by cmd/porticod/app,
// which knows the host, in the same [Rounds].
//
// # Invariants
//
//   - One goroutine writes the directory after the start.
//   - A certificate is issued again before two thirds of its life have passed.
//   - Credentials are never replaced by none or by those of before a rotation.
//   - A failure is logged and tried again; the process goes on with the
//     certificates of before.
//
// # Map
//
//	keeper.go  Keeper
//	rounds.go  Rounds: when certificates are looked at, of the door and of an etcd
package pki
