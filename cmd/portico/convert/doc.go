// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package convert turns the values of a vcluster into those of Portico's
// chart: vcluster.yaml of release 0.20 and later, and the values files of the
// releases before. Values that are Portico's already pass as they are.
//
// It is pure: bytes go in, and values with an account of every key come out. It
// knows nothing of clusters, of Helm or of the types of porticod's
// configuration, and does not say whether a value is valid: the chart's schema
// and porticod do.
//
// # Invariants
//
//   - Nothing that somebody wrote is silently dropped. Each key is in one of
//     Mapped, Missing and Needless, or is an error.
//   - A key that no form has is an error with its path and, if there is one that
//     is like it, the key that was meant.
//   - One file has one form. A key of another form is an error that says which.
//   - A key is Needless only if Portico does without it as its value asks.
//   - The account and the errors have keys in them and no values, which may be
//     credentials. A password in the address of a store is not taken over.
//   - The tables and docs/from-vcluster.md say the same: the page is written
//     from them.
//
// # Map
//
//	convert.go    Convert: which form a file has, and the walk through it
//	conversion.go the result while it is made
//	row.go        row, the kinds of rows, and whether a value asks for anything
//	table.go      tables of rows: which keys there are, and errors for others
//	ours.go       the rows of Portico's own form
//	newsync.go newcluster.go newcontrol.go newworkload.go newstore.go  the rows of 0.20 and later
//	policies.go   the rows of isolation, of both
//	old.go oldsync.go oldworkload.go  the rows of the releases before
//	values.go services.go stores.go arguments.go  rules for values that do not only move
package convert
