// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package robustness_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"portico.dev/portico/store/sqlite"
)

var (
	kills = flag.Int("kills", 25, "how often the store is killed")
	seed  = flag.Uint64("seed", 0, "repeats the choices of a run; 0 means another one each time")
)

func TestMain(m *testing.M) {
	if runChild() {
		return
	}
	os.Exit(m.Run())
}

// runner starts children, kills them, and asks the checker.
type runner struct {
	t       *testing.T
	dir     string
	seed    uint64
	rand    *rand.Rand
	broken  string
	checker *checker
	said    []line  // since the last dump
	lastLog []event // of the last dump
	watched []int64 // where the next watches begin
	// history holds the checker's last input: enough to judge it again.
	history []line
	path    string
}

func newRunner(t *testing.T, seed uint64, broken string) *runner {
	t.Helper()
	c := newChecker()
	r := &runner{
		t: t, dir: t.TempDir(), seed: seed, rand: rand.New(rand.NewPCG(seed, 1)), broken: broken,
		checker: c, watched: slices.Clone(c.watched), path: filepath.Join(os.TempDir(), fmt.Sprintf("portico-robustness-%d.jsonl", seed)),
	}
	t.Cleanup(func() {
		if t.Failed() {
			r.save()
		}
	})
	return r
}

// save writes down the checker's last input, and the lines after it.
func (r *runner) save() {
	f, err := os.Create(r.path)
	if err != nil {
		r.t.Log(err)
		return
	}
	defer f.Close()
	out := json.NewEncoder(f)
	for _, l := range append(r.history, r.said...) {
		if err := out.Encode(l); err != nil {
			r.t.Log(err)
			return
		}
	}
}

// TestKills kills the store as often as -kills says.
func TestKills(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	r := newRunner(t, *seed, "")
	t.Logf("seed %d; the history is in %s if this fails", r.seed, r.path)
	started := time.Now()
	for round := range *kills {
		if err := r.round(round); err != nil {
			t.Fatalf("kill %d of seed %d: %v", round, r.seed, err)
		}
	}
	if err := r.drain(*kills); err != nil {
		t.Fatalf("after the last kill of seed %d: %v", r.seed, err)
	}
	t.Logf("%d kills, %d requests, %d revisions in %v", *kills, r.checker.ops, r.checker.tip, time.Since(started).Round(time.Second))
	if r.checker.ops < *kills*20 {
		t.Error("hardly anything was asked between the kills")
	}
	report, err := sqlite.Check(t.Context(), r.dir)
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("check: %v, %q", err, report.Problems)
	}
}

// round runs a child until it is killed.
func (r *runner) round(n int) error {
	// Not by time, which says little on a loaded machine: after a number of
	// lines. Some die while they open the store.
	limit := 1 + r.rand.IntN(1500)
	if r.rand.IntN(10) == 0 {
		limit = 0
	}
	return r.run(n, limit, false)
}

// drain lets the watches come to the tip, without writers.
func (r *runner) drain(n int) error {
	if err := r.run(n, -1, true); err != nil {
		return err
	}
	if err := r.run(n+1, -1, true); err != nil { // dumps, and so judges the last one's lines
		return err
	}
	for w, rev := range r.checker.watched {
		if rev < r.checker.tip {
			return fmt.Errorf("watch %d came to revision %d, the store is at %d", w, rev, r.checker.tip)
		}
	}
	return nil
}

// run starts a child and listens to it; it is killed after so many lines.
func (r *runner) run(n, limit int, drain bool) error {
	text, err := json.Marshal(order{
		Dir: r.dir, Seed: r.seed, Round: n, Clients: 1 + r.rand.IntN(8), From: r.checker.tip, Watched: r.watched,
		Compact: r.checker.floor(), Drain: drain, Broken: r.broken,
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(r.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = r.listen(json.NewDecoder(out), limit, func() error {
		if limit == 0 {
			time.Sleep(time.Duration(r.rand.IntN(40)) * time.Millisecond) // any moment of the opening
		}
		return cmd.Process.Kill()
	})
	// After an error too, so that nothing is left running.
	_ = cmd.Process.Kill()
	ended := cmd.Wait()
	if err == nil && drain && ended != nil && limit >= 0 {
		err = ended
	}
	return err
}

func (r *runner) listen(in *json.Decoder, limit int, kill func() error) error {
	if limit == 0 {
		if err := kill(); err != nil {
			return err
		}
	}
	for lines := 0; ; {
		var l line
		if err := in.Decode(&l); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil // the kill may have cut the last line off
		} else if err != nil {
			return err
		}
		if err := r.hear(l); err != nil {
			return err
		}
		if lines++; lines == limit {
			if err := kill(); err != nil {
				return err
			}
		}
	}
}

// hear takes a line.
func (r *runner) hear(l line) error {
	switch l.Type {
	case "error":
		return errors.New(l.Text)
	case "open":
		said := r.said
		r.said, r.lastLog = nil, l.Events
		r.history = append(slices.Clone(said), l)
		return r.checker.round(said, l)
	case "watch":
		for _, e := range l.Events {
			r.watched[l.Watch] = max(r.watched[l.Watch], e.rev())
		}
		if l.Progress {
			r.watched[l.Watch] = max(r.watched[l.Watch], l.Rev)
		}
	}
	r.said = append(r.said, l)
	return nil
}
