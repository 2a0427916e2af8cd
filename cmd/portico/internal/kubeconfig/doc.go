// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package kubeconfig writes the contexts of virtual clusters into a person's
// kubeconfig file, and takes them out again.
//
// # Invariants
//
//   - A file is replaced as a whole, by renaming a finished one over it: no
//     reader and no interruption ever sees half of it.
//   - Nothing changes but the context, cluster and user of one virtual cluster,
//     and the current context.
//   - A context is known to be ours, and its host context and the one before it
//     are known, by an extension in the context, and never by its name.
//   - Writers of this tool and of kubectl wait for each other: kubectl's lock
//     file is used.
//
// # Map
//
//	origin.go   Origin: the extension; the context's name
//	entry.go    Entry: the part of a kubeconfig that is put in and taken out
//	file.go     which file; Edit: locked and atomic
package kubeconfig
