// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// row is one scenario with one number of clients.
type row struct {
	name    string
	clients int
	samples map[string]*sample
}

// report holds the results.
type report struct {
	options
	rows    []row
	api     []row // of ConfigMaps, through API servers
	startup map[string]startup
	load    string
}

var sideNames = []string{"portico", "etcd", "kine"}

// mark is a goal of the store, compared with a peer.
type mark struct {
	text string
	// value and limit; over says that the value must not be below the limit.
	value, limit float64
	over         bool
}

func (m mark) String() string {
	verdict := "reached"
	if m.over && m.value < m.limit || !m.over && m.value > m.limit {
		verdict = "**missed**"
	}
	return fmt.Sprintf("| %s | %.2f | %s |", m.text, m.value, verdict)
}

func (r *report) write(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d CPUs, load average %s before and %s after, %d turns of %v for each side.\n\n",
		cpuModel(), runtime.NumCPU(), r.load, loadAverage(), r.turns, r.slice)
	if len(r.rows) > 0 {
		table(&b, "scenario", r.rows)
	}
	if len(r.api) > 0 {
		b.WriteString("\nConfigMaps of 1 KiB, through the API server of a virtual cluster on each store:\n\n")
		table(&b, "request", r.api)
	}
	stored := int64(r.keys) * (valueSize + 16)
	if r.startup != nil {
		fmt.Fprintf(&b, "\n%d keys of 1 KiB, %d MiB of keys and values:\n\n| | start, to the first answer | resident memory |\n|---|---|---|\n", r.keys, stored>>20)
		for _, name := range sideNames {
			s := r.startup[name]
			fmt.Fprintf(&b, "| %s | %s | %d MiB |\n", name, short(s.start), s.resident>>20)
		}
	}
	if marks := r.marks(stored); len(marks) > 0 {
		b.WriteString("\n| mark | measured | |\n|---|---|---|\n")
		for _, m := range marks {
			fmt.Fprintln(&b, m)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func table(b *strings.Builder, what string, rows []row) {
	fmt.Fprintf(b, "| %s | clients |", what)
	for _, name := range sideNames {
		fmt.Fprintf(b, " %s p50 | p99 | per second |", name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|---|---|", len(sideNames)) + "\n")
	for _, row := range rows {
		fmt.Fprintf(b, "| %s | %d |", row.name, row.clients)
		for _, name := range sideNames {
			s := row.samples[name]
			fmt.Fprintf(b, " %s | %s | %.0f |", short(s.percentile(0.5)), short(s.percentile(0.99)), s.perSecond())
		}
		b.WriteString("\n")
	}
}

func (r *report) marks(stored int64) (out []mark) {
	if len(r.rows) == 0 || r.startup == nil || r.only != "" {
		return nil // a part says nothing about the whole
	}
	find := func(name string, clients int) *row {
		for i := range r.rows {
			if strings.HasPrefix(r.rows[i].name, name) && r.rows[i].clients == clients {
				return &r.rows[i]
			}
		}
		return nil
	}
	latency := func(row *row, side string) float64 { return row.samples[side].percentile(0.5).Seconds() }
	put, many := find("put", 1), find("put", 64)
	out = append(out,
		mark{"durable write of one client, p50, of etcd's (at most 0.5)", latency(put, "portico") / latency(put, "etcd"), 0.5, false},
		mark{"durable write of one client, p50, of kine's (at most 0.35)", latency(put, "portico") / latency(put, "kine"), 0.35, false},
		mark{"writes of 64 clients, of etcd's (at least 2)", many.samples["portico"].perSecond() / many.samples["etcd"].perSecond(), 2, true},
	)
	for _, name := range []string{"get", "range of 500", "range of 1"} {
		row := find(name, 1)
		if row == nil {
			continue
		}
		out = append(out, mark{row.name + ", requests a second, of etcd's (at least 10)", row.samples["portico"].perSecond() / row.samples["etcd"].perSecond(), 10, true})
	}
	ours := r.startup["portico"]
	return append(out,
		mark{fmt.Sprintf("start with %d keys, seconds (at most 1)", r.keys), ours.start.Seconds(), 1, false},
		mark{"resident memory, of the bytes stored (at most 2)", float64(ours.resident) / float64(stored), 2, false},
	)
}

// short is a duration with as many digits as mean something.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return d.Round(10 * time.Nanosecond).String()
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	default:
		return d.Round(10 * time.Microsecond).String()
	}
}

func loadAverage() string {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(content), " ")
	return first
}

func cpuModel() string {
	content, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(content)) {
			if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(model)
			}
		}
	}
	return "unknown CPU"
}
