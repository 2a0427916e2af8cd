// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package certs makes and keeps the certificates of one virtual cluster: its
// certificate authorities, the leaf certificates signed by them, the key that
// signs service account tokens, and kubeconfigs that carry them.
//
// It is not a general PKI: a single certificate cannot be revoked, and only the
// authorities of clients can be rotated. It is a leaf of the import graph and
// knows no Kubernetes beyond the shape of a kubeconfig. The clock is an
// argument everywhere.
//
// # Invariants
//
//   - A private key is in a file of mode 0600 from the moment it exists.
//   - A file is replaced by rename, so a crash leaves the old one or the new
//     one, never a part of one.
//   - A certificate on disk is used while it has the requested content and less
//     than three fifths of its life have passed; otherwise it is issued again
//     under the same name. An authority that exists is never replaced, but by
//     Install.
//   - The door's authority signs nothing but the door, and clients trust no
//     other: the authority that signs the requests of tenants cannot make a
//     certificate that passes for the door's.
//
// # Map
//
//	authority.go    an authority, and the certificates that it issues
//	bundle.go       the set of files that one cluster needs
//	roots.go        the part of it that replicas share and that never changes
//	credentials.go  the part that replicas share and that rotates
//	etcd.go         the authority of an etcd that belongs to one cluster
//	kubeconfig.go   kubeconfigs
//	files.go        atomic writes
package certs
