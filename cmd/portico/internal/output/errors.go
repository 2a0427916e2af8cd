// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package output

import (
	"errors"
	"fmt"
	"io"
)

// hintError carries a remedy for an error, for a person to read.
type hintError struct {
	error
	hint string
}

// WithHint adds a remedy to an error, for a person to read. An error that has a
// hint keeps it: the place nearest to the fault knows best.
func WithHint(err error, format string, args ...any) error {
	var has *hintError
	if err == nil || errors.As(err, &has) {
		return err
	}
	return &hintError{err, fmt.Sprintf(format, args...)}
}

func (e *hintError) Unwrap() error { return e.error }

// usageError is a command line that makes no sense, as opposed to a command
// that failed.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// Misuse marks an error as one of the command line.
func Misuse(err error) error { return &usageError{err} }

// ExitError is the exit code of a program that ran on behalf of the user, whose own
// output has said all there is to say.
type ExitError int

func (e ExitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Report writes an error and its hint, and returns the exit code: 0 done,
// 1 failed, 2 misused.
func Report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	var exit ExitError
	if errors.As(err, &exit) {
		return int(exit)
	}
	fmt.Fprintf(w, "error: %v\n", err)
	var hinted *hintError
	if errors.As(err, &hinted) {
		fmt.Fprintf(w, "hint: %s\n", hinted.hint)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}
