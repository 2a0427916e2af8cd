// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package watermark holds the highest revision that its users have come to.
//
// Invariant: a mark never goes down.
//
// # Map
//
//	watermark.go  Watermark
package watermark
