// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// report collects the results in the order in which they were measured.
type report struct {
	Machine    string    `json:"machine"`
	CPUs       int       `json:"cpus"`
	Platform   string    `json:"platform"`
	Commit     string    `json:"commit"`
	Began      time.Time `json:"began"`
	LoadBefore string    `json:"loadBefore"`
	LoadAfter  string    `json:"loadAfter"`

	Ratios  []ratioRow   `json:"ratios"`
	Values  []valueRow   `json:"values"`
	Skipped []skippedRow `json:"skipped"`
}

// ratioRow compares two sides. Times are milliseconds.
type ratioRow struct {
	Section string  `json:"section"`
	What    string  `json:"what"`
	Clients int     `json:"clients"`
	Left    sideRow `json:"left"`
	Right   sideRow `json:"right"`
	// Ratio is the median over the rounds of the ratio of the two medians, and Low
	// and High are the bounds of its interval of 95 % confidence.
	Ratio  float64 `json:"ratio"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Rounds int     `json:"rounds"`
	// Tight says that the interval is as narrow as was asked for.
	Tight bool `json:"tight"`
	// Processor is porticod's for each request, in milliseconds, and HostCalls its
	// requests to the host; with those that surround the measured ones. Negative
	// when they are not known.
	Processor float64 `json:"processor"`
	HostCalls float64 `json:"hostCalls"`
	Mark      float64 `json:"mark,omitempty"`
}

// sideRow is one side of a comparison.
type sideRow struct {
	Name      string  `json:"name"`
	P50       float64 `json:"p50"`
	P90       float64 `json:"p90"`
	P99       float64 `json:"p99"`
	PerSecond float64 `json:"perSecond"`
	Samples   int     `json:"samples"`
}

// valueRow is a measurement of porticod alone.
type valueRow struct {
	Section string  `json:"section"`
	What    string  `json:"what"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Note    string  `json:"note,omitempty"`
	Mark    float64 `json:"mark,omitempty"`
}

// skippedRow is something that could not be measured.
type skippedRow struct {
	Section string `json:"section"`
	What    string `json:"what"`
	Why     string `json:"why"`
}

func newReport(commit string) *report {
	return &report{
		Machine: cpuModel(), CPUs: runtime.NumCPU(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Commit: commit,
		Began: time.Now().UTC().Truncate(time.Second), LoadBefore: loadAverage(),
	}
}

// end notes the load at the end of the run.
func (r *report) end() { r.LoadAfter = loadAverage() }

// ratio adds a comparison of side a with side b.
func (r *report) ratio(section, what string, clients int, left, right string, c comparison, used *cost) {
	low, mid, high := interval(c.ratios)
	row := ratioRow{
		Section: section, What: what, Clients: clients, Left: sideOf(left, c.a), Right: sideOf(right, c.b),
		Ratio: mid, Low: low, High: high, Rounds: len(c.ratios), Tight: tight(c.ratios),
		Processor: -1, HostCalls: -1, Mark: marks[markOf{what, clients}],
	}
	if n := float64(used.requests.Load()); !used.unavailable && n > 0 {
		row.Processor, row.HostCalls = ms(used.processor)/n, float64(used.hostCalls)/n
	}
	r.Ratios = append(r.Ratios, row)
}

func sideOf(name string, m measured) sideRow {
	return sideRow{
		Name: name, P50: ms(m.times.percentile(50)), P90: ms(m.times.percentile(90)), P99: ms(m.times.percentile(99)),
		PerSecond: m.perSecond(), Samples: len(m.times),
	}
}

// events adds the arrival of events at watches of the door and of its host.
func (r *report) events(watches int, door, host latencies, before, held sample) {
	what := fmt.Sprintf("host write to event, %d watches", watches)
	for _, p := range []int{50, 99} {
		value := valueRow{Section: "watch", What: fmt.Sprintf("%s, p%d", what, p), Value: ms(door.percentile(p)), Unit: "ms",
			Note: fmt.Sprintf("%.2f ms at watches of the host itself", ms(host.percentile(p)))}
		r.Values = append(r.Values, value)
	}
	if watches < 500 || !held.known {
		return // too few to see one
	}
	each := float64(held.anonymous-before.anonymous) / float64(watches) / 1000
	r.value(valueRow{Section: "watch", What: fmt.Sprintf("memory of a watch, of %d", watches), Value: each, Unit: "KB"})
}

func (r *report) value(row valueRow) { r.Values = append(r.Values, row) }

// skip adds a row that says why there is no measurement.
func (r *report) skip(section, what, why string) {
	r.Skipped = append(r.Skipped, skippedRow{section, what, why})
}

// markdown returns all results as tables.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d CPUs, %s; commit %s, %s; load %s before and %s after.\n",
		r.Machine, r.CPUs, r.Platform, orUnknown(r.Commit), r.Began.Format(time.DateOnly), r.LoadBefore, r.LoadAfter)
	if len(r.Ratios) > 0 {
		b.WriteString("\n| request | clients | door p50 / p90 / p99, ms | other side | requests a second | ratio of p50 [95 % interval] | processor of a request, ms | host requests | mark |\n|---|---|---|---|---|---|---|---|---|\n")
	}
	for _, row := range r.Ratios {
		fmt.Fprintf(&b, "| %s | %d | %s | %s: %s | %.0f / %.0f | **%.2fx** [%.2f, %.2f]%s | %s | %s | %s |\n", row.What, row.Clients,
			row.Left.times(), row.Right.Name, row.Right.times(), row.Left.PerSecond, row.Right.PerSecond,
			row.Ratio, row.Low, row.High, wide(row.Tight), known(row.Processor), known(row.HostCalls), verdict(row.Ratio, row.Mark, "x"))
	}
	if len(r.Values) > 0 {
		b.WriteString("\n| measurement | value | | mark |\n|---|---|---|---|\n")
	}
	for _, row := range r.Values {
		fmt.Fprintf(&b, "| %s | %s %s | %s | %s |\n", row.What, short(row.Value), row.Unit, row.Note, verdict(row.Value, row.Mark, " "+row.Unit))
	}
	if len(r.Skipped) > 0 {
		b.WriteString("\n| not measured | because |\n|---|---|\n")
	}
	for _, row := range r.Skipped {
		fmt.Fprintf(&b, "| %s: %s | %s |\n", row.Section, row.What, strings.ReplaceAll(row.Why, "\n", " "))
	}
	return b.String()
}

