// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ticksPerSecond is the unit of times in /proc on Linux.
const ticksPerSecond = 100

// usage is what the processes of the machine have taken.
type usage struct {
	cpu      time.Duration // of all porticods of virtual clusters
	requests float64       // that the host has answered
}

func measure(ctx context.Context, f *fleet, o options, out io.Writer) error {
	began := time.Now()
	if err := f.grow(ctx, o.clusters, o.together); err != nil {
		return err
	}
	grown := time.Since(began)
	f.say("all %d sleep; the host alone", o.clusters)
	asleep, err := f.during(ctx, o)
	if err != nil {
		return err
	}
	f.say("waking %d", o.awake)
	for i := range o.awake {
		if err := list(ctx, f.named(i).client); err != nil {
			return fmt.Errorf("wake virtual cluster %d: %w", i, err)
		}
	}
	awake, err := f.during(ctx, o)
	if err != nil {
		return err
	}
	resident, own := f.memory()
	f.say("timing wakes while %d serve", o.awake-1)
	wakes, served, err := f.timeWakes(ctx, o)
	if err != nil {
		return err
	}
	disk, err := size(filepath.Join(f.dir, "c000"))
	if err != nil {
		return err
	}
	n := float64(o.awake)
	perMinute := max(0, awake.requests-asleep.requests) / o.window.Minutes()
	fmt.Fprintf(out, "| measurement | value |\n|---|---|\n")
	for _, row := range [][2]string{
		{"machine", fmt.Sprintf("%d cores, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)},
		{"virtual clusters, awake", fmt.Sprintf("%d, %d", o.clusters, o.awake)},
		{"making all of them, each with a Deployment of two pods, until it sleeps", grown.Round(time.Second).String()},
		{"memory of one that sleeps", "none: no process"},
		{"disk of one that sleeps", fmt.Sprintf("%.1f MiB", disk/(1<<20))},
		{"memory of one that is awake and idle, resident", fmt.Sprintf("%.0f MiB", resident/n/(1<<20))},
		{"of which its own (anonymous)", fmt.Sprintf("%.0f MiB", own/n/(1<<20))},
		{"all control planes, resident", fmt.Sprintf("%.0f MiB", resident/(1<<20))},
		{"processor time of one that is awake and idle", fmt.Sprintf("%.2f %% of a core", 100*awake.cpu.Seconds()/o.window.Seconds()/n)},
		{"requests to the host of one that is awake and idle, a minute", fmt.Sprintf("%.1f", perMinute/n)},
		{"requests to the host with all asleep, a minute", fmt.Sprintf("%.1f", asleep.requests/o.window.Minutes())},
		{fmt.Sprintf("a client's first answer from one that sleeps, while %d serve", o.awake-1), fmt.Sprintf("median %.2f s, worst of %d %.2f s", wakes[len(wakes)/2].Seconds(), len(wakes), wakes[len(wakes)-1].Seconds())},
		{"requests that these served meanwhile, a second each", fmt.Sprintf("%.0f", served)},
	} {
		fmt.Fprintf(out, "| %s | %s |\n", row[0], row[1])
	}
	return nil
}

// during returns what is used in a window, after some rest.
func (f *fleet) during(ctx context.Context, o options) (usage, error) {
	if err := pause(ctx, o.settle); err != nil {
		return usage{}, err
	}
	before, err := f.usage(ctx)
	if err != nil {
		return usage{}, err
	}
	if err := pause(ctx, o.window); err != nil {
		return usage{}, err
	}
	after, err := f.usage(ctx)
	return usage{cpu: after.cpu - before.cpu, requests: after.requests - before.requests}, err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (f *fleet) usage(ctx context.Context) (usage, error) {
	u := usage{}
	for _, pid := range f.pids() {
		u.cpu += cpuOf(pid)
	}
	text, err := f.client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return u, fmt.Errorf("read the host's metrics: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, "apiserver_request_total{") {
			value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			if err != nil {
				return u, fmt.Errorf("read the host's metrics: %w", err)
			}
			u.requests += value
		}
	}
	return u, lines.Err()
}

func (f *fleet) pids() (pids []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.clusters {
		if pid := c.pid(); pid != 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// memory is that of all control planes, in bytes.
func (f *fleet) memory() (resident, own float64) {
	for _, pid := range f.pids() {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		resident += 1024 * field(string(status), "VmRSS")
		own += 1024 * field(string(status), "RssAnon")
	}
	return resident, own
}

func field(status, name string) float64 {
	for line := range strings.Lines(status) {
		if key, value, ok := strings.Cut(line, ":"); ok && key == name {
			n, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return n
		}
	}
	return 0
}

// cpuOf returns the time that a process has taken, by proc(5).
func cpuOf(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may have spaces in it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticksPerSecond
}

func size(dir string) (n float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += float64(info.Size())
		}
		return err
	})
	return n, err
}

// timeWakes has all clusters but one that are awake serve, and times clients of
// others, which sleep.
func (f *fleet) timeWakes(ctx context.Context, o options) (times []time.Duration, served float64, err error) {
	if err := f.named(o.awake - 1).sleep(ctx); err != nil {
		return nil, 0, err
	}
	loading, cancel := context.WithCancel(ctx)
	defer cancel()
	load, loading := errgroup.WithContext(loading)
	var requests atomic.Int64
	began := time.Now()
	for i := range o.awake - 1 {
		load.Go(func() error { return ended(loading, f.named(i).serve(loading, &requests)) })
	}
	for i := range o.wakes {
		c := f.named(o.awake + i%(o.clusters-o.awake))
		client, err := c.fresh()
		if err != nil {
			return nil, 0, err
		}
		at := time.Now()
		if err := list(ctx, client); err != nil {
			return nil, 0, fmt.Errorf("wake %s: %w", c.name, err)
		}
		times = append(times, time.Since(at))
		if err := c.sleep(ctx); err != nil {
			return nil, 0, err
		}
	}
	served = float64(requests.Load()) / time.Since(began).Seconds() / float64(o.awake-1)
	cancel()
	slices.Sort(times)
	return times, served, load.Wait()
}

// loadPause is between two requests of a cluster's user: a busy person with tools,
// and not a benchmark of throughput.
const loadPause = 100 * time.Millisecond

// serve writes and reads until ctx ends.
func (c *cluster) serve(ctx context.Context, requests *atomic.Int64) error {
	maps := c.client.CoreV1().ConfigMaps(metav1.NamespaceDefault)
	for i := 0; ; i++ {
		name := fmt.Sprintf("load-%d", i%50)
		_ = maps.Delete(ctx, name, metav1.DeleteOptions{}) // The first ones are not there.
		if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("load of %s: %w", c.name, err)
		}
		if _, err := c.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{}); err != nil {
			return fmt.Errorf("load of %s: %w", c.name, err)
		}
		requests.Add(3)
		if err := pause(ctx, loadPause); err != nil {
			return err
		}
	}
}

func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
