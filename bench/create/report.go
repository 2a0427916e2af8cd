// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// mark is the longest that a person should wait.
const mark = 10 * time.Second

// report prints a table of the parts. Each part is the median of the runs.
func report(to io.Writer, o options, all []moments) {
	fmt.Fprintf(to, "portico create to the first answer, %d runs\n\n| moment | after (median) | part (median) | worst part |\n|---|---|---|---|\n", o.runs)
	for i, at := range order[1:] {
		after, parts := times(all, start, at), times(all, order[i], at)
		if len(after) == 0 {
			fmt.Fprintf(to, "| %s | not seen | | |\n", at)
			continue
		}
		fmt.Fprintf(to, "| %s | %.2f s | %.2f s | %.2f s |\n", at, after[len(after)/2].Seconds(), median(parts), slices.Max(append(parts, 0)).Seconds())
	}
	whole := times(all, start, answered)
	met := "missed"
	if whole[len(whole)/2] <= mark {
		met = "met"
	}
	fmt.Fprintf(to, "\nmark: %s at most, %s\n", mark, met)
}

func median(sorted []time.Duration) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2].Seconds()
}

// times are the sorted times between two moments, of the runs that saw both.
func times(all []moments, from, to moment) []time.Duration {
	var found []time.Duration
	for _, m := range all {
		if !m[from].IsZero() && !m[to].IsZero() {
			found = append(found, m[to].Sub(m[from]))
		}
	}
	slices.Sort(found)
	return found
}
