// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package suggest finds the word that was probably meant, for errors that end
// with "did you mean". Commands and configuration share it.
//
// It knows nothing of the words: its caller says which are possible.
//
// # Invariants
//
//   - No suggestion is better than a wrong one: a word that is too different
//     from all others gets none.
//   - The same question has the same answer, in any order of the words.
//
// # Map
//
//	suggest.go  Closest, and the distance between two words
package suggest
