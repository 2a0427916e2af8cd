// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"io"
	"time"
)

// progress prints a line for each step, with the time it took. The output is
// the same on a terminal and in a file.
type progress struct {
	out io.Writer
	now func() time.Time
}

func (p *progress) step(what string, do func() error) error {
	fmt.Fprintf(p.out, "%s ... ", what)
	began := p.now()
	if err := do(); err != nil {
		fmt.Fprintln(p.out, "failed")
		return err
	}
	fmt.Fprintf(p.out, "%.1f s\n", p.now().Sub(began).Seconds())
	return nil
}
