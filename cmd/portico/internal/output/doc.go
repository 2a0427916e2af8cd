// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package output is how the command line tool speaks: data on standard output,
// texts for a person on standard error, and one error with one hint at the end.
//
// # Invariants
//
//   - Standard output has nothing but the data that a command was asked for, so
//     that it can be piped.
//   - An error is reported once, at the very end.
//
// # Map
//
//	streams.go  Streams and whether a person sits at them
//	errors.go   hints, misuse, exit codes
//	table.go    tables, JSON and YAML
package output
