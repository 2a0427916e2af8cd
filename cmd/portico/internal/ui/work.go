// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
)

// lastLines is how many lines of a piece of work are kept.
const lastLines = 50

// Work is an action that runs, or has ended.
type Work struct {
	Action  Action
	Running bool
	Failed  bool
	Lines   []string

	cancel context.CancelFunc
}

// works are the pieces of work of a server, the last one of each cluster.
type works struct {
	mu      sync.Mutex
	last    map[ID]*Work
	running sync.WaitGroup
}

// start runs an action in the background, unless one of the cluster's runs. The
// returned channel is closed when it has ended.
func (w *works) start(ctx context.Context, source Source, action Action, id ID) (ended <-chan struct{}, started bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.last[id]; last != nil && last.Running {
		return nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	work := &Work{Action: action, Running: true, cancel: cancel}
	w.last[id] = work
	done := make(chan struct{})
	w.running.Go(func() {
		defer close(done)
		defer cancel()
		err := source.Do(ctx, action, id, &progress{works: w, work: work})
		w.mu.Lock()
		defer w.mu.Unlock()
		work.Running, work.Failed = false, err != nil
		if err != nil && len(work.Lines) == 0 {
			work.Lines = []string{err.Error()}
		}
	})
	return done, true
}

// stop interrupts the work of a cluster, as Ctrl-C does at a terminal: it ends
// soon, and can be taken up again.
func (w *works) stop(id ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.last[id]; last != nil && last.Running {
		last.cancel()
	}
}

// of returns a copy of the last work of a cluster, or nil.
func (w *works) of(id ID) *Work {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.last[id]
	if last == nil {
		return nil
	}
	c := *last
	c.Lines = slices.Clone(last.Lines)
	return &c
}

// progress takes the lines of a piece of work.
type progress struct {
	works *works
	work  *Work
	rest  []byte // a line that has not ended
}

func (p *progress) Write(b []byte) (int, error) {
	p.works.mu.Lock()
	defer p.works.mu.Unlock()
	p.rest = append(p.rest, b...)
	for {
		line, rest, whole := bytes.Cut(p.rest, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		p.rest = rest
		p.work.Lines = append(p.work.Lines, strings.TrimSpace(string(line)))
		if extra := len(p.work.Lines) - lastLines; extra > 0 {
			p.work.Lines = p.work.Lines[extra:]
		}
	}
}
