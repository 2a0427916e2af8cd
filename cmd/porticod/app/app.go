// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/component-base/version"
)

// Streams are the standard streams of a command. Data goes to Out, everything
// for a person's eyes to Err.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// Main runs porticod with args and returns its exit code: 0 done, 1 failed,
// 2 misused.
func Main(ctx context.Context, s Streams, args []string) int {
	root := newRoot(s)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if strings.HasPrefix(err.Error(), "unknown command ") { // cobra has no type for it
		err = &usageError{withHint(err, "see porticod --help")}
	}
	fmt.Fprintf(s.Err, "error: %v\n", err)
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		fmt.Fprintf(s.Err, "hint: %s\n", hinted.Hint())
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

func newRoot(s Streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "porticod",
		Short:         "A whole Kubernetes cluster inside one namespace of another",
		Version:       version.Get().GitVersion,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	// Upstream's libraries bring a --version of their own, which is no switch
	// and which cobra would stumble over.
	root.PersistentFlags().Bool("version", false, "print the version and end")
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%s: %w", c.CommandPath(), withHint(err, "see "+c.CommandPath()+" --help"))}
	})
	root.AddCommand(newServe(), newHost(), newCheck(s), newSnapshot(s), newRights(s), newConfig(s), newRotate(s), newUninstall(s), newEtcdKeys(), newProbe(s), newDemo(s), newSync(s))
	return root
}

// hintError carries a remedy for an error, for a person to read.
type hintError struct {
	error
	hint string
}

func withHint(err error, hint string) error { return &hintError{err, hint} }

func (e *hintError) Unwrap() error { return e.error }

// Hint returns the remedy.
func (e *hintError) Hint() string { return e.hint }

// usageError is a command line that makes no sense, as opposed to a command
// that failed.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }
