// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// options are the command line.
type options struct {
	portico, kubectl, kubeconfig, name string
	runs                               int
	idle                               time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o := options{}
	f := flag.NewFlagSet("create", flag.ContinueOnError)
	f.StringVar(&o.portico, "portico", "bin/portico", "the command line tool")
	f.StringVar(&o.kubectl, "kubectl", "kubectl", "kubectl")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "of the host's administrator")
	f.StringVar(&o.name, "name", "bench-create", "of the virtual cluster")
	f.IntVar(&o.runs, "runs", 5, "how many times")
	f.DurationVar(&o.idle, "idle", time.Minute, "how long the last one is idle before its memory is read")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.kubeconfig == "" || o.runs < 1 || f.NArg() > 0 {
		return errors.New("usage: create --kubeconfig FILE [--runs N]")
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "portico-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var all []moments
	for n := range o.runs {
		m, err := o.once(ctx, client, dir, n == o.runs-1)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "run %d: %s\n", n+1, m.since(answered).Round(time.Millisecond))
		all = append(all, m)
	}
	report(os.Stdout, o, all)
	return nil
}

// once creates a cluster, asks it, and deletes it. The last one is left alone for
// a while, for its memory.
func (o options) once(ctx context.Context, client kubernetes.Interface, dir string, last bool) (m moments, err error) {
	// A person's kubeconfig, which portico writes to.
	kubeconfig := filepath.Join(dir, "kubeconfig")
	content, err := os.ReadFile(o.kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(kubeconfig, content, 0o600); err != nil { //nolint:gosec // In a directory that we made.
		return nil, err
	}
	command := func(ctx context.Context, program string, args ...string) error {
		c := exec.CommandContext(ctx, program, args...)
		c.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
		out, err := os.CreateTemp(dir, "output-") // A file: the background forward goes on.
		if err != nil {
			return err
		}
		defer out.Close()
		c.Stdout, c.Stderr = out, out
		if err := c.Run(); err != nil {
			said, _ := os.ReadFile(out.Name()) // The error is enough without.
			return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, said)
		}
		return nil
	}
	defer func() {
		// Also after an interruption.
		gone := command(context.WithoutCancel(ctx), o.portico, "delete", o.name, "--ignore-not-found")
		err = errors.Join(err, gone)
	}()

	namespace := "portico-" + o.name
	watching, stop := context.WithCancel(ctx)
	defer stop()
	w, err := watch(watching, client, namespace)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := command(ctx, o.portico, "create", o.name); err != nil {
		return nil, err
	}
	created := time.Now()
	if err := command(ctx, o.kubectl, "get", "namespaces"); err != nil {
		return nil, err
	}
	now := time.Now()
	stop()
	m = w.seen()
	m[start], m[returned], m[answered] = began, created, now
	if !last {
		return m, nil
	}
	select {
	case <-time.After(o.idle):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return m, printMemory(ctx, os.Stderr, client, namespace, o.name)
}
