// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"time"
)

// met says whether a mark was reached.
type met string

const (
	metYes     met = "yes"
	metNo      met = "no"
	metUnknown met = ""
)

func isMet(ok bool) met {
	if ok {
		return metYes
	}
	return metNo
}

// row is one measurement.
type row struct {
	what  string
	value string
	ratio string
	mark  string
	met   met
}

// report collects rows in the order in which they were measured.
type report struct{ rows []row }

func (r *report) add(row row) { r.rows = append(r.rows, row) }

// addRatio adds a comparison of side a with side b. The mark is about p50: with
// a thousand requests, p99 is ten of them.
func (r *report) addRatio(what, aName, bName string, mark float64, a, b latencies) {
	p50 := ratio(a.percentile(50), b.percentile(50))
	p99 := ratio(a.percentile(99), b.percentile(99))
	r.add(row{
		what: what,
		value: fmt.Sprintf("%s %s / %s ms, %s %s / %s ms",
			aName, ms(a.percentile(50)), ms(a.percentile(99)),
			bName, ms(b.percentile(50)), ms(b.percentile(99))),
		ratio: fmt.Sprintf("**%.2fx** / %.2fx", p50, p99),
		mark:  fmt.Sprintf("<= %.1fx", mark),
		met:   isMet(p50 <= mark),
	})
}

// skip adds a row that says why there is no measurement.
func (r *report) skip(what, why string) {
	r.add(row{what: what, value: "not measured: " + why, met: metUnknown})
}

func (r *report) write(out io.Writer) error {
	if _, err := fmt.Fprint(out,
		"| measurement | p50 / p99 of each side | ratio p50 / p99 | mark (p50) | met |\n"+
			"|---|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, row := range r.rows {
		if _, err := fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n",
			row.what, row.value, row.ratio, row.mark, row.met); err != nil {
			return err
		}
	}
	return nil
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }
