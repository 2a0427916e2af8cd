// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store/sqlite"
)

// openerVariable makes this program a process that only opens a store.
const openerVariable = "PORTICO_BENCH_OPEN"

// runOpener opens the store, says so and waits for its end. It reports whether
// this process is one.
func runOpener(ctx context.Context) (bool, error) {
	dir := os.Getenv(openerVariable)
	if dir == "" {
		return false, nil
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	e, err := sqlite.Open(ctx, sqlite.Options{Dir: dir})
	if err != nil {
		return true, err
	}
	if _, err := e.Client().Kubernetes.Get(ctx, "/none", etcdk8s.GetOptions{}); err != nil {
		return true, err
	}
	fmt.Println("open")
	// As porticod does after its start.
	debug.FreeOSMemory()
	fmt.Println("settled")
	<-ctx.Done()
	return true, e.Close()
}

func startOpener(ctx context.Context, dir string) (*process, error) {
	began := time.Now()
	cmd := exec.CommandContext(ctx, os.Args[0]) //nolint:gosec // This program again.
	cmd.Env = append(os.Environ(), openerVariable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd}
	lines := bufio.NewReader(out)
	for _, want := range []string{"open", "settled"} {
		line, err := lines.ReadString('\n')
		if err != nil || strings.TrimSpace(line) != want {
			return nil, fmt.Errorf("%q instead of %q: %w", line, want, err)
		}
		if want == "open" {
			p.started = time.Since(began)
		}
	}
	return p, nil
}

// startup holds the time and memory of a start with many keys.
type startup struct {
	start    time.Duration // median
	resident int64
}

// measureStartup fills each side, stops it, and starts it again some times.
func measureStartup(ctx context.Context, sides []*side, keys, times int) (map[string]startup, error) {
	out := map[string]startup{}
	for _, s := range sides {
		if err := fill(ctx, s, keys, func(n int) string { return fmt.Sprintf("/start/%09d", n) }); err != nil {
			return nil, err
		}
		if err := s.stop(); err != nil {
			return nil, fmt.Errorf("stop %s: %w", s.name, err)
		}
		var all sample
		var last startup
		for range times {
			p, err := s.start(ctx)
			if err != nil {
				return nil, fmt.Errorf("start %s: %w", s.name, err)
			}
			all.latencies = append(all.latencies, p.started)
			if last.resident, err = p.resident(); err != nil {
				return nil, err
			}
			if err := p.stop(); err != nil {
				return nil, err
			}
		}
		last.start = all.percentile(0.5)
		out[s.name] = last
		s.stop = func() error { return nil }
	}
	return out, nil
}
