// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package suggest

import (
	"slices"
	"strings"
)

// Closest returns the candidate that is most like word, or "" if none is like
// it. Upper and lower case count as
// the same.
func Closest(word string, candidates []string) string {
	best, least := "", limit(word)+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// limit is how many edits a typing mistake in word has at most.
func limit(word string) int {
	return 1 + len([]rune(word))/4
}

// distance is the number of edits that make b of a: a character more, less or
// other, or two neighbours the other way round.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	before, last := make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row := make([]int, len(t)+1)
		row[0] = i
		for j := 1; j <= len(t); j++ {
			other := 0
			if s[i-1] != t[j-1] {
				other = 1
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+other)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(t)]
}
