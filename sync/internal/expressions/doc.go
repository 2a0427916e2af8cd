// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package expressions runs the rewrites of sync.custom: CEL expressions in the
// environment of the API server, which give an Object to merge or a list of
// JSONPatch to apply, as those of MutatingAdmissionPolicies do (KEP-3962).
//
// It knows no rule of Portico's: a rewrite may change everything of an object, and
// the caller puts back what none may take away (rewrite, CustomCopy.Seal).
//
// # Invariants
//
//   - An expression that does not compile is an error with its line and column.
//   - An evaluation has the limits of cost that the API server gives an expression,
//     and all expressions of an object together those of a request.
//
// # Map
//
//	expressions.go  compiled at the start, run for each object
package expressions
