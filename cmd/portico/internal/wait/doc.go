// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package wait waits for the host to do something, and says why it takes long.
//
// # Invariants
//
//   - Every wait has a limit, and its error names the limit, the last known
//     reason, and how to wait longer.
//   - After three seconds the reason is shown, and again whenever it changes.
//
// # Map
//
//	wait.go     For and its Options
//	reasons.go  Pods: why pods are not ready
package wait