func (s sideRow) times() string { return fmt.Sprintf("%.2f / %.2f / %.2f", s.P50, s.P90, s.P99) }

func wide(tight bool) string {
	if tight {
		return ""
	}
	return ", wide"
}

func known(v float64) string {
	if v < 0 {
		return ""
	}
	return short(v)
}

func short(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func verdict(value, mark float64, unit string) string {
	switch {
	case mark == 0:
		return ""
	case value <= mark:
		return fmt.Sprintf("<= %g%s: reached", mark, unit)
	}
	return fmt.Sprintf("<= %g%s: **missed**", mark, unit)
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}

// save writes the report in its three forms.
func (r *report) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a part of the documentation
		return fmt.Errorf("make %s: %w", dir, err)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"bench.json": string(text) + "\n", "bench.svg": r.plot(), "bench.md": "# Results of `make bench`\n\n" + r.markdown(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil { //nolint:gosec // a part of the documentation
			return fmt.Errorf("save the report: %w", err)
		}
	}
	return nil
}

// appendGo writes each comparison as a line that benchstat reads: the door's
// time, the ratio, and what the door used.
func (r *report) appendGo(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // results, for anybody
	if err != nil {
		return fmt.Errorf("append results: %w", err)
	}
	for _, row := range r.Ratios {
		name := strings.NewReplacer(" ", "-", ",", "").Replace(row.What)
		fmt.Fprintf(f, "Benchmark%s/clients=%d %d %.0f ns/op %.4f x-other-side", name, row.Clients, row.Left.Samples, row.Left.P50*1e6, row.Ratio)
		if row.Processor >= 0 {
			fmt.Fprintf(f, " %.4f cpu-ms/op %.3f host-requests/op", row.Processor, row.HostCalls)
		}
		fmt.Fprintln(f)
	}
	for _, row := range r.Values {
		name := strings.NewReplacer(" ", "-", ",", "").Replace(row.What)
		fmt.Fprintf(f, "Benchmark%s 1 %g %s\n", name, row.Value, strings.ReplaceAll(row.Unit, " ", "-"))
	}
	return f.Close()
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// cpuModel and loadAverage describe the machine of the figures; both are known
// on Linux only.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:1], "")
}
