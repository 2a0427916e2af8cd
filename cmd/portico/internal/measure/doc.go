// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package measure reads the costs of control planes: their CPU and memory, which
// the host's metrics server knows, and the size of a store, which porticod's own
// listener knows.
//
// It keeps nothing, and asks with the rights of the person.
//
// # Map
//
//	usage.go  CPU and memory
//	store.go  the size of a store
package measure
