// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"portico.dev/portico/cmd/porticod/child"
)

type options struct {
	porticod        string
	clusters, awake int
	together        int
	settle, window  time.Duration
	wakes           int
	soak            time.Duration
	seed            uint64
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Stderr, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		child.PrintLog(os.Stderr, err)
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func parse(args []string, usage io.Writer) (options, error) {
	o := options{}
	f := flag.NewFlagSet("density", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&o.porticod, "porticod", "bin/porticod", "the `program` of all clusters")
	f.IntVar(&o.clusters, "clusters", 100, "virtual clusters on the host")
	f.IntVar(&o.awake, "awake", 10, "how many of them are awake while it is measured")
	f.IntVar(&o.together, "together", 2, "clusters that are made at the same time")
	f.DurationVar(&o.settle, "settle", time.Minute, "time between the start of the last cluster and a measurement")
	f.DurationVar(&o.window, "window", 5*time.Minute, "time over which processor time and requests are counted")
	f.IntVar(&o.wakes, "wakes", 10, "wakes that are timed while the others serve")
	f.DurationVar(&o.soak, "soak", 0, "have the clusters sleep and wake for so long, instead of measuring")
	f.Uint64Var(&o.seed, "seed", 1, "of the soak's choices")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.awake < 2 || o.clusters <= o.awake || o.together < 1 || o.wakes < 1 {
		return o, errors.New("--awake must be at least 2, --clusters more than --awake, and --together and --wakes at least 1")
	}
	return o, nil
}

func run(ctx context.Context, out, log io.Writer, args []string) (err error) {
	o, err := parse(args, log)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "density-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory; the result stands
	say := func(format string, args ...any) {
		fmt.Fprintf(log, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
	}
	f, err := newFleet(ctx, o.porticod, dir, say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	if o.soak > 0 {
		return soak(ctx, f, o)
	}
	return measure(ctx, f, o, out)
}
