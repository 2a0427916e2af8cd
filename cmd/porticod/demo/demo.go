// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"portico.dev/portico/cmd/porticod/child"
)

// patience bounds each step that waits for something. It is far above the needs
// of a slow machine; a step that takes longer has failed.
const patience = 2 * time.Minute

// Streams are the demo's outputs: Out takes its own text, Err the log of a
// child that failed.
type Streams struct{ Out, Err io.Writer }

// Options are the demo's choices.
type Options struct {
	// Once ends the demo after it has shown everything, instead of leaving
	// both clusters running until it is interrupted.
	Once bool
	// Dir takes the data, logs and kubeconfigs. If empty, a temporary
	// directory is made, and removed at the end unless something failed.
	Dir string
	// Executable is the porticod to run; the running program if empty.
	Executable string
}

// Error is a failure together with a hint for the user.
type Error struct {
	Err  error
	hint string
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint suggests the next step.
func (e *Error) Hint() string { return e.hint }

// Run runs the demo. Without Once it returns when ctx ends, which is no error.
func Run(ctx context.Context, s Streams, o Options) (err error) {
	dir, remove, err := prepareDir(o.Dir)
	if err != nil {
		return err
	}
	var clusters *Clusters
	defer func() {
		if clusters != nil {
			err = errors.Join(err, clusters.Stop())
		}
		err = conclude(ctx, s, err, o.Once, dir)
		if err == nil {
			err = remove()
		}
	}()

	p := &progress{out: s.Out, now: time.Now}
	clusters, err = Start(ctx, ClusterOptions{Dir: dir, Executable: o.Executable, Step: p.step})
	if err != nil {
		return err
	}
	if err := show(ctx, s.Out, p, clusters); err != nil {
		return errors.Join(clusters.Host.ended(), clusters.Virtual.ended(), err)
	}
	if o.Once {
		return nil
	}
	fmt.Fprintf(s.Out, "\nBoth clusters keep running. Look around from another terminal:\n\n"+
		"  as the tenant   export KUBECONFIG=%s\n"+
		"  on the host     export KUBECONFIG=%s\n\n"+
		"Data and logs are in %s. Ctrl-C ends both.\n", clusters.Virtual.Kubeconfig, clusters.Host.Kubeconfig, dir)
	select {
	case <-ctx.Done():
		fmt.Fprintln(s.Out)
		return nil
	case <-clusters.Virtual.process.Ended():
		return clusters.Virtual.process.Err()
	case <-clusters.Host.process.Ended():
		return clusters.Host.process.Err()
	}
}

// show does a user's steps and prints the resulting views of both sides.
func show(ctx context.Context, out io.Writer, p *progress, c *Clusters) error {
	virtual, err := c.Virtual.Client()
	if err != nil {
		return err
	}
	host, err := c.Host.Client()
	if err != nil {
		return err
	}
	if err := walk(ctx, p, virtual); err != nil {
		return err
	}
	tenant, err := observe(ctx, virtual, walkNamespace)
	if err != nil {
		return fmt.Errorf("look at the virtual cluster: %w", err)
	}
	onHost, err := observe(ctx, host, c.Namespace)
	if err != nil {
		return fmt.Errorf("look at the host: %w", err)
	}
	fmt.Fprintln(out)
	if err := writeViews(out, tenant, onHost, c.Namespace); err != nil {
		return err
	}
	if err := verify(tenant, onHost, c.Name, c.Namespace); err != nil {
		return fmt.Errorf("the two sides are not as they should be: %w", err)
	}
	fmt.Fprintf(out, "\nVerified: each pod is one object with one uid on both sides; the host has no Deployment\n"+
		"and no namespace %q; the tenant does not see namespace %q.\n", walkNamespace, c.Namespace)
	return nil
}

// prepareDir returns the directory to use, absolute, and how to remove it
// again if it was made here.
func prepareDir(dir string) (string, func() error, error) {
	if dir == "" {
		made, err := os.MkdirTemp("", "portico-demo-")
		if err != nil {
			return "", nil, fmt.Errorf("make a directory for the demo: %w", err)
		}
		return made, func() error { return os.RemoveAll(made) }, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, fmt.Errorf("find directory %q: %w", dir, err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return "", nil, fmt.Errorf("make a directory for the demo: %w", err)
	}
	return abs, func() error { return nil }, nil
}

// conclude turns an error into one for a person to read. A demo that runs until
// it is interrupted ends on request, so a step that was cut short is no failure
// then.
func conclude(ctx context.Context, s Streams, err error, once bool, dir string) error {
	if err == nil || !once && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	var failed *child.Error
	if !errors.As(err, &failed) {
		return &Error{Err: err, hint: "the logs and data are kept in " + dir}
	}
	child.PrintLog(s.Err, err)
	return &Error{Err: err, hint: "the whole log is " + failed.Log}
}
