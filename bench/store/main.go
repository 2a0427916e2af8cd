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
	"path/filepath"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	etcd, kine, porticod string
	dir, plot            string
	only                 string
	short                bool
	turns                int
	slice                time.Duration
	keys                 int // at a start
	listed               int // in the longest list
	fanOuts              int // writes that all watchers wait for
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	opener, err := runOpener(ctx)
	if !opener {
		err = run(ctx, os.Stdout, os.Stderr, os.Args[1:])
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func parse(args []string, usage io.Writer) (options, error) {
	o := options{turns: 6, slice: 500 * time.Millisecond, keys: 100_000, listed: 10_000, fanOuts: 100}
	f := flag.NewFlagSet("store", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&o.etcd, "etcd", "", "the etcd `program`")
	f.StringVar(&o.kine, "kine", "", "the kine `program`")
	f.StringVar(&o.porticod, "porticod", "", "the porticod `program`")
	f.StringVar(&o.dir, "dir", "", "a `directory` on the disk that is to be measured; default: a temporary one")
	f.StringVar(&o.plot, "plot", "", "`file` to draw the plot into")
	f.StringVar(&o.only, "only", "", "measure only scenarios with this in their `name`; start and memory are \"start\", ConfigMaps through API servers \"api\"")
	f.BoolVar(&o.short, "short", false, "fewer and shorter turns, to see that it runs")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.etcd == "" || o.kine == "" || o.porticod == "" {
		return o, errors.New("--etcd, --kine and --porticod are needed (make bench-store builds them)")
	}
	if o.short {
		o.turns, o.slice, o.keys, o.listed, o.fanOuts = 1, 200*time.Millisecond, 10_000, 1000, 10
	}
	return o, nil
}

func run(ctx context.Context, out, progress io.Writer, args []string) (err error) {
	o, err := parse(args, progress)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "portico-bench-store-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory; the result stands
	r := &report{options: o, load: loadAverage()}
	for _, g := range groups(o) {
		if err := withSides(ctx, o, filepath.Join(dir, g.name), func(sides []*side) error { return g.measure(ctx, progress, r, sides, o) }); err != nil {
			return err
		}
	}
	if o.plot != "" && len(r.rows) > 0 {
		if err := os.WriteFile(o.plot, []byte(plot(r.rows)), 0o644); err != nil { //nolint:gosec // A picture for the documentation.
			return err
		}
	}
	return r.write(out)
}

// group is a set of measurements on the same stores.
type group struct {
	name    string
	measure func(context.Context, io.Writer, *report, []*side, options) error
}

// groups are those that the options ask for. Each has stores of its own, so
// that start and memory are measured with the same keys on all sides.
func groups(o options) (wanted []group) {
	if len(scenarios(o)) > 0 {
		wanted = append(wanted, group{"requests", measureRequests})
	}
	for _, g := range []group{{"start", measureStart}, {"api", measureAPI}} {
		if strings.Contains(g.name, o.only) {
			wanted = append(wanted, g)
		}
	}
	return wanted
}

// withSides runs fn with empty stores.
func withSides(ctx context.Context, o options, dir string, fn func([]*side) error) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	sides, err := openAll(ctx, o, dir)
	defer func() {
		for _, s := range sides {
			err = errors.Join(err, s.stop())
		}
	}()
	if err != nil {
		return err
	}
	return fn(sides)
}

func openAll(ctx context.Context, o options, dir string) (sides []*side, err error) {
	for name, open := range map[string]func(string) (*side, error){
		"portico": func(dir string) (*side, error) { return openPortico(ctx, dir) },
		"etcd":    func(dir string) (*side, error) { return openEtcd(ctx, o.etcd, dir) },
		"kine":    func(dir string) (*side, error) { return openKine(ctx, o.kine, dir) },
	} {
		own := filepath.Join(dir, name)
		if err := os.Mkdir(own, 0o700); err != nil {
			return sides, err
		}
		s, err := open(own)
		if err != nil {
			return sides, err
		}
		sides = append(sides, s)
	}
	return sides, nil
}

// measureStart measures start and memory with many keys.
func measureStart(ctx context.Context, progress io.Writer, r *report, sides []*side, o options) (err error) {
	fmt.Fprintf(progress, "Measuring start and memory with %d keys\n", o.keys)
	r.startup, err = measureStartup(ctx, sides, o.keys, 3)
	return err
}

// measureRequests runs the scenarios that the options ask for.
func measureRequests(ctx context.Context, progress io.Writer, r *report, sides []*side, o options) error {
	for _, s := range sides {
		fmt.Fprintf(progress, "Filling %s\n", s.name)
		if err := fill(ctx, s, o.listed, listKey); err != nil {
			return err
		}
	}
	for _, scenario := range scenarios(o) {
		for _, clients := range scenario.clients {
			fmt.Fprintf(progress, "Measuring %s with %d clients\n", scenario.name, clients)
			got, err := scenario.measure(ctx, sides, clients)
			if err != nil {
				return fmt.Errorf("%s: %w", scenario.name, err)
			}
			r.rows = append(r.rows, row{scenario.name, clients, got})
		}
	}
	return nil
}
