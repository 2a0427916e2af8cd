// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package walk reads the commands of a page of documentation, and compares
// their output with the page, so that a test can do as a reader does.
//
// It runs nothing: the test says where and as whom. Blocks of a page that are
// fenced as console are meant to be run; blocks of other kinds are not.
//
// # Invariants
//
//   - A shown output stands for all that have its shape: times, addresses, the
//     generated ends of names and the widths of columns may differ.
//   - Nothing else may, except where the page has three dots: within a line for
//     any text, as a line for any lines.
//   - A command whose shown output begins with an error has to fail, and all
//     others have to succeed.
//
// # Map
//
//	page.go   Steps: the commands of a page
//	shape.go  Differs: a shown output and a real one
package walk
