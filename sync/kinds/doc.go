// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package kinds is the table of the kinds that are pushed to the host or pulled
// from it: where objects of a kind are read and written, and how a copy becomes
// the wanted one.
//
// It does not decide when an object is copied or shown. The packages that use a
// row do: push for objects that pods name, endpoints and classes for all
// objects of a kind. The translation of a pushed kind is in package rewrite.
//
// A new kind is a row here and a row of sample data in kinds_test.go, whose tests
// try each row.
//
// # Invariants
//
//   - A row is data and functions without state; a kind is in one row of each
//     table at most.
//   - A copy is in step exactly if a second write asks for no change.
//   - Only an object whose name, labels and annotations lead back to a virtual one
//     of the cluster is a copy.
//
// # Map
//
//	pushed.go  Pushed, and the kinds that the host has copies of
//	pulled.go  Pulled, and the kinds that are shown as the host has them
//	stored.go  objects of an informer
package kinds
