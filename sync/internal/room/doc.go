// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package room bounds how many host objects of one kind a virtual cluster has,
// where no quota of the host does: cluster-wide objects, and objects that each
// node of the host works for.
//
// It is not a quota that an operator sets: those are ResourceQuotas of the host
// namespace. It counts the objects in the view of the host and those that this
// process has made and the view does not show yet, so that many objects at once
// do not pass the bound together. An object that is there keeps its place.
//
// # Map
//
//	room.go  Room
package room
